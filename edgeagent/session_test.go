package edgeagent

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"simplebit/wire/control"
)

func TestATorrentIsTakenCheckedAndSeeded(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	cfg := joined(t, h)
	tt := newTorrent(t, "red")
	tt.place(t, cfg.Dir, "red")
	start(t, cfg)
	g, inventory := h.welcome()
	if len(inventory) != 0 {
		t.Errorf("a new agent holds %v", inventory)
	}
	g.assign(tt, 7)
	p := g.reports(tt.id, 7, control.StateSeeding)
	if size := int64(len(tt.bytes)); p.Size != size || p.Have != size || p.Error != "" {
		t.Errorf("seeding is reported as %+v", p)
	}
}

func TestAnAgentThatRestartsTellsWhatItHolds(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	cfg := joined(t, h)
	red, blue := newTorrent(t, "red"), newTorrent(t, "blue")
	red.place(t, cfg.Dir, "red")
	first := start(t, cfg)
	g, _ := h.welcome()
	g.assign(red, 7)
	g.reports(red.id, 7, control.StateSeeding)
	g.send(control.Assign{ID: blue.id, Generation: 3, Paused: true})
	g.reports(blue.id, 3, control.StateLayout)
	if err := first.end(); err != nil {
		t.Fatalf("stopping the agent: %v", err)
	}

	start(t, cfg)
	g, inventory := h.welcome()
	if len(inventory) != 2 || inventory[red.id].Generation != 7 || inventory[blue.id].Generation != 3 {
		t.Fatalf("after a restart the agent holds %+v", inventory)
	}
	// The reports of what it does next come in any order.
	want := map[infoHash]control.State{red.id: control.StateSeeding, blue.id: control.StateLayout}
	for id, p := range inventory {
		if want[id] == p.State {
			delete(want, id)
		}
	}
	for len(want) > 0 {
		if p := next[control.Progress](g); want[p.ID] == p.State {
			delete(want, p.ID)
		}
	}
}

func TestAnAssignIsObeyedOnceAndOlderOnesNotAtAll(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	cfg := joined(t, h)
	tt := newTorrent(t, "red")
	tt.place(t, cfg.Dir, "red")
	start(t, cfg)
	g, _ := h.welcome()
	g.assign(tt, 7)
	g.reports(tt.id, 7, control.StateSeeding)
	g.send(control.Assign{ID: tt.id, Generation: 7, Paused: true})
	g.send(control.Assign{ID: tt.id, Generation: 6, Paused: true})
	g.quiet(300 * time.Millisecond)
}

func TestWorkThatAnAssignDoesNotChangeGoesOn(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	cfg := joined(t, h)
	tt := newTorrent(t, "red")
	tt.place(t, cfg.Dir, "red")
	start(t, cfg)
	g, _ := h.welcome()
	g.assign(tt, 7)
	g.reports(tt.id, 7, control.StateSeeding)
	l := dialAgent(t, g, tt)
	g.until("the peer is reported", func(p control.Progress) bool { return len(p.Peers) == 1 })
	g.send(control.Assign{ID: tt.id, Generation: 8})
	p := g.until("generation 8", func(p control.Progress) bool { return p.Generation == 8 })
	if p.State != control.StateSeeding || len(p.Peers) != 1 {
		t.Errorf("the newer wish is obeyed as %+v", p)
	}
	l.alive()
}

