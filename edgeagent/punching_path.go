package edgeagent

import (
	"context"
	"errors"
	"slices"
	"time"

	"simplebit/nat/punch"
	"simplebit/nat/udpmux"
	"simplebit/wire/control"
	"simplebit/wire/dial"
	"simplebit/wire/mse"
	"simplebit/wire/peer"
)

const (
	// pathIdle is how long a path is kept that no connection uses, lookEvery how often that is looked at.
	pathIdle  = 2 * time.Minute
	lookEvery = 10 * time.Second
	// callTime is how long a peer on a path may take to take the connection. It has answered on the path just now, but the
	// first request may come before it knows that the path is one.
	callTime  = 2 * time.Second
	callDelay = 50 * time.Millisecond
	// A peer that is not reached, since it may be starting with the torrent, is called again after callAgain, and twice as much each
	// time; maxCalls times in all.
	callAgain = 2 * time.Second
	maxCalls  = 5
	// A connection that has ended while the path is kept is made again, after which calls are counted anew if it lasted.
	recallEvery = 2 * time.Second
	lasting     = time.Minute
)

// path is one that is kept.
type path struct {
	plan
	keeper *punch.Keeper
	via    *udpmux.Socket
	report control.Punched
	since  time.Time
	look   time.Time // when it is looked whether it is used
	used   time.Time // when it was last
	check  time.Time // when it is looked which of the calls that were taken have ended
	calls  []call    // of the controlling side
}

// call is what is to be dialled over a path.
type call struct {
	torrent infoHash
	at      time.Time // zero: not again, it is under way, or it was taken
	tries   int
	taken   time.Time // zero: it was not, or has ended
}

// answered is what came of a call.
type answered struct {
	path *path
	call *call
	conn *dial.Conn
	err  error
}

// keep makes a path of what an attempt has found.
func (w *puncher) keep(now time.Time, name string, a *attempt, report control.Punched) error {
	k := a.machine.Keeper(now)
	x := k.Path()
	p := &path{plan: a.plan, keeper: k, via: a.sockets[x.Socket], report: report, since: now, look: now.Add(w.lookEvery), used: now}
	if x.Socket != 0 {
		if err := w.adopt(p.via); err != nil {
			return err
		}
	}
	if a.Controlling {
		for _, id := range a.Torrents {
			p.calls = append(p.calls, call{torrent: id, at: now.Add(x.RTT + callDelay)})
		}
	}
	w.paths[name] = p
	w.mu.Lock()
	w.kept = append(w.kept, kept{p.via, x.Remote, report, now, a.plan})
	w.mu.Unlock()
	return nil
}

// wake is when something of the path is due.
func (p *path) wake() time.Time {
	at := p.keeper.Wake()
	if p.look.Before(at) {
		at = p.look
	}
	for _, c := range p.calls {
		if !c.at.IsZero() && c.at.Before(at) {
			at = c.at
		}
		if !c.taken.IsZero() && p.check.Before(at) {
			at = p.check
		}
	}
	return at
}

// mind does what a path needs.
func (w *puncher) mind(ctx context.Context, now time.Time, name string, p *path) {
	remote := p.keeper.Path().Remote
	if !now.Before(p.keeper.Wake()) {
		p.keeper.Heard(w.ports.utp.Heard(p.via, remote))
	}
	w.out = p.keeper.Poll(now, w.out[:0])
	for _, d := range w.out {
		send(p.via, d)
	}
	if p.keeper.Lost(now) {
		w.lose(now, name, p)
		return
	}
	if !now.Before(p.look) {
		p.look = now.Add(w.lookEvery)
		if w.ports.utp.Carries(p.via, remote) {
			p.used = now
		} else if now.Sub(p.used) >= w.idle {
			w.logOf(p.plan).Info("path to a device is not used any more", "remote", remote, "after", now.Sub(p.since).Round(time.Second).String())
			w.drop(name, p)
			return
		}
	}
	if !now.Before(p.check) {
		p.check = now.Add(w.recallEvery)
		w.recall(now, p)
	}
	for i := range p.calls {
		if c := &p.calls[i]; !c.at.IsZero() && !now.Before(c.at) {
			c.at = time.Time{}
			c.tries++
			w.call(ctx, p, c)
		}
	}
}

