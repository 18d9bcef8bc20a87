package utp

import (
	"encoding/binary"
	"math"
	"testing"
	"time"
)

// A tcpFlow is a bulk sender that behaves like TCP: slow start, CUBIC with Reno's growth as its least (RFC 9438), loss
// found as RACK does, by three later segments that came (RFC 8985 with every segment acknowledged by name, as perfect
// SACK would), one reduction per round trip, and a timeout. It knows nothing of delay and so fills any queue.
type tcpFlow struct {
	n          *network
	forth      []*link
	back       []*link
	next       uint64            // the next new segment
	flying     map[uint64]flight // by the order in which they were sent
	sends      uint64            // segments sent, resent ones too
	oldest     uint64            // no earlier one is in flight
	resend     []uint64          // segments found lost
	came       map[uint64]bool   // at the receiver, above edge
	edge       uint64            // all segments below came
	window     float64           // segments
	threshold  float64           // of slow start
	most       float64           // the window at the last reduction
	reduced    time.Duration     // when that was
	mark       uint64            // sends when it was: earlier losses are the same event
	srtt, dev  time.Duration
	timer      uint64 // counts up; an older timeout does nothing
	stopped    bool
	reductions int
}

type flight struct {
	segment uint64
	sent    time.Duration
}

const tcpSegment = 1460 // bytes of stream in an IP packet of 1500

// tcpReceiver and tcpSender are the two ends at which a tcpFlow's packets arrive.
type (
	tcpReceiver struct{ *tcpFlow }
	tcpSender   struct{ *tcpFlow }
)

func newTCPFlow(n *network, forth, back *link) *tcpFlow {
	f := &tcpFlow{n: n, forth: []*link{forth}, back: []*link{back}, window: 10, threshold: math.Inf(1),
		flying: map[uint64]flight{}, came: map[uint64]bool{}}
	f.fill()
	return f
}

// got is how many bytes came in order.
func (f *tcpFlow) got() int64 { return int64(f.edge) * tcpSegment }

// stop ends the flow.
func (f *tcpFlow) stop() { f.stopped = true }

func (f *tcpFlow) fill() {
	for !f.stopped && float64(len(f.flying)) < f.window {
		segment := f.next
		if len(f.resend) > 0 {
			segment, f.resend = f.resend[0], f.resend[1:]
		} else {
			f.next++
		}
		f.flying[f.sends] = flight{segment, f.n.now}
		var b [16]byte
		binary.BigEndian.PutUint64(b[:], f.sends)
		binary.BigEndian.PutUint64(b[8:], segment)
		f.sends++
		f.n.send(datagram{data: b[:], size: 1500, route: f.forth, to: tcpReceiver{f}})
	}
	f.timer++
	mine := f.timer
	f.n.after(max(200*time.Millisecond, f.srtt+4*f.dev)+f.srtt, func() {
		if mine == f.timer && len(f.flying) > 0 {
			f.timeout()
		}
	})
}

func (r tcpReceiver) arrive(data []byte) {
	r.came[binary.BigEndian.Uint64(data[8:])] = true
	for r.came[r.edge] {
		delete(r.came, r.edge)
		r.edge++
	}
	r.n.send(datagram{data: data, size: 40, route: r.back, to: tcpSender(r)})
}

func (s tcpSender) arrive(data []byte) {
	sent := binary.BigEndian.Uint64(data)
	it, ok := s.flying[sent]
	if !ok {
		return // it was held lost and resent
	}
	delete(s.flying, sent)
	s.measure(s.n.now - it.sent)
	s.grow()
	for ; s.oldest+3 <= sent; s.oldest++ {
		if lost, ok := s.flying[s.oldest]; ok {
			delete(s.flying, s.oldest)
			s.resend = append(s.resend, lost.segment)
			if s.oldest >= s.mark {
				s.reduce()
			}
		}
	}
	s.fill()
}

func (f *tcpFlow) measure(rtt time.Duration) {
	if f.srtt == 0 {
		f.srtt, f.dev = rtt, rtt/2
		return
	}
	f.dev += ((f.srtt - rtt).Abs() - f.dev) / 4
	f.srtt += (rtt - f.srtt) / 8
}

// grow is what an acknowledged segment does to the window: RFC 9438 §4.2 and §4.3 with C = 0.4 and beta = 0.7.
func (f *tcpFlow) grow() {
	if f.window < f.threshold {
		f.window++
		return
	}
	const c, beta = 0.4, 0.7
	k := math.Cbrt(f.most * (1 - beta) / c)
	d := (f.n.now + f.srtt - f.reduced).Seconds() - k
	target := min(c*d*d*d+f.most, 1.5*f.window)
	reno := 3 * (1 - beta) / (1 + beta)
	f.window += max((target-f.window)/f.window, reno/f.window)
}

func (f *tcpFlow) reduce() {
	f.mark = f.sends
	f.reductions++
	f.reduced, f.most = f.n.now, f.window
	f.window = max(2, 0.7*f.window)
	f.threshold = f.window
}

func (f *tcpFlow) timeout() {
	for ; f.oldest < f.sends; f.oldest++ {
		if lost, ok := f.flying[f.oldest]; ok {
			delete(f.flying, f.oldest)
			f.resend = append(f.resend, lost.segment)
		}
	}
	f.reduce()
	f.window = 1
	f.fill()
}

// A bottleneck must be shared with something that TCP's users would recognise, so this is shown first.
func TestTCPLikeFlowFillsTheLineAndItsQueue(t *testing.T) {
	n := newNetwork(1)
	l := line{rate: 20e6, rtt: 20 * time.Millisecond, queue: 200 * time.Millisecond}
	forth, back := l.links()
	f := newTCPFlow(n, forth, back)
	n.run(10 * time.Second)
	before, reductions := f.got(), f.reductions
	var low, high time.Duration = time.Hour, 0
	n.every(time.Millisecond, func() {
		low, high = min(low, forth.waiting(n.now)), max(high, forth.waiting(n.now))
	})
	n.run(60 * time.Second)
	share := float64(f.got()-before) / 60 / (l.rate / 8 * tcpSegment / 1500)
	t.Logf("it got %.3f of the line; the queue was between %v and %v; %d reductions", share, low, high, f.reductions-reductions)
	// After a reduction to 0.7 of (20+200) ms worth of line 134 ms of queue remain: the line is never idle.
	if share < 0.99 {
		t.Errorf("alone it got %.3f of the line", share)
	}
	if low < 100*time.Millisecond || high < 190*time.Millisecond {
		t.Errorf("the queue of 200 ms was between %v and %v", low, high)
	}
	if f.reductions == reductions {
		t.Error("it never met the end of the queue")
	}
}