func TestATorrentIsPausedResumedAndVerified(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	cfg := joined(t, h)
	tt := newTorrent(t, "red")
	tt.place(t, cfg.Dir, "red")
	start(t, cfg)
	g, _ := h.welcome()
	g.assign(tt, 1)
	g.reports(tt.id, 1, control.StateSeeding)
	l := dialAgent(t, g, tt)

	g.send(control.Assign{ID: tt.id, Generation: 2, Paused: true})
	g.reports(tt.id, 2, control.StatePaused)
	l.closed()
	g.send(control.Assign{ID: tt.id, Generation: 3})
	g.reports(tt.id, 3, control.StateSeeding)

	// Damage that only a full check can see: size and date stay.
	name := filepath.Join(cfg.Dir, "red", "a")
	info, err := os.Stat(name)
	ok(t, err)
	f, err := os.OpenFile(name, os.O_WRONLY, 0)
	ok(t, err)
	_, err = f.WriteAt([]byte("damage"), 5)
	ok(t, errors.Join(err, f.Close(), os.Chtimes(name, info.ModTime(), info.ModTime())))
	g.send(control.Assign{ID: tt.id, Generation: 4, Verify: 1})
	p := g.reports(tt.id, 4, control.StateDownloading)
	if p.Have != int64(len(tt.bytes))-testPiece {
		t.Errorf("after the check the agent has %d bytes, want all but one piece of %d", p.Have, len(tt.bytes))
	}
}

func TestAJobThatWasAddedAnewIsVerifiedWhenItAsksForTheFirstTime(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	cfg := joined(t, h)
	tt := newTorrent(t, "red")
	tt.place(t, cfg.Dir, "red")
	start(t, cfg)
	g, _ := h.welcome()
	g.send(control.Assign{ID: tt.id, Generation: 1, Verify: 5})
	g.reports(tt.id, 1, control.StateLayout)
	g.sendLayout(tt.layout)
	g.reports(tt.id, 1, control.StateSeeding)
	l := dialAgent(t, g, tt)
	g.send(control.Assign{ID: tt.id, Generation: 2}) // counts from 0 again
	g.until("generation 2", func(p control.Progress) bool { return p.Generation == 2 })
	l.alive()
	g.send(control.Assign{ID: tt.id, Generation: 3, Verify: 1})
	g.until("generation 3", func(p control.Progress) bool { return p.Generation == 3 })
	l.closed()
}

func TestADroppedTorrentLeavesItsFilesUnlessTheyAreToGo(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	cfg := joined(t, h)
	red, blue := newTorrent(t, "red"), newTorrent(t, "blue")
	red.place(t, cfg.Dir, "red")
	blue.place(t, cfg.Dir, "blue")
	start(t, cfg)
	g, _ := h.welcome()
	g.assign(red, 1)
	g.reports(red.id, 1, control.StateSeeding)
	g.assign(blue, 1)
	g.reports(blue.id, 1, control.StateSeeding)
	g.send(control.Unassign{ID: red.id})
	g.send(control.Unassign{ID: blue.id, DeleteData: true})
	g.send(control.Unassign{ID: infoHash{1}})
	for _, want := range []infoHash{red.id, blue.id, {1}} {
		g.gone(want)
	}
	if b, err := os.ReadFile(filepath.Join(cfg.Dir, "red", "a")); err != nil || !bytes.Equal(b, red.bytes[:len(b)]) {
		t.Errorf("the files of the torrent that was only dropped: %v", err)
	}
	if _, err := os.Stat(filepath.Join(cfg.Dir, "blue")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the files that were to be deleted: %v", err)
	}
	left, err := os.ReadDir(filepath.Join(cfg.State, "torrents"))
	if err != nil || len(left) != 0 {
		t.Errorf("the state folder keeps %v, %v", left, err)
	}
}

func TestATorrentThatCannotBeRemovedSaysSoAndObeysTheNextWish(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	cfg := joined(t, h)
	tt := newTorrent(t, "red")
	start(t, cfg)
	g, _ := h.welcome()
	g.send(control.Assign{ID: tt.id, Generation: 1})
	g.reports(tt.id, 1, control.StateLayout)
	// A folder where the file is expected cannot be removed like one.
	name := filepath.Join(cfg.State, "torrents", hexOf(tt.id), assignmentFile)
	ok(t, os.Remove(name))
	ok(t, os.MkdirAll(filepath.Join(name, "full"), 0o700))
	g.send(control.Unassign{ID: tt.id})
	if p := g.reports(tt.id, 1, control.StateFailed); p.Error == "" {
		t.Errorf("the failure is reported as %+v", p)
	}
	ok(t, os.RemoveAll(name))
	g.assign(tt, 2)
	g.reports(tt.id, 2, control.StateDownloading)
	g.send(control.Unassign{ID: tt.id})
	g.gone(tt.id)
}

