package utp

import (
	"testing"
	"time"
)

// epoch is when every world begins.
var epoch = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// A host has one connection's core and drives it as the endpoint does: it hands over what arrived together, lets the
// application read and write, and polls until there is nothing to send.
type host struct {
	t      *testing.T
	n      *network
	core   *core
	door   door // until there is a core
	config coreConfig
	app    interface{ turn(h *host) } // nil: nobody reads or writes
	out    []*link
	peer   *host

	offset time.Duration // what its clock is ahead of the world's
	drift  float64       // how much faster its clock goes: 50e-6 is 50 ppm
	batch  time.Duration // how long datagrams gather before they are looked at
	device int           // largest IP packet that its own interface takes, 0: without limit
	gone   bool          // its cable was cut

	wakeAt     time.Duration // of the earliest planned wake-up; 0: none
	turning    bool          // a turn is planned
	turns      int           // in the millisecond that began at
	since      time.Duration
	scratch    []byte
	datagrams  int // sent
	woken      int // times that its wake-up was due
	fragmented int // datagrams sent that might be fragmented
}

// A pair is two hosts with a link each way: the initiator is a.
type pair struct {
	n        *network
	a, b     *host
	forth    *link // a to b
	back     *link
	forthAll []*link
}

// newPair plans a connection from a to b; it begins when the network runs.
func newPair(t *testing.T, n *network, forth, back []*link, ac, bc coreConfig) *pair {
	a := &host{t: t, n: n, out: forth, config: ac}
	b := &host{t: t, n: n, out: back, config: bc}
	a.peer, b.peer = b, a
	return &pair{n: n, a: a, b: b, forth: forth[len(forth)-1], back: back[len(back)-1], forthAll: forth}
}

// dial begins the connection.
func (p *pair) dial() {
	p.a.core = newInitiator(p.a.time(), p.a.config)
	p.a.poke()
}

// time is what the host's own clock shows.
func (h *host) time() time.Time {
	return epoch.Add(h.offset + h.n.now + time.Duration(float64(h.n.now)*h.drift))
}

// world is when the host's clock will show at.
func (h *host) world(at time.Time) time.Duration {
	return time.Duration(float64(at.Sub(epoch)-h.offset) / (1 + h.drift))
}

func (h *host) arrive(data []byte) {
	if h.gone {
		return
	}
	p, err := parsePacket(data)
	if err != nil {
		h.t.Fatalf("our own packet %x cannot be read: %v", data, err)
	}
	switch {
	case h.core == nil:
		var answer []byte
		if h.core, answer = h.door.knock(h.time(), &p, h.config); answer != nil {
			h.n.send(datagram{data: answer, size: len(answer) + headers, route: h.out, to: h.peer})
		}
	case h.core.done():
		return // the endpoint has forgotten it
	default:
		h.core.receive(h.time(), &p)
	}
	h.pokeIn(h.batch)
}

// poke lets the host have a turn now: to be called when its application did something.
func (h *host) poke() { h.pokeIn(0) }

func (h *host) pokeIn(d time.Duration) {
	if !h.turning {
		h.turning = true
		h.n.after(d, h.turn)
	}
}

func (h *host) turn() {
	h.turning = false
	if h.gone || h.core == nil {
		return
	}
	if h.n.now >= h.since+time.Millisecond {
		h.since, h.turns = h.n.now, 0
	}
	if h.turns++; h.turns > 1000 {
		h.t.Fatalf("a thousand turns in a millisecond at %v: wake is %v", h.n.now, h.world(h.core.wake()))
	}
	if h.app != nil {
		h.app.turn(h)
	}
	h.poll()
	h.sleep()
}

func (h *host) poll() {
	if h.scratch == nil {
		h.scratch = make([]byte, 0, 64<<10)
	}
	for range 1000 {
		out, segment, fragment := h.core.poll(h.time(), h.scratch)
		if len(out) == 0 {
			return
		}
		if segment <= 0 {
			h.t.Fatalf("poll gave %d bytes in segments of %d", len(out), segment)
		}
		tooLong := false
		for len(out) > 0 {
			d := out[:min(segment, len(out))]
			out = out[len(d):]
			h.datagrams++
			if fragment {
				h.fragmented++
			}
			if !fragment && h.device > 0 && len(d)+headers > h.device {
				tooLong = true
				continue
			}
			h.n.send(datagram{data: d, size: len(d) + headers, fragment: fragment, route: h.out, to: h.peer})
		}
		if tooLong {
			h.core.sendFailedTooLong(segment)
		}
	}
	h.t.Fatalf("poll has no end at %v", h.n.now)
}

// sleep plans the next wake-up. A planned one that turned out too early finds nothing to do and sleeps on.
func (h *host) sleep() {
	wake := h.core.wake()
	if wake.IsZero() || h.core.done() {
		return
	}
	at := max(h.world(wake), h.n.now)
	if h.wakeAt != 0 && h.wakeAt <= at {
		return
	}
	h.wakeAt = at + 1 // rounding must not wake it a nanosecond early
	h.n.after(h.wakeAt-h.n.now, func() {
		if h.wakeAt != h.n.now {
			return // an earlier one was planned later, and came
		}
		h.wakeAt = 0
		if wake := h.core.wake(); !wake.IsZero() && !wake.After(h.time()) {
			h.woken++
			h.turn()
		} else {
			h.sleep()
		}
	})
}
