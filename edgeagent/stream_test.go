package edgeagent

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"

	"simplebit/edgeagent/storage"
	"simplebit/wire/control"
)

// wanting is an agent that waits for the layout of a torrent.
func wanting(t *testing.T) (*home, Config, *guest, testTorrent) {
	t.Helper()
	h := newHome(t)
	cfg := joined(t, h)
	tt := newTorrent(t, "red")
	start(t, cfg)
	g, _ := h.welcome()
	g.send(control.Assign{ID: tt.id, Generation: 1})
	g.reports(tt.id, 1, control.StateLayout)
	return h, cfg, g, tt
}

// leftovers fails when the state folder has files half written.
func leftovers(t *testing.T, cfg Config) {
	t.Helper()
	eventually(t, "nothing is left behind", func() bool {
		left, _ := filepath.Glob(filepath.Join(cfg.State, "*"+newSuffix)) // a layout that comes meanwhile is still being written
		return len(left) == 0
	})
}

func TestALayoutCutShortByItsSenderIsAFaultThatTheNextWishClears(t *testing.T) {
	t.Parallel()
	_, cfg, g, tt := wanting(t)
	g.sendLayout(tt.layout[:len(tt.layout)-1])
	if p := g.reports(tt.id, 1, control.StateFailed); !strings.Contains(p.Error, "layout") {
		t.Errorf("the fault is %q", p.Error)
	}
	leftovers(t, cfg)
	g.assign(tt, 2)
	g.reports(tt.id, 2, control.StateDownloading)
}

func TestALayoutWhoseStreamIsResetIsNoFault(t *testing.T) {
	t.Parallel()
	_, cfg, g, tt := wanting(t)
	s := g.open()
	_, err := s.Write(tt.layout[:len(tt.layout)-30])
	ok(t, err)
	time.Sleep(20 * time.Millisecond)
	s.Cancel()
	g.quiet(100 * time.Millisecond)
	leftovers(t, cfg)
	g.sendLayout(tt.layout)
	g.reports(tt.id, 1, control.StateDownloading)
}

func TestALayoutThatArrivesWhileTheSurrogateVanishesIsAskedForAgain(t *testing.T) {
	t.Parallel()
	h, cfg, g, tt := wanting(t)
	_, err := g.open().Write(tt.layout[:100])
	ok(t, err)
	time.Sleep(20 * time.Millisecond)
	g.conn.Close(5, "")
	g, inventory := h.welcome()
	if inventory[tt.id].State != control.StateLayout {
		t.Errorf("the agent holds %+v", inventory[tt.id])
	}
	leftovers(t, cfg)
	g.sendLayout(tt.layout)
	g.reports(tt.id, 1, control.StateDownloading)
}

func TestALayoutThatNobodyAskedForIsRefused(t *testing.T) {
	t.Parallel()
	_, cfg, g, tt := wanting(t)
	other := newTorrent(t, "blue")
	s := g.open()
	s.Write(other.layout)
	refused(t, s)
	g.sendLayout(tt.layout)
	g.reports(tt.id, 1, control.StateDownloading)
	s = g.open()
	s.Write(tt.layout) // a second time: the torrent that runs is left alone
	refused(t, s)
	leftovers(t, cfg)
	g.quiet(100 * time.Millisecond)
}

// frame is a frame that control would not write.
func frame(t *testing.T, fields map[int]any) []byte {
	t.Helper()
	b, err := cbor.Marshal(fields)
	ok(t, err)
	return append(binary.AppendUvarint(nil, uint64(len(b))), b...)
}

func TestHostilePathsNeverLeaveTheDownloadFolder(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"../escaped", "/escaped", "red/../../escaped", "red//escaped", "./escaped", "red/..", "..", "red/\x00"} {
		_, cfg, g, tt := wanting(t)
		var b []byte
		b = append(b, frame(t, map[int]any{0: 10, 1: tt.id[:], 2: "red", 3: testPiece, 4: 7, 5: 1, 6: 1})...)
		b = append(b, frame(t, map[int]any{0: 11, 1: []any{map[int]any{1: path, 2: 7}}})...)
		g.open().Write(append(b, make([]byte, 20)...))
		if p := g.reports(tt.id, 1, control.StateFailed); p.Error == "" {
			t.Errorf("%q: reported as %+v", path, p)
		}
		leftovers(t, cfg)
		filepath.WalkDir(filepath.Dir(cfg.State), func(name string, _ fs.DirEntry, _ error) error {
			if strings.Contains(name, "escaped") {
				t.Errorf("%q made %s", path, name)
			}
			return nil
		})
	}
}

func TestAFolderThatIsALinkIsNotFollowedOutOfTheDownloadFolder(t *testing.T) {
	t.Parallel()
	_, cfg, g, tt := wanting(t)
	outside := filepath.Join(filepath.Dir(cfg.Dir), "outside")
	tt.place(t, filepath.Dir(cfg.Dir), "outside")
	ok(t, os.Symlink(outside, filepath.Join(cfg.Dir, "red")))
	g.sendLayout(tt.layout)
	g.until("an end of the checks", func(p control.Progress) bool {
		if p.State == control.StateSeeding || p.Have != 0 {
			t.Errorf("files outside are taken for the torrent's: %+v", p)
		}
		return p.State == control.StateDownloading || p.State == control.StateFailed
	})
	g.send(control.Unassign{ID: tt.id, DeleteData: true})
	g.gone(tt.id)
	if _, err := os.Stat(filepath.Join(outside, "a")); err != nil {
		t.Errorf("deleting reached outside: %v", err)
	}
}

