package tracker

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// fakeTrackers answers announces and remembers them, with the time since the test began.
type fakeTrackers struct {
	answer func(ctx context.Context, url string, r Request) (Response, error)
	scrape func(ctx context.Context, url string) (Scrape, error) // nil: not supported
	start  time.Time

	mu   sync.Mutex
	seen []string
	reqs []Request
}

func newFake(answer func(context.Context, string, Request) (Response, error)) *fakeTrackers {
	if answer == nil {
		answer = func(context.Context, string, Request) (Response, error) {
			return Response{Interval: 30 * time.Minute, MinInterval: time.Minute}, nil
		}
	}
	return &fakeTrackers{answer: answer, start: time.Now()}
}

func (f *fakeTrackers) Announce(ctx context.Context, url string, r Request) (Response, error) {
	f.mu.Lock()
	f.seen = append(f.seen, fmt.Sprint(time.Since(f.start), " ", url, " ", r.Event))
	f.reqs = append(f.reqs, r)
	f.mu.Unlock()
	return f.answer(ctx, url, r)
}

func (f *fakeTrackers) Scrape(ctx context.Context, url string, _ [20]byte) (Scrape, error) {
	if f.scrape == nil {
		return Scrape{}, &Error{url, ErrUnsupported}
	}
	f.mu.Lock()
	f.seen = append(f.seen, fmt.Sprint(time.Since(f.start), " ", url, " scrape"))
	f.mu.Unlock()
	return f.scrape(ctx, url)
}

func (f *fakeTrackers) expect(t *testing.T, want ...string) {
	t.Helper()
	synctest.Wait()
	f.mu.Lock()
	defer f.mu.Unlock()
	if !slices.Equal(f.seen, want) {
		t.Errorf("announces were\n%q, want\n%q", f.seen, want)
	}
	f.seen = nil
}

// start runs a session until the returned function is called, which waits for its end.
func start(t *testing.T, c SessionConfig) (s *Session, end func()) {
	s = NewSession(c)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- s.Run(ctx) }()
	return s, func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run returned %v", err)
		}
	}
}

func TestSessionAnnouncesFromStartToStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(nil)
		s, end := start(t, SessionConfig{Client: f, Tiers: [][]string{{"a"}}})
		time.Sleep(31 * time.Minute)
		s.Completed()
		time.Sleep(31 * time.Minute)
		end()
		f.expect(t, "0s a started", "30m0s a ", "31m0s a completed", "1h1m0s a ", "1h2m0s a stopped")
	})
}

func TestSessionTellsWhoAndWhatItIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(func(_ context.Context, _ string, r Request) (Response, error) {
			if r.Event == EventStarted {
				return Response{Interval: time.Hour, TrackerID: "id"}, nil
			}
			return Response{Interval: time.Hour}, nil
		})
		var left atomic.Int64
		left.Store(-1)
		_, end := start(t, SessionConfig{
			Client: f, InfoHash: [20]byte{1}, PeerID: [20]byte{2}, Port: 6881, Tiers: [][]string{{"a"}}, Seed: 1,
			Stats: func() Stats { return Stats{Uploaded: 3, Downloaded: 4, Left: left.Load()} },
		})
		time.Sleep(time.Hour + time.Minute)
		left.Store(5)
		end()
		want := Request{InfoHash: [20]byte{1}, PeerID: [20]byte{2}, Port: 6881, Uploaded: 3, Downloaded: 4, Left: -1, Event: EventStarted, Key: f.reqs[0].Key}
		if f.reqs[0] != want || want.Key == 0 {
			t.Errorf("the first announce was %+v, want %+v", f.reqs[0], want)
		}
		// The tracker id of an answer is sent with all later announces, until another comes.
		want.Event, want.TrackerID = EventNone, "id"
		if f.reqs[1] != want {
			t.Errorf("the second announce was %+v, want %+v", f.reqs[1], want)
		}
		want.Left, want.Event = 5, EventStopped
		if f.reqs[2] != want {
			t.Errorf("the last announce was %+v, want %+v", f.reqs[2], want)
		}
	})
}

