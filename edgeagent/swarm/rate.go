package swarm

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"simplebit/wire/peer"
)

const (
	// burstTime is how much of a rate may come at once, beyond which it is not smooth, and short of which delays of the
	// scheduler are lost for ever; but always one block.
	burstTime = 50 * time.Millisecond
	mostBurst = 1 << 20
)

var errGone = errors.New("the connection was ended")

// A limit bounds a rate of payload. The zero value is none. Any goroutine may use it.
type limit struct {
	bucket atomic.Pointer[bucket] // nil: no limit
}

// A bucket grants bytes in the order in which they were asked for.
type bucket struct {
	*rate.Limiter
	perSecond int64
	replaced  chan struct{} // closed when it counts no more
}

// set changes the limit, in bytes/s, for those who wait too. 0: none.
func (l *limit) set(perSecond int64) {
	old := l.bucket.Load()
	if old == nil && perSecond <= 0 || old != nil && old.perSecond == perSecond {
		return
	}
	var b *bucket
	if perSecond > 0 {
		burst := min(max(perSecond*int64(burstTime)/int64(time.Second), peer.BlockSize), mostBurst)
		b = &bucket{rate.NewLimiter(rate.Limit(perSecond), int(burst)), perSecond, make(chan struct{})}
	}
	if old = l.bucket.Swap(b); old != nil {
		close(old.replaced)
	}
}

// perSecond returns the limit in bytes/s; 0 is none.
func (l *limit) perSecond() int64 {
	if b := l.bucket.Load(); b != nil {
		return b.perSecond
	}
	return 0
}

// wait returns when n more bytes are within the limit, when ctx ends or when gone is closed.
func (l *limit) wait(ctx context.Context, gone <-chan struct{}, n int) error {
	for {
		b := l.bucket.Load()
		if b == nil {
			return nil
		}
		r := b.ReserveN(time.Now(), n)
		delay := r.Delay()
		if delay <= 0 {
			return nil
		}
		timer := time.NewTimer(delay)
		select {
		case <-timer.C:
			return nil
		case <-b.replaced:
			timer.Stop()
			continue
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-gone:
			timer.Stop()
			r.Cancel()
			return errGone
		}
	}
}

// rates are the limits that a torrent's payload of one direction keeps to: the device's and its own.
type rates struct{ device, own *limit }

// limited reports whether there is a limit. It costs next to nothing, unlike waiting.
func (r rates) limited() bool {
	return r.own.bucket.Load() != nil || r.device.bucket.Load() != nil
}

// perSecond returns the lower of the limits in bytes/s; 0 is none.
func (r rates) perSecond() int64 {
	a, b := r.own.perSecond(), r.device.perSecond()
	if a == 0 || b == 0 {
		return max(a, b)
	}
	return min(a, b)
}

// wait is limit.wait for both.
func (r rates) wait(ctx context.Context, gone <-chan struct{}, n int) error {
	if err := r.own.wait(ctx, gone, n); err != nil {
		return err
	}
	return r.device.wait(ctx, gone, n)
}

// A grant is leave to send a number of bytes from a certain time on.
type grant struct {
	bytes int
	due   time.Time
	parts [2]part
}

type part struct {
	from     *bucket
	reserved *rate.Reservation
}

// ask returns a grant of so many bytes, or nil if nothing limits them. Two limits are asked one after the other, so that
// both count what is sent.
func (r rates) ask(now time.Time, bytes int) *grant {
	g := &grant{bytes: bytes, due: now}
	limits := 0
	for i, l := range []*limit{r.own, r.device} {
		b := l.bucket.Load()
		if b == nil {
			continue
		}
		limits++
		g.bytes = min(g.bytes, b.Burst())
		g.parts[i].from = b
	}
	if limits == 0 {
		return nil
	}
	for i := range g.parts {
		if p := &g.parts[i]; p.from != nil {
			p.reserved = p.from.ReserveN(now, g.bytes)
			if at := now.Add(p.reserved.DelayFrom(now)); at.After(g.due) {
				g.due = at
			}
		}
	}
	return g
}

// void reports whether a limit has changed since the grant was asked for.
func (r rates) void(g *grant) bool {
	return g.parts[0].from != r.own.bucket.Load() || g.parts[1].from != r.device.bucket.Load()
}

// giveUp lets others have what was granted.
func (g *grant) giveUp(now time.Time) {
	for _, p := range g.parts {
		if p.reserved != nil {
			p.reserved.CancelAt(now)
		}
	}
}

// step is how many bytes to ask for at a time: as many as go into one system call, if the rate is high enough for that to
// be smooth.
func (r rates) step() int {
	burst := r.perSecond() * int64(burstTime) / int64(time.Second)
	return int(min(max(burst, peer.BlockSize), maxGather*peer.BlockSize))
}
