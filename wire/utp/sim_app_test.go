package utp

import (
	"bytes"
	"math/rand/v2"
	"testing"
	"time"
)

// pattern is what applications send, over and over: random bytes of a prime length, twice, so that a byte at a wrong
// place shows and any 64 KiB of the stream are one slice.
var pattern = func() []byte {
	b := make([]byte, patternSize)
	rng := rand.NewChaCha8([32]byte{1})
	rng.Read(b)
	return append(b, b...)
}()

const patternSize = 65521

// streamAt is a stretch of the stream that begins at pos, at most patternSize long.
func streamAt(pos int64, length int) []byte {
	from := int(pos % patternSize)
	return pattern[from : from+min(length, patternSize)]
}

// A bulk application writes what there is to write, as soon as there is room, and reads whatever comes.
type bulk struct {
	send  int64 // bytes to write in all
	close bool  // and then close for writing
	deaf  bool  // does not read at present
	sent  int64
	got   int64
	eof   bool
	last  time.Duration // when it last read something
	pause time.Duration // the longest time between two reads since it was last set to 0
}

// forever is more than any test sends.
const forever = 1 << 50

func (a *bulk) turn(h *host) {
	a.write(h, forever)
	if !a.deaf {
		a.read(h, forever)
	}
}

func (a *bulk) write(h *host, limit int64) {
	for limit > 0 && a.sent < a.send {
		b := streamAt(a.sent, int(min(a.send-a.sent, limit, patternSize)))
		n := h.core.write(b)
		if n == 0 {
			return
		}
		a.sent += int64(n)
		limit -= int64(n)
	}
	if a.close && a.sent == a.send {
		h.core.closeWrite()
	}
}

func (a *bulk) read(h *host, limit int64) {
	var buffer [8 << 10]byte
	for limit > 0 {
		n := h.core.read(buffer[:min(int64(len(buffer)), limit)])
		if n == 0 {
			break
		}
		if !bytes.Equal(buffer[:n], streamAt(a.got, n)) {
			h.t.Fatalf("at %v the stream is not what was written, somewhere from byte %d to %d", h.n.now, a.got, a.got+int64(n))
		}
		a.got += int64(n)
		limit -= int64(n)
		a.pause = max(a.pause, h.n.now-a.last)
		a.last = h.n.now
	}
	a.eof = a.eof || h.core.eof()
}

// A talker writes and reads random amounts at random times.
type talker struct {
	bulk
	chunk int           // at most as much at once
	gap   time.Duration // at most as long between two acts
}

// turn does nothing: a talker acts when it wants to.
func (a *talker) turn(*host) {}

// talk begins to act, for good.
func (a *talker) talk(h *host) {
	rng := h.n.rng
	h.n.after(time.Duration(rng.Int64N(int64(a.gap))), func() {
		if h.core != nil {
			if rng.IntN(3) > 0 {
				a.write(h, 1+rng.Int64N(int64(a.chunk)))
				if rng.IntN(4) == 0 {
					h.core.endPacket()
				}
			}
			if rng.IntN(3) > 0 {
				a.read(h, 1+rng.Int64N(int64(a.chunk)))
			}
			h.poke()
		}
		if !a.eof || a.sent < a.send {
			a.talk(h)
		}
	})
}

// A line is how most tests name a bottleneck: a link each way with the same rate and delay, the queue only forth.
type line struct {
	rate  float64       // bits a second
	rtt   time.Duration // without queues
	queue time.Duration // that the bottleneck's buffer holds at its rate
	loss  float64       // forth
}

func (l line) links() (forth, back *link) {
	bytes := l.rate / 8
	forth = &link{rate: bytes, delay: l.rtt / 2, queue: int(bytes * l.queue.Seconds()), loss: l.loss}
	return forth, &link{rate: bytes, delay: l.rtt - l.rtt/2}
}

// transfer is a bulk transfer from a to b over the links; what it sends has no end.
func transfer(t *testing.T, n *network, forth, back *link) (p *pair, from, to *bulk) {
	p = newPair(t, n, []*link{forth}, []*link{back}, coreConfig{Seq: 1, RecvID: 7}, coreConfig{Seq: 1000})
	from, to = &bulk{send: forever}, &bulk{}
	p.a.app, p.b.app = from, to
	p.dial()
	return p, from, to
}

// goodput is how many bytes a second r reads while d passes.
func goodput(n *network, r *bulk, d time.Duration) float64 {
	before := r.got
	n.run(d)
	return float64(r.got-before) / d.Seconds()
}