func TestSessionHandsOnPeers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		peers := []netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:1"), netip.MustParseAddrPort("[2001:db8::1]:2")}
		f := newFake(func(context.Context, string, Request) (Response, error) {
			return Response{Peers: peers, Interval: time.Hour}, nil
		})
		var got []netip.AddrPort
		_, end := start(t, SessionConfig{Client: f, Tiers: [][]string{{"a"}}, Peers: func(p []netip.AddrPort) { got = p }})
		synctest.Wait()
		end()
		if !slices.Equal(got, peers) {
			t.Errorf("got %v, want %v", got, peers)
		}
	})
}

func TestPokeAsksAgainAfterTheLeastInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(nil)
		s, end := start(t, SessionConfig{Client: f, Tiers: [][]string{{"a"}}})
		time.Sleep(10 * time.Second)
		for range 5 {
			s.Poke()
		}
		time.Sleep(10 * time.Minute)
		f.expect(t, "0s a started", "1m0s a ")
		s.Poke()
		f.expect(t, "10m10s a ")
		end()
	})
}

func TestSessionFailsOverAndRetries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var up atomic.Bool
		f := newFake(func(_ context.Context, url string, _ Request) (Response, error) {
			if url == "a" && !up.Load() {
				return Response{}, &Error{"a", errors.New("down")}
			}
			return Response{Interval: 30 * time.Minute, Seeders: 2, Leechers: 3, HasCounts: true, Warning: "slow"}, nil
		})
		s, end := start(t, SessionConfig{Client: f, Tiers: [][]string{{"a"}, {"b"}}})
		f.expect(t, "0s a started", "0s b started")
		want := []TrackerStatus{
			{URL: "a", Error: "tracker a: down", Next: f.start.Add(30 * time.Minute)}, // first in the next round again
			{URL: "b", Warning: "slow", Seeders: 2, Leechers: 3},
		}
		if got := s.Status(); !slices.Equal(got, want) {
			t.Errorf("status %+v, want %+v", got, want)
		}
		up.Store(true)
		time.Sleep(30 * time.Minute)
		f.expect(t, "30m0s a started")
		if s := s.Status()[0]; s.Error != "" || s.Seeders != 2 {
			t.Errorf("status of a that works: %+v", s)
		}
		end()
		synctest.Wait()
		slices.Sort(f.seen)
		f.expect(t, "30m0s a stopped", "30m0s b stopped") // both know us
	})
}

func TestHangingTrackersHoldTheEndForThreeSecondsAtMost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(func(ctx context.Context, _ string, r Request) (Response, error) {
			if r.Event == EventStarted {
				return Response{Interval: 30 * time.Minute}, nil
			}
			<-ctx.Done()
			return Response{}, ctx.Err()
		})
		s, end := start(t, SessionConfig{Client: f, Tiers: [][]string{{"a"}, {"b"}, {"c"}}})
		for range 2 {
			synctest.Wait()
			s.Poke()
		}
		synctest.Wait()
		before := time.Now()
		end()
		if took := time.Since(before); took != 3*time.Second {
			t.Errorf("the end took %v", took)
		}
	})
}

func TestEndDuringAnAnnounceIsToldToTheTracker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(func(ctx context.Context, _ string, r Request) (Response, error) {
			if r.Event == EventStarted {
				<-ctx.Done()
			}
			return Response{}, ctx.Err()
		})
		_, end := start(t, SessionConfig{Client: f, Tiers: [][]string{{"a"}, {"b"}}})
		time.Sleep(time.Second)
		end()
		f.expect(t, "0s a started", "1s a stopped")
	})
}

func TestSessionWithoutUsableTrackersWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(func(_ context.Context, url string, _ Request) (Response, error) {
			return Response{}, &Error{url, ErrUnsupported}
		})
		s, end := start(t, SessionConfig{Client: f, Tiers: [][]string{{"udp://a"}}})
		time.Sleep(24 * time.Hour)
		s.Poke()
		s.Completed()
		f.expect(t, "0s udp://a started")
		if status := s.Status(); status[0].Error == "" || !status[0].Next.IsZero() {
			t.Errorf("status %+v", status[0])
		}
		end()
		f.expect(t)

		none, end := start(t, SessionConfig{Client: f})
		time.Sleep(time.Hour)
		if len(none.Status()) != 0 {
			t.Error("trackers from nowhere")
		}
		end()
		f.expect(t)
	})
}

