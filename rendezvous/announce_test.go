package rendezvous

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"simplebit/rendezvous/torrent"
	"simplebit/rendezvous/tracker"
)

// opentracker tells peers apart by address alone: a "stopped" after the "started" of another session takes both away.
func TestANewSessionWaitsUntilTheOldOneHasSaidGoodbye(t *testing.T) {
	var mu sync.Mutex
	var events []string
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.FormValue("event") == "stopped" {
			time.Sleep(100 * time.Millisecond)
		}
		mu.Lock()
		defer mu.Unlock()
		if e := r.FormValue("event"); e != "" {
			events = append(events, e)
		}
		w.Write([]byte("d8:completei1e10:downloadedi1e10:incompletei1e8:intervali1800e5:peers0:e"))
	}))
	defer web.Close()
	seen := func() []string {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(events)
	}
	all := trackers{client: tracker.NewClient(tracker.Config{}), port: 1, log: slog.New(slog.DiscardHandler), sessions: map[[20]byte][]*announcing{}}
	a := torrent.Announce{InfoHash: [20]byte{1}, Tiers: [][]string{{web.URL + "/announce"}}, Stats: func() tracker.Stats { return tracker.Stats{} }}
	first, stop := context.WithCancel(t.Context())
	all.announce(first, a)
	eventually(t, "the first session has begun", func() bool { return len(seen()) == 1 })
	stop()
	second, stop := context.WithCancel(t.Context())
	a.Private = true
	all.announce(second, a)
	eventually(t, "the second session has begun", func() bool { return len(seen()) == 3 })
	stop()
	all.running.Wait()
	if want := []string{"started", "stopped", "started", "stopped"}; !slices.Equal(seen(), want) {
		t.Errorf("the tracker was told %v, want %v", seen(), want)
	}
	if len(all.sessions) != 0 {
		t.Errorf("%d torrents are still remembered", len(all.sessions))
	}
}
