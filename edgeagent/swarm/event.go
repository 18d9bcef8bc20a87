package swarm

import (
	"errors"
	"time"

	"simplebit/edgeagent/storage"
	"simplebit/wire/peer"
)

// eventQueue is how many events readers and writers may be ahead of the loop.
const eventQueue = 256

// An event is what a connection's goroutine tells the loop.
type event struct {
	from *peerConn
	kind eventKind
	msg  peer.Message // of gotMessage
	n    int          // of wroteBlocks: bytes
	err  error        // of readerEnded and writerEnded
}

type eventKind uint8

const (
	gotMessage eventKind = iota
	wroteBlocks
	readerEnded
	writerEnded
)

// drain handles the events that are waiting, so that what they cause is sent together.
func (t *Torrent) drain(now time.Time) {
	for range eventQueue {
		select {
		case ev := <-t.events:
			t.handle(now, ev)
		default:
			return
		}
	}
}

// handle deals with an event, and before it with the blocks that came before it.
func (t *Torrent) handle(now time.Time, ev event) {
	p := ev.from
	if ev.kind == readerEnded || ev.kind == writerEnded {
		t.running--
	}
	err := t.collect(now, p)
	if p.gone {
		return
	}
	switch {
	case err != nil:
	case ev.kind == gotMessage:
		p.heard, p.remote.spoke = now, true
		if err = t.message(now, p, ev.msg); err == nil {
			t.supersede(now, p)
		}
	case ev.kind == wroteBlocks:
		t.wrote(now, p, ev.n)
	default:
		err = ev.err
		if disk := (*storage.DiskError)(nil); errors.As(err, &disk) {
			t.failed = err
		}
	}
	if err != nil {
		t.drop(now, p, err)
	}
}
