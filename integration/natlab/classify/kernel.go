//go:build linux

package classify

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"simplebit/integration/natlab"
)

// KernelConfig says where in a lab to classify.
type KernelConfig struct {
	Device  *natlab.Host
	Servers [2]*natlab.Host // on the internet
	Next    *natlab.Host    // in another home behind the same carrier; nil: none
	Outside netip.Addr      // of the home's router, if it translates
	Gateway netip.Addr      // of the home's router, in the home
	IPv6    bool            // is what is classified
	Port    uint16          // the first of the servers' two
}

// Kernel is the World of a device in a lab.
type Kernel struct {
	c       KernelConfig
	local   netip.Addr
	conns   [servers]*net.UDPConn
	answers sync.WaitGroup
}

// NewKernel starts the servers, which Close ends.
func NewKernel(c KernelConfig) (*Kernel, error) {
	if c.IPv6 {
		c.Next, c.Outside, c.Gateway = nil, netip.Addr{}, netip.Addr{}
	}
	w := &Kernel{c: c, local: c.Device.Addr()}
	if c.IPv6 {
		w.local = c.Device.Addr6()
	}
	for i := range w.conns {
		addr := c.Servers[i/2].Addr()
		if c.IPv6 {
			addr = c.Servers[i/2].Addr6()
		}
		pc, err := c.Servers[i/2].ListenPacket("udp", netip.AddrPortFrom(addr, c.Port+uint16(i%2)).String())
		if err != nil {
			return nil, errors.Join(err, w.Close())
		}
		w.conns[i] = pc.(*net.UDPConn)
	}
	for _, c := range w.conns {
		w.answers.Go(func() { w.answer(c) })
	}
	return w, nil
}

// answer is a server, until its socket is closed.
func (w *Kernel) answer(c *net.UDPConn) {
	b := make([]byte, maxDatagram)
	for {
		n, from, err := c.ReadFromUDPAddrPort(b)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue // an ICMP message about something that was sent
		}
		if answer, by, to, ok := respond(from, b[:n]); ok {
			// Who gets no answer asks again.
			_, _ = w.conns[by].WriteToUDPAddrPort(answer, to)
		}
	}
}

// Close ends the servers.
func (w *Kernel) Close() (err error) {
	for _, c := range w.conns {
		if c != nil {
			err = errors.Join(err, c.Close())
		}
	}
	w.answers.Wait()
	return err
}

// Servers implements World.
func (w *Kernel) Servers() (at [servers]netip.AddrPort) {
	for i, c := range w.conns {
		at[i] = local(c)
	}
	return at
}

// Outside implements World.
func (w *Kernel) Outside() netip.Addr { return w.c.Outside }

// Gateway implements World.
func (w *Kernel) Gateway() netip.Addr { return w.c.Gateway }

// Open implements World.
func (w *Kernel) Open() (Socket, error) { return openOn(w.c.Device, w.local) }

// OpenNext implements World.
func (w *Kernel) OpenNext() (Socket, error) {
	if w.c.Next == nil {
		return nil, nil
	}
	return openOn(w.c.Next, w.c.Next.Addr())
}

func openOn(h *natlab.Host, addr netip.Addr) (Socket, error) {
	pc, err := h.ListenPacket("udp", netip.AddrPortFrom(addr, 0).String())
	if err != nil {
		return nil, err
	}
	return kernelSocket{pc.(*net.UDPConn)}, nil
}

// Sleep implements World.
func (w *Kernel) Sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}

type kernelSocket struct{ *net.UDPConn }

func (s kernelSocket) Local() netip.AddrPort { return local(s.UDPConn) }

func (s kernelSocket) Send(to netip.AddrPort, b []byte) error {
	_, err := s.WriteToUDPAddrPort(b, to)
	return err
}

func (s kernelSocket) Receive(ctx context.Context, wait time.Duration) (from netip.AddrPort, b []byte, ok bool, err error) {
	if err := context.Cause(ctx); err != nil {
		return from, nil, false, err
	}
	if err := s.SetReadDeadline(time.Now().Add(wait)); err != nil {
		return from, nil, false, err
	}
	b = make([]byte, maxDatagram)
	n, from, err := s.ReadFromUDPAddrPort(b)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return from, nil, false, nil
	}
	return from, b[:n], err == nil, err
}

// local is a socket's own address.
func local(c *net.UDPConn) netip.AddrPort {
	a := c.LocalAddr().(*net.UDPAddr).AddrPort()
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}
