package swarm

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

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

// A bucket grants bytes in the order in which they were asked for. Any goroutine may use it.
type bucket struct {
	perSecond int64
	burst     int           // bytes that may come at once
	replaced  chan struct{} // closed when it counts no more
	turn      chan struct{} // held by whoever waits in wait for what it took; others take nothing meanwhile

	mu    sync.Mutex
	empty time.Time // when it is empty: what has been taken is due then
}

func newBucket(perSecond int64) *bucket {
	burst := min(max(perSecond*int64(burstTime)/int64(time.Second), peer.BlockSize), mostBurst)
	return &bucket{
		perSecond: perSecond, burst: int(burst), replaced: make(chan struct{}), turn: make(chan struct{}, 1),
	}
}

// lasts is how long the rate takes for n bytes.
func (b *bucket) lasts(n int) time.Duration {
	return time.Duration(int64(n) * int64(time.Second) / b.perSecond)
}

// take returns when n bytes may be moved, if not at once.
func (b *bucket) take(now time.Time, n int) time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	if full := now.Add(-b.lasts(b.burst)); b.empty.Before(full) {
		b.empty = full
	}
	b.empty = b.empty.Add(b.lasts(n))
	return b.empty
}

// giveBack lets others have n bytes that were taken and will not be moved.
func (b *bucket) giveBack(n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.empty = b.empty.Add(-b.lasts(n))
}

// set changes the limit, in bytes/s, for those who wait too. 0: none.
func (l *limit) set(perSecond int64) {
	old := l.bucket.Load()
	if old == nil && perSecond <= 0 || old != nil && old.perSecond == perSecond {
		return
	}
	var b *bucket
	if perSecond > 0 {
		b = newBucket(perSecond)
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

// wait returns when n more bytes are within the limit, when ctx ends or when gone is closed. It may be called by many at
// once: those that give up cost the others nothing.
func (l *limit) wait(ctx context.Context, gone <-chan struct{}, n int) error {
	for {
		b := l.bucket.Load()
		if b == nil {
			return nil
		}
		granted, err := b.wait(ctx, gone, n)
		if granted || err != nil {
			return err
		}
	}
}

// wait is limit.wait, but ends without being granted when the bucket is replaced, too.
func (b *bucket) wait(ctx context.Context, gone <-chan struct{}, n int) (granted bool, err error) {
	select {
	case b.turn <- struct{}{}:
	case <-b.replaced:
		return false, nil
	case <-ctx.Done():
		return false, ctx.Err()
	case <-gone:
		return false, errGone
	}
	defer func() { <-b.turn }()
	now := time.Now()
	delay := b.take(now, n).Sub(now)
	if delay <= 0 {
		return true, nil
	}
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true, nil
	case <-b.replaced:
		return false, nil
	case <-ctx.Done():
		err = ctx.Err()
	case <-gone:
		err = errGone
	}
	b.giveBack(n)
	return false, err
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
	from  [2]*bucket // the torrent's and the device's that it was taken from; nil: no limit
}

// ask returns a grant of so many bytes, or nil if nothing limits them. Both limits count what is sent.
func (r rates) ask(now time.Time, bytes int) *grant {
	g := &grant{bytes: bytes, due: now, from: r.buckets()}
	if g.from == [2]*bucket{} {
		return nil
	}
	for _, b := range g.from {
		if b != nil {
			g.bytes = min(g.bytes, b.burst)
		}
	}
	for _, b := range g.from {
		if b == nil {
			continue
		}
		if at := b.take(now, g.bytes); at.After(g.due) {
			g.due = at
		}
	}
	return g
}

// void reports whether a limit has changed since the grant was asked for.
func (r rates) void(g *grant) bool { return g.from != r.buckets() }

func (r rates) buckets() [2]*bucket { return [2]*bucket{r.own.bucket.Load(), r.device.bucket.Load()} }

// giveUp lets others have what was granted.
func (g *grant) giveUp() {
	for _, b := range g.from {
		if b != nil {
			b.giveBack(g.bytes)
		}
	}
}

// step is how many bytes to ask for at a time: as many as go into one system call, if the rate is high enough for that to
// be smooth.
func (r rates) step() int {
	burst := r.perSecond() * int64(burstTime) / int64(time.Second)
	return int(min(max(burst, peer.BlockSize), maxGather*peer.BlockSize))
}
