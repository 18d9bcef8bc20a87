package session

import (
	"net"
	"net/netip"
	"sync"
	"testing"

	"simplebit/wire/control"
)

// router is what lies between a device and the surrogate: it passes datagrams on, each way, from a socket that is another one
// once it has moved.
type router struct {
	t     *testing.T
	inner *net.UDPConn // towards the device
	to    netip.AddrPort
	tasks sync.WaitGroup

	mu     sync.Mutex
	outer  *net.UDPConn // towards the surrogate
	device netip.AddrPort
}

func newRouter(t *testing.T, surrogate net.Addr) *router {
	r := &router{t: t, inner: listen(t), to: addrPort(surrogate)}
	r.move()
	r.tasks.Go(func() {
		relay(r.inner, func(from netip.AddrPort, b []byte) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.device = from
			r.outer.WriteToUDPAddrPort(b, r.to)
		})
	})
	t.Cleanup(func() {
		r.inner.Close()
		r.outer.Close()
		r.tasks.Wait()
	})
	return r
}

// move has the router at another address outside, and returns it.
func (r *router) move() netip.AddrPort {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.outer != nil {
		r.outer.Close()
	}
	outer := listen(r.t)
	r.outer = outer
	r.tasks.Go(func() {
		relay(outer, func(_ netip.AddrPort, b []byte) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.inner.WriteToUDPAddrPort(b, r.device)
		})
	})
	return addrPort(outer.LocalAddr())
}

func listen(t *testing.T) *net.UDPConn {
	t.Helper()
	c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// relay reads until the socket is closed.
func relay(c *net.UDPConn, pass func(from netip.AddrPort, b []byte)) {
	b := make([]byte, 2048)
	for {
		n, from, err := c.ReadFromUDPAddrPort(b)
		if err != nil {
			return
		}
		pass(from, b[:n])
	}
}

func TestADeviceIsToldThatItIsSeenElsewhere(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := newRouter(t, w.addr)
	first := addrPort(r.outer.LocalAddr())
	w.addr = r.inner.LocalAddr()
	key := newKey(t)
	d := w.connect(key, hello)
	if got := next[control.Welcome](d); got.Observed != first {
		t.Errorf("welcomed at %v, it is at %v", got.Observed, first)
	}
	if !event[bool](w) {
		t.Error("the device is said to be offline")
	}
	for range 2 {
		at := r.move()
		d.send(control.Synced{}) // QUIC notices the next datagram
		if got := next[control.Observed](d); got.Addr != at {
			t.Errorf("told that it is at %v, it is at %v", got.Addr, at)
		}
		if got, want := event[netip.AddrPort](w), netip.AddrPortFrom(at.Addr(), hello.Port); got != want {
			t.Errorf("it accepts peers at %v, want %v", got, want)
		}
		if _, shown, _ := w.hub.Status(idOf(key)); shown != at {
			t.Errorf("shown at %v, it is at %v", shown, at)
		}
	}
}
