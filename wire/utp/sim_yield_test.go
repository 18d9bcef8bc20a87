package utp

import (
	"testing"
	"time"
)

// A uTP flow that had the line to itself meets a TCP flow, which fills the queue of 200 ms and keeps it above 130 ms
// (shown beside tcpFlow). The uTP flow's window then shrinks by 3000·(q-100)/100 bytes in a round trip of at most 220 ms or faster,
// so on average by 2000 bytes, or 9 kB/s, from the 120 ms of line that it had: 150 kB at 10 Mbit/s are gone after 17 s
// without any loss; losses halve it on top. From then on it has the least window, one packet a round trip: 1452 bytes each
// 150 ms to 220 ms, or at most 0.9 % of the line; 3 % are allowed. TCP loses no more than this.
//
// When TCP has gone the queue drains and the window grows by 3000 bytes a round trip of 20 ms: it needs 25 kB to fill the
// line, so 8 round trips; 2 s are allowed.
func TestFlowYieldsToTCPAndTakesTheLineBack(t *testing.T) {
	n := newNetwork(1)
	l := line{rate: 10e6, rtt: 20 * time.Millisecond, queue: 200 * time.Millisecond}
	forth, back := l.links()
	all := l.rate / 8
	p, _, to := transfer(t, n, forth, back)
	n.run(20 * time.Second)
	alone := goodput(n, to, 10*time.Second) / (all * lineShare)

	tcp := newTCPFlow(n, forth, back)
	early := goodput(n, to, 20*time.Second) / (all * lineShare)
	before := tcp.got()
	beside := goodput(n, to, 40*time.Second) / (all * lineShare)
	tcpShare := float64(tcp.got()-before) / 40 / (all * tcpSegment / 1500)
	t.Logf("alone %.3f of the line, %.3f in TCP's first 20 s, then %.4f beside TCP's %.3f; %+v", alone, early, beside, tcpShare, p.a.core.stats())
	if alone < 0.98 {
		t.Errorf("alone the flow had %.3f of the line", alone)
	}
	if beside > 0.03 || tcpShare < 0.96 {
		t.Errorf("beside TCP, which had %.3f of the line, it had %.3f", tcpShare, beside)
	}
	if beside == 0 {
		t.Error("beside TCP it starved")
	}

	tcp.stop()
	n.run(2 * time.Second)
	again := goodput(n, to, 10*time.Second) / (all * lineShare)
	t.Logf("two seconds after TCP ended it had %.3f of the line; %+v", again, p.a.core.stats())
	if again < 0.98 {
		t.Errorf("after TCP it had only %.3f of the line", again)
	}
}
