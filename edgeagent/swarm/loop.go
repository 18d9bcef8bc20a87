package swarm

import (
	"context"
	"errors"
	"time"

	"simplebit/edgeagent/picker"
	"simplebit/edgeagent/storage"
	"simplebit/wire/peer"
)

const (
	eventQueue = 256 // events that readers may be ahead of the loop
	// tickInterval is the loop's heartbeat while anything happens, quietInterval when nothing did since the last.
	tickInterval  = 500 * time.Millisecond
	quietInterval = 5 * time.Second
	// publishInterval is the least time between snapshots.
	publishInterval = 250 * time.Millisecond
	rechokeInterval = 10 * time.Second
	rateInterval    = time.Second
)

// loop is the state that only the goroutine in Run touches.
type loop struct {
	events  chan event
	dialled chan dialResult
	dials   int // in progress
	running int // goroutines of connections, whose last event is still to come

	book   *book
	banned [][20]byte // peer ids
	peers  []*peerConn
	dirty  []*peerConn // with something to send or to ask for after this round of events

	pick      *picker.Picker
	have      peer.Bitfield
	haveBytes int64
	blocks    []picker.Block // scratch

	downloaded, uploaded int64
	down, up             meter

	rechoked, rated, published time.Time
	rechokeNow                 bool // a slot or a wait for one has begun
	wakeAll                    bool // blocks are free again that other peers can be asked for
	changed                    bool // the snapshot is out of date in more than rates
	failed                     error
}

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
	gotBlocks            // there are arrivals
	wroteBlocks
	readerEnded
	writerEnded
)

func (t *Torrent) seeding() bool { return t.pick.Missing() == 0 }

// run is the loop. It returns when ctx ends or the disk has failed.
func (t *Torrent) run(ctx context.Context) error {
	timer := time.NewTimer(tickInterval)
	defer timer.Stop()
	quiet, happened := false, false
	for {
		select {
		case ev := <-t.events:
			now := time.Now()
			t.handle(now, ev)
			t.drain(now)
			happened = true
		case ev, ok := <-t.c.Storage.Events():
			if !ok {
				return storage.ErrClosed
			}
			t.stored(time.Now(), ev)
			happened = true
		case list := <-t.candidates:
			for _, at := range list {
				t.book.add(at.Addr)
			}
			t.changed, happened = true, true
			t.dialMore(ctx, time.Now())
		case <-t.poke:
			t.pick.SetPriorities(t.policy.Load().Priorities)
			t.pick.SetSequential(t.policy.Load().Sequential)
			t.wakeAll, t.changed, happened = true, true, true
		case c := <-t.accepted:
			t.join(ctx, time.Now(), c, nil)
			happened = true
		case r := <-t.dialled:
			t.dials--
			t.reached(ctx, time.Now(), r)
			t.dialMore(ctx, time.Now())
			happened = true
		case <-timer.C:
			now := time.Now()
			t.tick(ctx, now)
			quiet = !happened && t.down.rate(now) == 0 && t.up.rate(now) == 0
			happened = false
			if quiet {
				timer.Reset(quietInterval)
			} else {
				timer.Reset(tickInterval)
			}
		case <-ctx.Done():
			return nil
		}
		if t.failed != nil {
			return t.failed
		}
		if quiet && happened {
			quiet = false
			timer.Reset(tickInterval)
		}
		t.settle(time.Now())
	}
}

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
		p.heard = now
		err = t.message(now, p, ev.msg)
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

// settle sends and asks for what a round of events has made necessary.
func (t *Torrent) settle(now time.Time) {
	if t.rechokeNow || now.Sub(t.rechoked) >= rechokeInterval {
		t.rechoke(now)
	}
	t.send(now)
	// A peer dropped there can free blocks for others.
	for t.wakeAll {
		t.wakeAll = false
		for _, p := range t.peers {
			t.touch(p)
		}
		t.send(now)
	}
	if t.changed && now.Sub(t.published) >= publishInterval {
		t.publish(now)
	}
}

// send has every peer of the dirty list get its requests, blocks and messages.
func (t *Torrent) send(now time.Time) {
	for i := 0; i < len(t.dirty); i++ {
		p := t.dirty[i]
		p.dirty = false
		if p.gone {
			continue
		}
		t.ask(now, p)
		t.feed(now, p)
		if err := p.flush(now, len(t.have)); err != nil {
			t.drop(now, p, err)
		}
	}
	clear(t.dirty)
	t.dirty = t.dirty[:0]
}

// touch has settle look at the peer.
func (t *Torrent) touch(p *peerConn) {
	if !p.dirty && !p.gone {
		p.dirty = true
		t.dirty = append(t.dirty, p)
	}
}

// tick does what depends on the time alone.
func (t *Torrent) tick(ctx context.Context, now time.Time) {
	rate := now.Sub(t.rated) >= rateInterval
	if rate {
		t.rated = now
	}
	for i := len(t.peers) - 1; i >= 0; i-- {
		p := t.peers[i]
		err := t.collect(now, p)
		if err == nil {
			err = p.overdue(now)
		}
		if err != nil {
			t.drop(now, p, err)
			continue
		}
		if now.Sub(p.sent) >= keepAliveInterval {
			p.queue(peer.Message{KeepAlive: true})
		}
		if rate {
			p.pipe.tick(p.down.rate(now))
		}
		t.touch(p)
	}
	t.dialMore(ctx, now)
	t.publish(now)
}

// shutDown closes every connection and waits for the goroutines and dials.
func (t *Torrent) shutDown() {
	now := time.Now()
	for len(t.peers) > 0 {
		t.drop(now, t.peers[0], errStopped)
	}
	for t.running > 0 || t.dials > 0 {
		select {
		case ev := <-t.events:
			t.handle(now, ev)
		case r := <-t.dialled:
			t.dials--
			if r.conn != nil {
				r.conn.Close()
			}
		}
	}
	t.publish(now)
}
