package edgeagent

import (
	"bytes"
	"encoding/json"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"simplebit/wire/control"
)

// reachable names an address that the surrogate has tried.
func (g *guest) reachable(tt testTorrent, addrs ...netip.AddrPort) {
	g.t.Helper()
	c := control.Candidates{ID: tt.id}
	for _, a := range addrs {
		c.Peers = append(c.Peers, control.Candidate{Addr: a, Kind: control.CandidateReachable})
	}
	g.send(c)
}

// obeys waits until a generation is obeyed in a state.
func (g *guest) obeys(id infoHash, generation uint64, state control.State) control.Progress {
	g.t.Helper()
	return g.until(state.String(), func(p control.Progress) bool {
		return p.ID == id && p.Generation == generation && p.State == state
	})
}

// finds waits until the folder of a torrent has these files.
func finds(t *testing.T, cfg Config, name string, want ...string) {
	t.Helper()
	var got []string
	defer func() {
		if t.Failed() {
			t.Logf("the folder has %q, want %q", got, want)
		}
	}()
	eventually(t, "the folder has the right files", func() bool {
		entries, _ := os.ReadDir(filepath.Join(cfg.Dir, name))
		got = nil
		for _, e := range entries {
			got = append(got, e.Name())
		}
		return slices.Equal(got, want)
	})
}

func TestOnlyTheWantedFilesAreFetchedAndTheOthersWhenTheyAre(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	cfg := joined(t, h)
	tt := newTorrent(t, "red")
	size, half := int64(len(tt.bytes)), int64(len(tt.bytes)/2)
	first := start(t, cfg)
	g, _ := h.welcome()
	skipB := []control.FileRun{{Count: 1}, {Count: 1, Priority: control.FileSkip}}
	g.send(control.Assign{ID: tt.id, Generation: 1, Files: skipB})
	g.reports(tt.id, 1, control.StateLayout)
	g.sendLayout(tt.layout)
	p := g.reports(tt.id, 1, control.StateDownloading)
	if p.Size != size || p.Selected != half || p.SelectedHave != 0 {
		t.Errorf("at the begin: %+v", p)
	}
	from := seed(t, tt)
	g.reachable(tt, from)
	p = g.reports(tt.id, 1, control.StateSeeding)
	if p.Selected != half || p.SelectedHave != half || p.Have != 3*testPiece || p.Downloaded != 3*testPiece {
		t.Errorf("with the wanted file: %+v; want %d bytes of it and three pieces", p, half)
	}
	finds(t, cfg, "red", "a", "b.part") // a piece belongs to both

	// A restart neither checks nor fetches anything.
	first.end()
	start(t, cfg)
	g, inventory := h.welcome()
	if p = inventory[tt.id]; p.State != control.StateSeeding {
		p = g.reports(tt.id, 1, control.StateSeeding)
	}
	if p.Selected != half || p.SelectedHave != half || p.Have != 3*testPiece || p.Checked != 0 {
		t.Errorf("after a restart: %+v", p)
	}

	g.send(control.Assign{ID: tt.id, Generation: 2})
	p = g.until("generation 2", func(p control.Progress) bool { return p.Generation == 2 })
	if p.State != control.StateDownloading || p.Selected != 0 {
		t.Errorf("with all files wanted: %+v", p)
	}
	g.reachable(tt, from)
	p = g.reports(tt.id, 2, control.StateSeeding)
	if p.Have != size || p.Downloaded != size {
		t.Errorf("with all files: %+v", p)
	}
	finds(t, cfg, "red", "a", "b")
	b, err := os.ReadFile(filepath.Join(cfg.Dir, "red", "b"))
	if err != nil || !bytes.Equal(b, tt.bytes[half:]) {
		t.Errorf("the file that was skipped at first differs: %v", err)
	}
}

func TestAFullCheckOfAChoiceOfFilesKeepsWhatIsThere(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	cfg := joined(t, h)
	tt := newTorrent(t, "red")
	start(t, cfg)
	g, _ := h.welcome()
	skipA := []control.FileRun{{Count: 1, Priority: control.FileSkip}}
	g.send(control.Assign{ID: tt.id, Generation: 1, Files: skipA})
	g.reports(tt.id, 1, control.StateLayout)
	g.sendLayout(tt.layout)
	g.reachable(tt, seed(t, tt))
	g.reports(tt.id, 1, control.StateDownloading)
	g.reachable(tt, seed(t, tt))
	before := g.reports(tt.id, 1, control.StateSeeding)
	g.send(control.Assign{ID: tt.id, Generation: 2, Files: skipA, Verify: 1})
	after := g.until("the check is done", func(p control.Progress) bool { return p.State == control.StateSeeding && p.Generation == 2 })
	if after.Have != before.Have || after.SelectedHave != before.Selected || after.Downloaded != before.Downloaded {
		t.Errorf("before the check %+v, after it %+v", before, after)
	}
	finds(t, cfg, "red", "a.part", "b")
}