func TestSessionScrapesBesideItsAnnounces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(func(context.Context, string, Request) (Response, error) {
			return Response{Interval: 40 * time.Minute, MinInterval: time.Minute, HasCounts: true, Seeders: 7, Leechers: 8}, nil
		})
		f.scrape = func(ctx context.Context, _ string) (Scrape, error) {
			select { // hangs for a while
			case <-time.After(10 * time.Second):
				return Scrape{Seeders: 1, Leechers: 2, Downloads: 3}, nil
			case <-ctx.Done():
				return Scrape{}, ctx.Err()
			}
		}
		s, end := start(t, SessionConfig{Client: f, Tiers: [][]string{{"a"}}, Downloads: true})
		time.Sleep(5 * time.Second)
		s.Completed() // does not wait for the scrape
		synctest.Wait()
		if got := s.Status()[0]; got.Seeders != 7 || got.Downloads != 0 {
			t.Errorf("before the scrape: %+v", got)
		}
		time.Sleep(10 * time.Second)
		if got := s.Status()[0]; got.Seeders != 7 || got.Leechers != 8 || got.Downloads != 3 {
			t.Errorf("after the scrape: %+v", got)
		}
		time.Sleep(30 * time.Minute)
		end() // in the middle of another
		f.expect(t, "0s a started", "0s a scrape", "5s a completed", "30m10s a scrape", "30m15s a stopped")
	})
}

func TestAFailedScrapeChangesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(nil)
		f.scrape = func(context.Context, string) (Scrape, error) { return Scrape{}, &Error{"a", errors.New("down")} }
		s, end := start(t, SessionConfig{Client: f, Tiers: [][]string{{"a"}}})
		time.Sleep(20 * time.Minute)
		if got := s.Status()[0]; got.Error != "" || got.Next.IsZero() {
			t.Errorf("status %+v", got)
		}
		end()
		f.expect(t, "0s a started", "0s a scrape", "20m0s a stopped")
	})
}

func TestTrackersAreAddedWhileASessionRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(nil)
		s, end := start(t, SessionConfig{Client: f})
		time.Sleep(time.Minute)
		s.AddTiers([][]string{{"a"}, {"b"}})
		s.AddTiers([][]string{{"a"}, {"c"}})
		time.Sleep(time.Minute)
		var urls []string
		for _, t := range s.Status() {
			urls = append(urls, t.URL)
		}
		if !slices.Equal(urls, []string{"a", "b", "c"}) {
			t.Errorf("trackers %v", urls)
		}
		s.Poke()
		synctest.Wait()
		s.Poke()
		synctest.Wait()
		end()
		synctest.Wait()
		slices.Sort(f.seen)
		f.expect(t, "1m0s a started", "2m0s a ", "2m0s a stopped", "2m0s b started", "2m0s b stopped")
		s.AddTiers([][]string{{"d"}}) // after the end
	})
}

func TestATrackerThatNeverWantsToBeAskedIsNotToldOfTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(func(_ context.Context, url string, r Request) (Response, error) {
			if r.Event == EventStarted {
				return Response{Interval: 30 * time.Minute}, nil
			}
			return Response{}, &Error{url, &FailureError{Reason: "gone", Never: true}}
		})
		s, end := start(t, SessionConfig{Client: f, Tiers: [][]string{{"a"}}})
		time.Sleep(10 * time.Hour)
		if got := s.Status()[0]; got.Error != "tracker a: refused: gone (and does not want to be asked again)" || !got.Next.IsZero() {
			t.Errorf("status %+v", got)
		}
		end()
		f.expect(t, "0s a started", "30m0s a ")
	})
}

func TestTrackersOfATierAreShuffled(t *testing.T) {
	tier := []string{"a", "b", "c", "d", "e", "f", "g", "h"}
	order := func(seed uint64) (urls []string) {
		for _, s := range NewSession(SessionConfig{Tiers: [][]string{tier, {"z"}}, Seed: seed}).Status() {
			urls = append(urls, s.URL)
		}
		return urls
	}
	first := order(1)
	if !reflect.DeepEqual(first, order(1)) {
		t.Error("the same seed gives another order")
	}
	if reflect.DeepEqual(first[:8], tier) || first[8] != "z" {
		t.Errorf("order %v", first)
	}
	slices.Sort(first)
	if !slices.Equal(first[:8], tier) {
		t.Errorf("trackers %v", first)
	}
}
