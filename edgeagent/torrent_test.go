package edgeagent

import (
	"context"
	"log/slog"
	"os"
	"sync/atomic"
	"testing"

	"simplebit/wire/control"
)

// onStop is a log handler that is called between the end of a torrent's work by
// an error and the state that says so.
type onStop struct{ call func() }

func (o onStop) Enabled(context.Context, slog.Level) bool { return true }
func (o onStop) WithAttrs([]slog.Attr) slog.Handler       { return o }
func (o onStop) WithGroup(string) slog.Handler            { return o }
func (o onStop) Handle(_ context.Context, r slog.Record) error {
	if r.Message == "torrent stopped" {
		o.call()
	}
	return nil
}

func TestAWishThatComesWhileItsTorrentFailsIsTried(t *testing.T) {
	s, err := openState(tempDir(t))
	ok(t, err)
	defer s.close()
	id := infoHash{1}
	ok(t, s.saveAssignment(id, assignment{Generation: 1}))
	ctx, stop := context.WithCancel(context.Background())
	set := &torrents{state: s, changed: make(signal, 1)}
	tr := &torrent{
		id: id, dir: s.torrentDir(id), set: set, wish: assignment{Generation: 1}, stop: stop,
		wake: make(signal, 1), retune: make(signal, 1), broken: make(chan error, 1), ended: make(chan struct{}),
	}
	var stops atomic.Int32
	tr.log = slog.New(onStop{func() {
		if stops.Add(1) == 1 {
			tr.assign(control.Assign{ID: id, Generation: 2, UpLimit: 1000})
		}
	}})
	go tr.run(ctx, true)
	defer func() { stop(); <-tr.ended }()
	tr.fail(os.ErrInvalid)
	eventually(t, "the newer wish is tried", func() bool {
		tr.mu.Lock()
		defer tr.mu.Unlock()
		return tr.applied.Generation == 2
	})
}