// lose ends a path that is lost, and has that told.
func (w *puncher) lose(now time.Time, name string, p *path) {
	r := &p.report
	r.Outcome, r.Chosen, r.Why, r.Kept, r.Tries = control.PunchLost, r.Why, p.keeper.Why(), now.Sub(p.since), nil
	w.logOf(p.plan).Info("path to a device is lost", "remote", r.Remote, "why", r.Why, "after", r.Kept.Round(time.Second).String(),
		"used", w.ports.utp.Carries(p.via, r.Remote))
	w.drop(name, p)
	w.tell(*r)
}

// call dials the peer for one torrent.
func (w *puncher) call(ctx context.Context, p *path, c *call) {
	ours, runs := w.greet(c.torrent)
	if !runs {
		c.later(w.now())
		return
	}
	d := w.dialer
	d.UTP = w.ports.utp.Via(p.via)
	w.tasks.Go(func() {
		conn, err := d.Dial(ctx, p.keeper.Path().Remote, ours, dial.Way{Transport: dial.UTP})
		select {
		case w.answered <- answered{p, c, conn, err}:
		case <-ctx.Done():
			if err == nil {
				dial.Abort(conn)
			}
		}
	})
}

// later has a call made once more, if that is worth while.
func (c *call) later(now time.Time) {
	if c.tries < maxCalls {
		c.at = now.Add(callAgain << max(c.tries-1, 0))
	}
}

// ended has a call made again whose connection has ended. One that ends soon again and again is not wanted: both may have all
// that there is.
func (c *call) ended(now time.Time) {
	if now.Sub(c.taken) >= lasting {
		c.tries = 0
	}
	c.taken = time.Time{}
	c.later(now)
}

// recall has calls made again that were taken and have ended.
func (w *puncher) recall(now time.Time, p *path) {
	for i := range p.calls {
		c := &p.calls[i]
		if c.taken.IsZero() || now.Sub(c.taken) < w.recallEvery || w.connected(c.torrent, p.keeper.Path().Remote) {
			continue
		}
		c.ended(now)
		w.logOf(p.plan).Debug("connection on a path has ended", "again", !c.at.IsZero())
	}
}

// called hands a connection to its torrent.
func (w *puncher) called(now time.Time, a answered) {
	if a.err == nil {
		a.call.taken = now
		w.tasks.Go(func() { w.take(a.conn) }) // the torrent may be busy
		return
	}
	log := w.logOf(a.path.plan)
	if why := w.disagree(a.err); why != "" && a.call.tries == 1 {
		log.Info("peer not reached on a path", "why", why, "err", a.err)
	} else {
		log.Debug("peer not reached on a path", "err", a.err)
	}
	if !errors.Is(a.err, dial.ErrSelf) && !errors.Is(a.err, dial.ErrInfoHash) {
		a.call.later(now)
	}
}

// disagree says what encryption may have to do with the failure of a call; empty: nothing.
func (w *puncher) disagree(err error) string {
	other := !errors.Is(err, dial.ErrInfoHash) && (dial.HungUp(err) || errors.Is(err, peer.ErrHandshake))
	switch {
	case other && w.dialer.Encryption == mse.Require:
		return "the peer refuses encryption, which --encryption require asks for, or lacks the torrent"
	case other && w.dialer.Encryption == mse.Off:
		return "the peer insists on encryption, which --encryption off rules out, or lacks the torrent"
	}
	return ""
}

// drop ends a path, and the connections that use it.
func (w *puncher) drop(name string, p *path) {
	delete(w.paths, name)
	w.forget(name)
	w.mu.Lock()
	w.kept = slices.DeleteFunc(w.kept, func(k kept) bool { return k.report.Attempt == p.Attempt })
	w.mu.Unlock()
	x := p.keeper.Path()
	if x.Socket != 0 && w.release(p.via) {
		return
	}
	shared := func(k kept) bool { return k.via == p.via && k.remote == x.Remote }
	w.mu.Lock()
	other := slices.ContainsFunc(w.kept, shared)
	w.mu.Unlock()
	if !other {
		w.ports.utp.Cut(p.via, x.Remote)
	}
}
