package swarm

import (
	"context"
	"errors"
	"time"

	"simplebit/wire/dial"
)

const (
	// maxDials is how many dials of reachable addresses a torrent has in progress; see Shared for others.
	maxDials = 10
	// surePatience is how long a reachable address may take to connect and shake hands. Somebody has just had an answer
	// from there, so it must not keep others waiting as long as one that nobody knows.
	surePatience = 5 * time.Second
	// enoughPeers is how many peers make unverified addresses unnecessary while we download, whatever our share.
	enoughPeers = 20
)

// A dialResult is what came of dialling an address.
type dialResult struct {
	entry *address
	guess bool
	conn  *dial.Conn
	err   error
}

// dialMore dials as many addresses as there is room for: all that are reachable and, while there are few peers, a few of
// the others. It reports whether some are left that may be dialled soon.
func (t *Torrent) dialMore(ctx context.Context, now time.Time) (left bool) {
	for a := t.book.next(now, true, t.seeding()); a != nil; a = t.book.next(now, true, t.seeding()) {
		if t.sure == maxDials || !t.takePlace(now) {
			return true
		}
		t.dial(ctx, a, false)
	}
	if t.enough() {
		return false
	}
	a := t.book.next(now, false, t.seeding())
	if a == nil {
		return false
	}
	if t.takePlace(now) {
		if t.c.Shared.guess(now) {
			t.dial(ctx, a, true)
		} else {
			t.c.Shared.give(t.place)
		}
	}
	return true
}

// enough reports whether there are so many peers, but for those that are relayed, that unverified addresses are not worth their dials.
func (t *Torrent) enough() bool {
	most := min(t.c.Shared.shareOf(), enoughPeers)
	if limit := t.want.MaxPeers; limit > 0 {
		most = min(most, limit)
	}
	direct := t.sure
	for _, p := range t.peers {
		if !p.conn.Relayed {
			direct++
		}
	}
	return direct >= most
}

// takePlace takes a place for one more connection, if there is one.
func (t *Torrent) takePlace(now time.Time) bool {
	if limit := t.want.MaxPeers; limit > 0 && len(t.peers)+t.sure+t.guesses >= limit {
		return false
	}
	return t.c.Shared.take(now, t.place)
}

// dial has a goroutine dial the address, in the place that was taken for it.
func (t *Torrent) dial(ctx context.Context, a *address, guess bool) {
	a.busy = true
	patience := dial.DefaultTimeout
	if guess {
		t.guesses++
	} else {
		t.sure++
		patience = surePatience
	}
	known := a.way
	go func() {
		ctx, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		c, err := t.c.Dialer.Dial(ctx, a.at, t.handshake, known)
		t.dialled <- dialResult{a, guess, c, err}
	}()
}

// dialEnded counts a dial that has ended. Its place remains taken.
func (t *Torrent) dialEnded(r dialResult) {
	if r.guess {
		t.guesses--
		t.c.Shared.guessDone()
	} else {
		t.sure--
	}
}

// reached takes the outcome of a dial.
func (t *Torrent) reached(ctx context.Context, now time.Time, r dialResult) {
	t.dialEnded(r)
	if r.err == nil {
		r.entry.reachable, r.entry.way = true, r.conn.Way()
		t.join(ctx, now, r.conn, r.entry)
		return
	}
	t.c.Shared.give(t.place)
	t.log.Debug("peer not reached", "addr", r.entry.at, "err", r.err)
	if dial.HungUp(r.err) && t.book.hungUp(r.entry, now) {
		return
	}
	t.book.failed(r.entry, now)
	r.entry.way = dial.Way{} // the next time, whatever connects
	reason := Unreachable
	if errors.Is(r.err, dial.ErrSelf) || errors.Is(r.err, dial.ErrInfoHash) {
		r.entry.banned = true
		reason = Useless
	}
	t.judge(r.entry.at, reason)
}
