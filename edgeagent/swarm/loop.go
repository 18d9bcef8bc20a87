package swarm

import (
	"context"
	"time"

	"simplebit/edgeagent/choker"
	"simplebit/edgeagent/picker"
	"simplebit/edgeagent/storage"
	"simplebit/wire/dial"
	"simplebit/wire/peer"
)

const (
	// tickInterval is the loop's heartbeat while anything happens, quietInterval when nothing did since the last.
	tickInterval  = 500 * time.Millisecond
	quietInterval = 5 * time.Second
	// publishInterval is the least time between snapshots.
	publishInterval = 250 * time.Millisecond
	rateInterval    = time.Second
)

// loop is the state that only the goroutine which has Torrent.turn touches.
type loop struct {
	events  chan event
	dialled chan dialResult
	sure    int // dials in progress of reachable addresses
	guesses int // and of others
	running int // goroutines of connections, whose last event is still to come

	place    *member // our connections, as the device counts them
	book     *book
	bans     bans
	suspects suspects
	verdicts []Verdict // to be told
	told     time.Time // when a peer's fault was last shown in the log
	peers    []*peerConn
	dirty    []*peerConn // with something to send or to ask for after this round of events

	want       *Policy
	pick       *picker.Picker
	have       peer.Bitfield
	haveBytes  int64
	wantedLeft int64 // bytes of wanted pieces that are not verified
	seeded     bool  // nothing that is wanted was missing when peers were last told

	total   totals
	choking choking
	clock   clock
	scratch scratch

	wakeAll bool // blocks are free again that other peers can be asked for
	changed bool // the snapshot is out of date in more than rates
	failed  error
}

// totals are bytes of payload of all peers since New.
type totals struct {
	downloaded, uploaded, wasted int64
	down, up                     meter
}

// clock is when the loop did what it does at intervals, and when it must do something at a certain time.
type clock struct {
	rated, published time.Time
	alarm            time.Time // when the first grant is due; zero for never
	set              time.Time // what the timer for it is set to
	timer            *time.Timer
}

// run is the loop. It returns when ctx ends or the disk has failed.
func (t *Torrent) run(ctx context.Context) error {
	timer, alarm := time.NewTimer(tickInterval), time.NewTimer(quietInterval)
	defer timer.Stop()
	defer alarm.Stop()
	t.choking.round, t.clock.timer = time.Now(), alarm
	quiet, happened := false, false
	for {
		select {
		case ev := <-t.events:
			t.turn.Lock()
			now := time.Now()
			t.handle(now, ev)
			t.drain(now)
			happened = true
		case ev, ok := <-t.c.Storage.Events():
			if !ok {
				return storage.ErrClosed
			}
			t.turn.Lock()
			t.stored(time.Now(), ev)
			happened = true
		case list := <-t.candidates:
			t.turn.Lock()
			for _, c := range list {
				if a := t.book.add(c.Addr, c.Reachable); a != nil && a.way == (dial.Way{}) {
					a.way = c.Way
				}
			}
			t.changed, happened = true, true
			t.dialMore(ctx, time.Now())
		case <-t.poke:
			t.turn.Lock()
			t.rethink(time.Now())
			t.dialMore(ctx, time.Now())
			happened = true
		case c := <-t.accepted:
			t.turn.Lock()
			t.join(ctx, time.Now(), c, nil)
			happened = true
		case r := <-t.dialled:
			t.turn.Lock()
			t.reached(ctx, time.Now(), r)
			t.dialMore(ctx, time.Now())
			happened = true
		case <-alarm.C:
			t.turn.Lock()
			t.clock.alarm, t.clock.set = time.Time{}, time.Time{}
			t.touchGranted()
			happened = true
		case <-timer.C:
			t.turn.Lock()
			now := time.Now()
			waiting := t.tick(ctx, now)
			quiet = !happened && !waiting && t.total.down.rate(now) == 0 && t.total.up.rate(now) == 0
			happened = false
			if quiet {
				timer.Reset(quietInterval)
			} else {
				timer.Reset(tickInterval)
			}
		case <-ctx.Done():
			return nil
		}
		failed := t.failed
		if failed == nil {
			t.settle(time.Now())
		}
		t.turn.Unlock()
		if failed != nil {
			return failed
		}
		if quiet && happened {
			quiet = false
			timer.Reset(tickInterval)
		}
	}
}

// rethink takes notice of limits or a policy that have changed.
func (t *Torrent) rethink(now time.Time) {
	if t.want != t.policy.Load() {
		t.obey(now)
	}
	t.wakeAll = true
}

// alarm has the loop look at the peers with grants at the given time, if not before.
func (t *Torrent) alarm(at time.Time) {
	if t.clock.alarm.IsZero() || at.Before(t.clock.alarm) {
		t.clock.alarm = at
	}
}

// touchGranted has settle look at the peers that wait for a grant.
func (t *Torrent) touchGranted() {
	for _, p := range t.peers {
		if p.serve.grant != nil {
			t.touch(p)
		}
	}
}

// settle sends and asks for what a round of events has made necessary.
func (t *Torrent) settle(now time.Time) {
	if t.choking.now || now.Sub(t.choking.round) >= choker.Interval {
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
	if t.changed && now.Sub(t.clock.published) >= publishInterval {
		t.publish(now)
	}
	if at := t.clock.alarm; at != t.clock.set {
		t.clock.set = at
		t.clock.timer.Reset(at.Sub(now))
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
		var err error
		if p.draining() {
			err = t.part(now, p)
		}
		if err == nil {
			err = p.flush(now, len(t.have))
		}
		if err != nil {
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

// tick does what depends on the time alone. It reports whether it must be called again soon whatever happens.
func (t *Torrent) tick(ctx context.Context, now time.Time) (waiting bool) {
	rate := now.Sub(t.clock.rated) >= rateInterval
	if rate {
		t.clock.rated = now
	}
	t.choking.look(t.peers)
	for i := len(t.peers) - 1; i >= 0; i-- {
		p := t.peers[i]
		err := t.collect(now, p)
		if err == nil {
			err = t.overdue(now, p)
		}
		if err != nil {
			t.drop(now, p, err)
			continue
		}
		t.supersede(now, p)
		if now.Sub(p.sent) >= keepAliveInterval {
			p.queue(peer.Message{KeepAlive: true})
		}
		if rate {
			p.flow.pipe.tick(p.tally.down.rate(now))
		}
		t.touch(p)
		waiting = waiting || p.draining()
	}
	left := t.dialMore(ctx, now)
	t.turnover(now, left)
	t.pronounce()
	t.publish(now)
	return waiting || left || t.pick.Requested() > 0
}

// shutDown closes every connection and waits for the goroutines and dials.
func (t *Torrent) shutDown() {
	now := time.Now()
	t.turn.Lock()
	defer t.turn.Unlock()
	for len(t.peers) > 0 {
		t.drop(now, t.peers[0], errStopped)
	}
	results := t.c.Storage.Events()
	for t.running > 0 || t.sure+t.guesses > 0 {
		t.turn.Unlock()
		select {
		case ev := <-t.events:
			t.turn.Lock()
			t.handle(now, ev)
		case ev, ok := <-results:
			// A reader may wait for room for it.
			t.turn.Lock()
			if !ok {
				results = nil
				continue
			}
			t.stored(now, ev)
		case r := <-t.dialled:
			t.turn.Lock()
			t.dialEnded(r)
			t.c.Shared.give(t.place)
			if r.conn != nil {
				r.conn.Close()
			}
		}
	}
	t.pronounce()
	t.publish(now)
}
