package edgeagent

import (
	"testing"
	"time"

	"simplebit/wire/control"
)

func TestATorrentIsReportedWhenItChangedAtMostOnceASecondInOneState(t *testing.T) {
	r := reporter{time.Second, map[infoHash]report{}}
	start := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	red, blue := infoHash{1}, infoHash{2}
	p := func(id infoHash, have int64, state control.State) control.Progress {
		return control.Progress{ID: id, Have: have, State: state}
	}
	const down, seed = control.StateDownloading, control.StateSeeding
	for _, c := range []struct {
		at    time.Duration
		held  []control.Progress
		want  int           // reports
		again time.Duration // until the next look
	}{
		{0, []control.Progress{p(red, 0, down)}, 1, time.Second},
		{300 * time.Millisecond, []control.Progress{p(red, 0, down)}, 0, time.Second},
		{300 * time.Millisecond, []control.Progress{p(red, 5, down)}, 1, time.Second}, // the first piece
		{400 * time.Millisecond, []control.Progress{p(red, 6, down)}, 0, 900 * time.Millisecond},
		{500 * time.Millisecond, []control.Progress{p(red, 9, seed), p(blue, 3, down)}, 2, time.Second},
		{600 * time.Millisecond, []control.Progress{p(red, 11, seed), p(blue, 4, down)}, 0, 900 * time.Millisecond},
		{1500 * time.Millisecond, []control.Progress{p(red, 9, seed), p(blue, 4, down)}, 1, time.Second},
		{time.Hour, []control.Progress{p(red, 9, seed), p(blue, 4, down)}, 0, time.Second},
		{time.Hour, []control.Progress{p(red, 10, seed), p(blue, 5, down)}, 2, time.Second},
	} {
		due, again := r.due(start.Add(c.at), c.held)
		if len(due) != c.want || again != c.again {
			t.Errorf("at %v: %d reports, next in %v; want %d, %v", c.at, len(due), again, c.want, c.again)
		}
	}
	r.forget(red)
	if due, _ := r.due(start.Add(time.Hour), []control.Progress{p(red, 0, down)}); len(due) != 1 {
		t.Error("a torrent that is taken again at once is not reported")
	}
}

func TestPeersThatComeAndGoAreAChange(t *testing.T) {
	r := reporter{time.Second, map[infoHash]report{}}
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	held := []control.Progress{{Peers: []control.Peer{{Client: "a"}}}}
	r.due(now, held)
	held = []control.Progress{{Peers: []control.Peer{{Client: "b"}}}}
	if due, _ := r.due(now.Add(time.Second), held); len(due) != 1 {
		t.Error("not reported")
	}
}
