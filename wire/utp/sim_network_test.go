package utp

import (
	"math/rand/v2"
	"time"
)

// A network carries datagrams over links under a virtual clock. All chance comes from one seed, so every run with the
// same seed is the same run.
type network struct {
	now    time.Duration // since the world began; hosts' own clocks differ from it
	rng    *rand.Rand
	events []event // a binary heap
	order  uint64
	spare  [][]byte
}

// An event is a function to run or a datagram that comes out of a link.
type event struct {
	at    time.Duration
	order uint64 // equal times happen in the order in which they were planned
	do    func()
	data  *datagram
}

type datagram struct {
	data     []byte
	size     int     // IP bytes
	fragment bool    // it may be fragmented
	pieces   int     // more than 1: fragments that it was cut into
	route    []*link // that are still ahead
	to       interface{ arrive(data []byte) }
}

// headers are IPv4's 20 bytes and UDP's 8.
const (
	ipHeader = 20
	headers  = ipHeader + 8
)

func newNetwork(seed uint64) *network {
	return &network{rng: rand.New(rand.NewPCG(seed, 0x75747020))}
}

// after runs do once, d from now.
func (n *network) after(d time.Duration, do func()) {
	n.plan(event{at: n.now + max(d, 0), do: do})
}

// every runs do each d until the network is no longer run.
func (n *network) every(d time.Duration, do func()) {
	n.after(d, func() {
		do()
		n.every(d, do)
	})
}

// run lets d pass.
func (n *network) run(d time.Duration) {
	n.runUntil(d, func() bool { return false })
}

// runUntil lets time pass until done, which is asked after every event, or for d. It says whether done came true.
func (n *network) runUntil(d time.Duration, done func() bool) bool {
	end := n.now + d
	for len(n.events) > 0 && n.events[0].at <= end {
		e := n.next()
		n.now = e.at
		if e.do != nil {
			e.do()
		} else {
			n.forward(e.data)
		}
		if done() {
			return true
		}
	}
	n.now = end
	return done()
}

// send puts a copy of the datagram on its way.
func (n *network) send(d datagram) {
	d.data = n.copyOf(d.data)
	n.forward(&d)
}

func (n *network) forward(d *datagram) {
	if len(d.route) > 0 {
		l := d.route[0]
		d.route = d.route[1:]
		l.carry(n, d)
		return
	}
	d.to.arrive(d.data)
	n.spare = append(n.spare, d.data)
}

func (n *network) copyOf(data []byte) []byte {
	var b []byte
	if k := len(n.spare); k > 0 {
		b, n.spare = n.spare[k-1], n.spare[:k-1]
	}
	return append(b[:0], data...)
}

func (n *network) plan(e event) {
	e.order = n.order
	n.order++
	h := append(n.events, e)
	i := len(h) - 1
	for i > 0 {
		parent := (i - 1) / 2
		if !h[i].before(&h[parent]) {
			break
		}
		h[i], h[parent] = h[parent], h[i]
		i = parent
	}
	n.events = h
}

func (n *network) next() event {
	h := n.events
	first := h[0]
	last := len(h) - 1
	h[0], h[last] = h[last], event{}
	h = h[:last]
	for i := 0; ; {
		child := 2*i + 1
		if child >= last {
			break
		}
		if child+1 < last && h[child+1].before(&h[child]) {
			child++
		}
		if !h[child].before(&h[i]) {
			break
		}
		h[i], h[child] = h[child], h[i]
		i = child
	}
	n.events = h
	return first
}

func (e *event) before(f *event) bool {
	return e.at < f.at || e.at == f.at && e.order < f.order
}

// A link is one direction of a cable with the drop-tail queue before it. The zero link is perfect.
type link struct {
	rate    float64       // bytes a second; 0: without limit
	delay   time.Duration // that every datagram takes
	jitter  time.Duration // up to this much more, by chance, without overtaking
	late    time.Duration // how much later than that a reordered one comes, at most
	queue   int           // bytes that may wait, 0: without limit; what finds no room is dropped
	mtu     int           // largest IP packet, 0: without limit; larger ones are cut into fragments or vanish as in a black hole
	loss    float64       // shares of the packets, so also of fragments, that …
	twice   float64
	reorder float64
	lose    func(data []byte) bool // loses what it says; nil: nothing

	free     time.Duration // when the queue will have drained
	latest   time.Duration // when the last datagram that kept its place comes out
	carried  int64         // IP bytes
	dropped  int           // for want of room
	tooLarge int
}

// waiting is how long a datagram that came now would wait for those before it.
func (l *link) waiting(now time.Duration) time.Duration {
	return max(0, l.free-now)
}

func (l *link) carry(n *network, d *datagram) {
	pieces := max(d.pieces, 1)
	if l.mtu > 0 && d.size > l.mtu {
		if !d.fragment {
			l.tooLarge++
			return
		}
		each := (l.mtu - ipHeader) / 8 * 8
		pieces = max(pieces, (d.size-ipHeader+each-1)/each)
	}
	d.pieces = pieces
	size := d.size + (pieces-1)*ipHeader
	if l.lose != nil && l.lose(d.data) {
		return
	}
	for range pieces { // all of which must arrive
		if l.loss > 0 && n.rng.Float64() < l.loss {
			return
		}
	}
	out := n.now
	if l.rate > 0 {
		wait := l.waiting(n.now)
		if l.queue > 0 && wait.Seconds()*l.rate+float64(size) > float64(l.queue) {
			l.dropped++
			return
		}
		l.free = n.now + wait + time.Duration(float64(size)/l.rate*1e9)
		out = l.free
	}
	l.carried += int64(size)
	out += l.delay
	if l.jitter > 0 {
		out += n.upTo(l.jitter)
	}
	var late time.Duration
	for range pieces { // the last of which counts
		if l.reorder > 0 && n.rng.Float64() < l.reorder {
			late = max(late, 1+n.upTo(l.late))
		}
	}
	if late > 0 {
		out += late
	} else {
		out = max(out, l.latest)
		l.latest = out
	}
	n.plan(event{at: out, data: d})
	if l.twice > 0 && n.rng.Float64() < l.twice {
		again := *d
		again.data = n.copyOf(d.data)
		n.plan(event{at: out + n.upTo(l.late+1), data: &again})
	}
}

// upTo is a random time below d.
func (n *network) upTo(d time.Duration) time.Duration {
	return time.Duration(n.rng.Int64N(int64(d)))
}