// It runs alone: what others have on the heap would count.
func TestAnEndlessLayoutStreamIsCutOffWithinLittleMemory(t *testing.T) {
	_, cfg, g, _ := wanting(t)
	unknown := frame(t, map[int]any{0: 1000, 1: make([]byte, 60<<10)})
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	s := g.open()
	s.SetWriteDeadline(time.Now().Add(patience))
	sent := 0
	for {
		n, err := s.Write(unknown)
		if sent += n; err != nil {
			break
		}
		if sent > 8<<20 {
			t.Fatalf("%d bytes of nothing were taken", sent)
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 8<<20 {
		t.Errorf("the heap has grown by %d bytes", grown)
	}
	leftovers(t, cfg)
	g.send(control.Unassign{ID: infoHash{1}})
	g.gone(infoHash{1})
}

func TestADamagedLayoutIsAskedForAgain(t *testing.T) {
	t.Parallel()
	for _, damage := range map[string]func([]byte) []byte{
		"empty":          func([]byte) []byte { return nil },
		"cut":            func(b []byte) []byte { return b[:len(b)-20] },
		"cut in a frame": func(b []byte) []byte { return b[:10] },
		"overwritten":    func(b []byte) []byte { return bytes.Repeat([]byte{0xff}, len(b)) },
	} {
		h := newHome(t)
		cfg := joined(t, h)
		tt := newTorrent(t, "red")
		first := start(t, cfg)
		g, _ := h.welcome()
		g.assign(tt, 1)
		g.reports(tt.id, 1, control.StateDownloading)
		first.end()
		file := filepath.Join(cfg.State, "torrents", hexOf(tt.id), "layout")
		b, err := os.ReadFile(file)
		ok(t, err)
		ok(t, os.WriteFile(file, damage(b), 0o600))
		start(t, cfg)
		g, inventory := h.welcome()
		if inventory[tt.id].State != control.StateLayout {
			g.reports(tt.id, 1, control.StateLayout)
		}
		g.sendLayout(tt.layout)
		g.reports(tt.id, 1, control.StateDownloading)
	}
}

func TestTheDeviceTakesNoMoreThanItsNumberOfTorrents(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	cfg := joined(t, h)
	s, err := openState(cfg.State)
	ok(t, err)
	for i := range maxTorrents {
		id := infoHash{byte(i), byte(i >> 8), 1}
		ok(t, os.Mkdir(s.torrentDir(id), 0o700))
		ok(t, os.WriteFile(filepath.Join(s.torrentDir(id), assignmentFile), []byte(`{"Generation":1,"Paused":true}`), 0o600))
	}
	s.close()
	start(t, cfg)
	g, inventory := h.welcome()
	if len(inventory) != maxTorrents {
		t.Fatalf("%d torrents are held", len(inventory))
	}
	id := infoHash{19: 1}
	g.send(control.Assign{ID: id, Generation: 5})
	if p := g.reports(id, 5, control.StateFailed); !strings.Contains(p.Error, "1000 torrents") {
		t.Errorf("refused with %q", p.Error)
	}
	g.send(control.Unassign{ID: infoHash{0, 0, 1}})
	g.gone(infoHash{0, 0, 1})
	g.send(control.Assign{ID: id, Generation: 6})
	g.reports(id, 6, control.StateLayout)
}

func TestLayoutsTakeNoMoreThanTheirShareOfMemory(t *testing.T) {
	dir := t.TempDir()
	tt := newTorrent(t, "red")
	name := filepath.Join(dir, "layout")
	ok(t, os.WriteFile(name, tt.layout, 0o600))
	var tables tables
	tables.used.Store(maxTables)
	if _, err := tables.open(name); !errors.Is(err, errTables) {
		t.Errorf("beyond the bound: %v", err)
	}
	if got := tables.used.Load(); got != maxTables {
		t.Errorf("a refused layout changes the sum to %d", got)
	}
	tables.used.Store(0)
	l, err := tables.open(name)
	ok(t, err)
	if l.memory < int64(len("red/a")+len("red/b")) {
		t.Errorf("two files are estimated at %d bytes", l.memory)
	}
	tables.close(l)
	if got := tables.used.Load(); got != 0 {
		t.Errorf("%d bytes are in use when all is closed", got)
	}
}

func TestADiskThatDoesNotTakeTheLayoutIsAFaultOfTheTorrent(t *testing.T) {
	t.Parallel()
	_, cfg, g, tt := wanting(t)
	// The layout's name is taken by a folder.
	name := filepath.Join(cfg.State, "torrents", hexOf(tt.id), "layout")
	ok(t, os.MkdirAll(filepath.Join(name, "full"), 0o700))
	g.sendLayout(tt.layout)
	if p := g.reports(tt.id, 1, control.StateFailed); !strings.Contains(p.Error, "layout") {
		t.Errorf("the fault is %q", p.Error)
	}
	leftovers(t, cfg)
}

func TestOnlyFaultsOfLayoutOrDiskAreShown(t *testing.T) {
	for err, want := range map[error]bool{
		control.ErrLayout:                 true,
		&fs.PathError{Err: os.ErrInvalid}: true,
		os.ErrDeadlineExceeded:            false,
		errUnwanted:                       false,
		storage.ErrClosed:                 false,
	} {
		if got := faulty(err); got != want {
			t.Errorf("%v: %v, want %v", err, got, want)
		}
	}
}