func TestOptionsChangeWithoutLosingPeers(t *testing.T) {
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
	g.until("the peer is reported", func(p control.Progress) bool { return len(p.Peers) == 1 })
	for i, m := range []control.Assign{
		{UpLimit: 500_000}, {DownLimit: 1 << 20}, {MaxPeers: 3}, {Sequential: true}, {SeedRatio: 9000}, {SeedTime: 9000},
		{Files: []control.FileRun{{Count: 2, Priority: control.FileHigh}}},
		{Files: []control.FileRun{{Count: 1, Priority: control.FileSkip}}},
		{},
	} {
		m.ID, m.Generation = tt.id, uint64(i+2)
		g.send(m)
		if p := g.until("the generation", func(p control.Progress) bool { return p.Generation == m.Generation }); len(p.Peers) != 1 {
			t.Errorf("%+v is obeyed with %d peers", m, len(p.Peers))
		}
	}
	l.alive()
}

func TestOptionsOfATorrentThatRestsAreObeyed(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	cfg := joined(t, h)
	tt := newTorrent(t, "red")
	tt.place(t, cfg.Dir, "red")
	start(t, cfg)
	g, _ := h.welcome()
	g.send(control.Assign{ID: tt.id, Generation: 1})
	g.reports(tt.id, 1, control.StateLayout)
	g.send(control.Assign{ID: tt.id, Generation: 2, UpLimit: 1 << 20})
	g.obeys(tt.id, 2, control.StateLayout)
	g.sendLayout(tt.layout)
	g.reports(tt.id, 2, control.StateSeeding)
	g.send(control.Assign{ID: tt.id, Generation: 3, Paused: true})
	g.reports(tt.id, 3, control.StatePaused)
	g.send(control.Assign{ID: tt.id, Generation: 4, Paused: true, Files: []control.FileRun{{Count: 1, Priority: control.FileSkip}}})
	half := int64(len(tt.bytes)) - int64(len(tt.bytes)/2)
	if p := g.obeys(tt.id, 4, control.StatePaused); p.Selected != half || p.SelectedHave != half {
		t.Errorf("the choice of files of a paused torrent: %+v", p)
	}
}

func TestSeedingEndsAfterItsTimeUntilMoreIsAskedFor(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	cfg := joined(t, h)
	cfg.tick = 10 * time.Millisecond
	tt := newTorrent(t, "red")
	tt.place(t, cfg.Dir, "red")
	first := start(t, cfg)
	g, _ := h.welcome()
	g.send(control.Assign{ID: tt.id, Generation: 1})
	g.reports(tt.id, 1, control.StateLayout)
	began := time.Now()
	g.sendLayout(tt.layout)
	g.reports(tt.id, 1, control.StateSeeding)
	l := dialAgent(t, g, tt)
	// Only now, as a slow machine may take longer than the time to connect.
	g.send(control.Assign{ID: tt.id, Generation: 2, SeedTime: 1})
	p := g.obeys(tt.id, 2, control.StateFinished)
	if took := time.Since(began); took < time.Second || len(p.Peers) != 0 || p.Have != int64(len(tt.bytes)) {
		t.Errorf("finished after %v: %+v", took, p)
	}
	l.closed()
	var st Status
	eventually(t, "the status says that it is finished", func() bool {
		st, _ = ReadStatus(cfg.State)
		return len(st.Torrents) == 1 && st.Torrents[0].State == "finished"
	})
	if st.Torrents[0].Limits.SeedTime != 1 || st.Torrents[0].Seeded < 1 {
		t.Errorf("the status is %+v", st.Torrents[0])
	}

	first.end()
	start(t, cfg)
	g, inventory := h.welcome()
	for p := inventory[tt.id]; p.State != control.StateFinished; p = next[control.Progress](g) {
		if p.State != control.StatePaused { // what is said of all before they are opened
			t.Errorf("a finished torrent is %v after a restart", p.State)
		}
	}
	g.send(control.Assign{ID: tt.id, Generation: 3, SeedTime: 1, MaxPeers: 5})
	g.obeys(tt.id, 3, control.StateFinished)
	g.send(control.Assign{ID: tt.id, Generation: 4, SeedTime: 3600})
	g.obeys(tt.id, 4, control.StateSeeding)
	g.send(control.Assign{ID: tt.id, Generation: 5, SeedTime: 1})
	g.obeys(tt.id, 5, control.StateFinished)
	g.send(control.Assign{ID: tt.id, Generation: 6})
	g.obeys(tt.id, 6, control.StateSeeding)
}

