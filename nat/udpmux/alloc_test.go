package udpmux

import (
	"net"
	"testing"
	"time"
)

// The reading loop's steps, called by the test as Run calls them.
func TestNothingIsAllocatedPerPacket(t *testing.T) {
	for name, c := range map[string]struct{ sending, receiving []func(kernel) kernel }{
		"GSO and GRO": {},
		"one by one":  {[]func(kernel) kernel{withoutSegments(95)}, []func(kernel) kernel{withoutGRO}},
	} {
		a, b := open(t, "udp", ":0", Config{}, c.sending...), open(t, "udp", ":0", Config{}, c.receiving...)
		got := 0
		b.Handle(UTP, func(_ time.Time, runs []Run) {
			for _, r := range runs {
				got += r.Len()
			}
		})
		batch, d := newBatch(b), newDispatcher(b, maxRuns)
		data := numbered(40, 1400, 700)
		for _, ip := range []string{"127.0.0.1", "::1"} {
			to := at(b, ip)
			allocs := testing.AllocsPerRun(200, func() {
				if err := a.Send(to, data, 1400); err != nil {
					t.Fatal(err)
				}
				for got = 0; got < 40; {
					runs, err := batch.read()
					if err != nil {
						t.Fatal(err)
					}
					d.dispatch(time.Now(), runs)
				}
			})
			if allocs > 0 {
				t.Errorf("%s to %s: %v allocations for 40 packets", name, ip, allocs)
			}
		}
	}
}

func TestPacketConnAllocatesNothingPerPacket(t *testing.T) {
	a, b := open(t, "udp", "127.0.0.1:0", Config{}), open(t, "udp", ":0", Config{})
	if err := b.Routes().SetControl(at(a, "127.0.0.1")); err != nil {
		t.Fatal(err)
	}
	from, to := a.PacketConn(QUIC), b.PacketConn(QUIC)
	batch, d := newBatch(b), newDispatcher(b, maxRuns)
	addr := net.UDPAddrFromAddrPort(at(b, "127.0.0.1"))
	packet, buf := make([]byte, 1280), make([]byte, 1500)
	packet[0] = 0x40
	allocs := testing.AllocsPerRun(500, func() {
		if _, err := from.WriteTo(packet, addr); err != nil {
			t.Fatal(err)
		}
		runs, err := batch.read()
		if err != nil {
			t.Fatal(err)
		}
		d.dispatch(time.Now(), runs)
		if n, _, err := to.ReadFrom(buf); n != 1280 || err != nil {
			t.Fatal(n, err)
		}
	})
	if allocs > 0 {
		t.Errorf("%v allocations a packet", allocs)
	}
}

func TestClassifyAllocatesNothing(t *testing.T) {
	r := agentRoutes(t)
	all := samples()
	allocs := testing.AllocsPerRun(100, func() {
		for _, s := range all {
			r.Classify(loopback, s.bytes)
			r.Classify(bothAddr, s.bytes)
		}
	})
	if allocs > 0 {
		t.Errorf("%v allocations", allocs)
	}
}