func TestTheFirstPieceIsReportedAtOnce(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	cfg := joined(t, h)
	cfg.reportEvery = time.Hour
	cfg.Down = 1 << 10 // the next one takes a while
	tt := newTorrent(t, "red")
	start(t, cfg)
	g, _ := h.welcome()
	g.assign(tt, 1)
	g.reports(tt.id, 1, control.StateDownloading)
	g.send(control.Candidates{ID: tt.id, Peers: []control.Candidate{{Addr: seed(t, tt), Kind: control.CandidateReachable}}})
	p := next[control.Progress](g)
	if p.Have == 0 || p.Have >= int64(len(tt.bytes)) {
		t.Errorf("the next report is %+v", p)
	}
}

func TestNothingIsReportedWhileNothingChanges(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	cfg := joined(t, h)
	tt := newTorrent(t, "red")
	start(t, cfg)
	g, _ := h.welcome()
	g.assign(tt, 1)
	g.reports(tt.id, 1, control.StateDownloading)
	g.quiet(300 * time.Millisecond)
}

func TestTheDataPlaneGoesOnWithoutASurrogate(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	cfg := joined(t, h)
	tt := newTorrent(t, "red")
	tt.place(t, cfg.Dir, "red")
	start(t, cfg)
	g, _ := h.welcome()
	g.assign(tt, 7)
	g.reports(tt.id, 7, control.StateSeeding)
	l := dialAgent(t, g, tt)
	g.conn.Close(5, "the surrogate is stopping")
	_, inventory := h.welcome()
	if p := inventory[tt.id]; p.Generation != 7 || p.State != control.StateSeeding {
		t.Errorf("after the connection was lost the agent holds %+v", inventory)
	}
	l.alive()
}

func TestASurrogateThatVanishesWhileTorrentsAreDroppedIsFoundAgain(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	start(t, joined(t, h))
	g, _ := h.welcome()
	const n = 50
	for i := range n {
		g.send(control.Assign{ID: infoHash{byte(i)}, Generation: 1})
	}
	for range n {
		next[control.Progress](g)
	}
	for i := range n {
		g.send(control.Unassign{ID: infoHash{byte(i)}})
	}
	next[control.Gone](g) // it is at it
	g.conn.Close(5, "")
	h.welcome()
}

func TestARevokedDeviceStopsAndSaysWhy(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	r := start(t, joined(t, h))
	g, _ := h.welcome()
	g.send(control.Refused{Code: control.RefusedRevoked, Reason: "this device was revoked"})
	if err := r.ends(); !errors.As(err, new(control.Refused)) {
		t.Errorf("the agent ended with %v", err)
	}
}

func TestABusySurrogateIsAskedAgain(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	start(t, joined(t, h))
	h.accept().send(control.Refused{Code: control.RefusedBusy, Reason: "try again"})
	h.welcome()
}

func TestWhatOnlyAnAgentSendsEndsTheSession(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	start(t, joined(t, h))
	g, _ := h.welcome()
	g.send(control.Synced{})
	g.ended()
	g, _ = h.welcome()
	g.stream.Write([]byte{0xff, 0xff, 0xff, 0xff}) // not a frame
	g.ended()
	h.welcome()
}

func TestCandidatesOfUnknownTorrentsAreIgnored(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	start(t, joined(t, h))
	g, _ := h.welcome()
	g.send(control.Candidates{ID: infoHash{9}})
	g.send(control.Unassign{ID: infoHash{1}})
	g.gone(infoHash{1})
}