func TestAFinishedTorrentOfWhichMoreIsWantedGoesOn(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	cfg := joined(t, h)
	cfg.tick = 10 * time.Millisecond
	tt := newTorrent(t, "red")
	start(t, cfg)
	g, _ := h.welcome()
	skipB := []control.FileRun{{Count: 1}, {Count: 1, Priority: control.FileSkip}}
	g.send(control.Assign{ID: tt.id, Generation: 1, SeedTime: 1, Files: skipB})
	g.reports(tt.id, 1, control.StateLayout)
	g.sendLayout(tt.layout)
	g.reports(tt.id, 1, control.StateDownloading)
	from := seed(t, tt)
	g.reachable(tt, from)
	g.reports(tt.id, 1, control.StateFinished)
	g.send(control.Assign{ID: tt.id, Generation: 2, SeedTime: 1})
	g.obeys(tt.id, 2, control.StateDownloading)
	g.reachable(tt, from)
	if p := g.reports(tt.id, 2, control.StateFinished); p.Have != int64(len(tt.bytes)) {
		t.Errorf("finished with %+v", p)
	}
}

func TestSeedingEndsAtItsRatio(t *testing.T) {
	t.Parallel()
	tt := newTorrent(t, "red")
	giving, taking := newHome(t), newHome(t)
	cfg := joined(t, giving)
	cfg.tick = 10 * time.Millisecond
	tt.place(t, cfg.Dir, "red")
	start(t, cfg)
	g, _ := giving.welcome()
	g.send(control.Assign{ID: tt.id, Generation: 1, SeedRatio: 1000})
	g.reports(tt.id, 1, control.StateLayout)
	g.sendLayout(tt.layout)
	g.reports(tt.id, 1, control.StateSeeding)

	start(t, joined(t, taking))
	l, _ := taking.welcome()
	l.assign(tt, 1)
	l.reports(tt.id, 1, control.StateDownloading)
	l.reachable(tt, g.conn.Remote())
	l.reports(tt.id, 1, control.StateSeeding)
	if p := g.reports(tt.id, 1, control.StateFinished); p.Uploaded != int64(len(tt.bytes)) {
		t.Errorf("finished with %+v", p)
	}
}

func TestCountersOfARunningTorrentSurviveAKill(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	cfg := joined(t, h)
	cfg.tick, cfg.saveEvery = 10*time.Millisecond, 20*time.Millisecond
	tt := newTorrent(t, "red")
	start(t, cfg)
	g, _ := h.welcome()
	g.send(control.Assign{ID: tt.id, Generation: 1, SeedTime: 3600})
	g.reports(tt.id, 1, control.StateLayout)
	g.sendLayout(tt.layout)
	g.reports(tt.id, 1, control.StateDownloading)
	g.reachable(tt, seed(t, tt))
	g.reports(tt.id, 1, control.StateSeeding)
	// What is on the disk while the agent runs is what a kill leaves.
	var a assignment
	eventually(t, "the counters are stored", func() bool {
		b, err := os.ReadFile(filepath.Join(cfg.State, "torrents", hexOf(tt.id), assignmentFile))
		return err == nil && json.Unmarshal(b, &a) == nil && a.Downloaded == int64(len(tt.bytes)) && a.Seeded > 0
	})
}

func TestLimitsOfTheTorrentAndOfTheDeviceSlowItDown(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		device int64
		assign control.Assign
	}{
		"torrent": {0, control.Assign{DownLimit: 30_000}},
		"device":  {30_000, control.Assign{}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHome(t)
			cfg := joined(t, h)
			cfg.Down = c.device
			tt := newTorrent(t, "red")
			start(t, cfg)
			g, _ := h.welcome()
			c.assign.ID, c.assign.Generation = tt.id, 1
			g.send(c.assign)
			g.reports(tt.id, 1, control.StateLayout)
			g.sendLayout(tt.layout)
			g.reports(tt.id, 1, control.StateDownloading)
			began := time.Now()
			g.reachable(tt, seed(t, tt))
			g.reports(tt.id, 1, control.StateSeeding)
			// Of 66 KB two blocks may come at once.
			if took := time.Since(began); took < time.Second {
				t.Errorf("%d bytes came within %v", len(tt.bytes), took)
			}
		})
	}
}

func TestTheSurrogateIsToldWhichAddressesAreOfNoUse(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	start(t, joined(t, h))
	g, _ := h.welcome()
	tt, other := newTorrent(t, "red"), newTorrent(t, "blue")
	g.assign(tt, 1)
	g.reports(tt.id, 1, control.StateDownloading)
	dead, wrong := refusing(t), seed(t, other)
	g.reachable(tt, dead, wrong)
	for len(g.useless) == 0 {
		g.read()
	}
	if _, told := g.useless[wrong]; told || g.useless[dead] != control.UnusableUnreachable {
		t.Errorf("told %v; %v is dead, %v hangs up and is tried again", g.useless, dead, wrong)
	}
}
