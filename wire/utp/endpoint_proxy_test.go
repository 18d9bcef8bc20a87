package utp

import (
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
)

// proxy stands between endpoints as a NAT does: whoever calls it gets a socket of his own, from which his datagrams go to
// the target. It loses some.
type proxy struct {
	t      testing.TB
	front  *net.UDPConn
	target netip.AddrPort
	loss   float64
	closed atomic.Bool
	lost   atomic.Int64
	wg     sync.WaitGroup

	mu    sync.Mutex
	backs map[netip.AddrPort]*net.UDPConn
}

// newProxy runs a proxy until the test ends. It loses this share of the datagrams each way.
func newProxy(t testing.TB, to *Endpoint, loss float64) *proxy {
	p := &proxy{
		t: t, front: listenUDP(t, "127.0.0.1"), loss: loss,
		target: to.Addr().(*net.UDPAddr).AddrPort(), backs: make(map[netip.AddrPort]*net.UDPConn),
	}
	p.wg.Go(p.forth)
	t.Cleanup(func() {
		p.cut()
		_ = p.front.Close()
		p.mu.Lock()
		for _, b := range p.backs {
			_ = b.Close()
		}
		p.mu.Unlock()
		p.wg.Wait()
	})
	return p
}

// String is the address to call.
func (p *proxy) String() string { return p.front.LocalAddr().String() }

// cut loses everything from now on.
func (p *proxy) cut() { p.closed.Store(true) }

func (p *proxy) lose() bool {
	if p.closed.Load() || rand.Float64() < p.loss {
		p.lost.Add(1)
		return true
	}
	return false
}

func (p *proxy) forth() {
	buf := make([]byte, 2048)
	for {
		n, from, err := p.front.ReadFromUDPAddrPort(buf)
		if err != nil {
			return
		}
		if back := p.back(from); back != nil && !p.lose() {
			_, _ = back.WriteToUDPAddrPort(buf[:n], p.target)
		}
	}
}

func (p *proxy) back(from netip.AddrPort) *net.UDPConn {
	p.mu.Lock()
	defer p.mu.Unlock()
	if b := p.backs[from]; b != nil || p.closed.Load() {
		return b
	}
	b, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		p.t.Error(err)
		return nil
	}
	p.backs[from] = b
	p.wg.Go(func() {
		buf := make([]byte, 2048)
		for {
			n, _, err := b.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			if !p.lose() {
				_, _ = p.front.WriteToUDPAddrPort(buf[:n], from)
			}
		}
	})
	return b
}

func TestPeerBehindNATIsAPeerLikeOthers(t *testing.T) {
	from, to := newEndpoint(t, Config{}), newEndpoint(t, Config{})
	p := newProxy(t, to, 0)
	a, b := dialBetween(t, from, to, p.String())
	if outside := b.RemoteAddr().String(); outside == from.Addr().String() {
		t.Fatalf("the call came from %s itself, without the NAT", outside)
	}
	c, d := dialBetween(t, from, to, p.String()) // a second one through the same mapping
	if b.RemoteAddr().String() != d.RemoteAddr().String() {
		t.Errorf("calls came from %s and %s", b.RemoteAddr(), d.RemoteAddr())
	}
	var wg sync.WaitGroup
	wg.Go(func() { exchange(t, a, b, 2<<20) })
	wg.Go(func() { exchange(t, c, d, 2<<20) })
	wg.Wait()
}

func TestManyBytesArriveIntactWhereDatagramsAreLost(t *testing.T) {
	from, to := newEndpoint(t, Config{}), newEndpoint(t, Config{})
	p := newProxy(t, to, 0.05)
	a, b := dialBetween(t, from, to, p.String())
	exchange(t, a, b, 2<<20)
	if p.lost.Load() == 0 {
		t.Error("nothing was lost")
	}
}
