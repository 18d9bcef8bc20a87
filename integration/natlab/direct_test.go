//go:build linux

package natlab_test

import (
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"simplebit/integration/natlab"
)

func TestADirectCableIsTheOnlyWayOfItsHosts(t *testing.T) {
	natlab.Require(t)
	lab, err := natlab.New(natlab.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer lab.Close()
	var hosts [3]*natlab.Host
	for i, name := range []string{"a", "b", "c"} {
		if hosts[i], err = lab.Host(name); err != nil {
			t.Fatal(err)
		}
	}
	if err := lab.Direct(hosts[0], hosts[1]); err != nil {
		t.Fatal(err)
	}
	const size = 1 << 20
	send := func(from, to *natlab.Host, addr netip.Addr) error {
		ln, err := to.Listen("tcp", ":0")
		if err != nil {
			return err
		}
		defer ln.Close()
		go func() {
			if c, err := ln.Accept(); err == nil {
				io.Copy(io.Discard, c)
				c.Close()
			}
		}()
		port := uint16(ln.Addr().(*net.TCPAddr).Port)
		c, err := from.DialContext(t.Context(), "tcp", netip.AddrPortFrom(addr, port).String())
		if err != nil {
			return err
		}
		defer c.Close()
		if _, err := c.Write(make([]byte, size)); err != nil {
			return err
		}
		c.(*net.TCPConn).CloseWrite()
		c.SetDeadline(time.Now().Add(patience))
		_, err = io.Copy(io.Discard, c)
		return err
	}
	for _, err := range []error{
		send(hosts[0], hosts[1], hosts[1].Addr()), send(hosts[1], hosts[0], hosts[0].Addr6()),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if n, err := hosts[0].Counters(); err != nil || n.TxBytes < size || n.RxBytes < size {
		t.Errorf("the cable carried %+v (%v), want %d bytes each way", n, err, size)
	}
	if err := send(hosts[0], hosts[2], hosts[2].Addr()); err == nil {
		t.Error("a host with a direct cable reaches another of its lab")
	}
}

func TestANarrowLinkHoldsPacketsAsLongAsItsQueueIs(t *testing.T) {
	natlab.Require(t)
	lab, err := natlab.New(natlab.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer lab.Close()
	from, err := lab.Host("from")
	if err != nil {
		t.Fatal(err)
	}
	to, err := lab.Host("to")
	if err != nil {
		t.Fatal(err)
	}
	const rate, queue = 1 << 20, 200 * time.Millisecond
	if err := to.Narrow(rate, queue); err != nil {
		t.Fatal(err)
	}
	pc, err := to.ListenPacket("udp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	defer pc.Close()
	port := uint16(pc.LocalAddr().(*net.UDPAddr).Port)
	c, err := from.DialContext(t.Context(), "udp", netip.AddrPortFrom(to.Addr(), port).String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	// Others may be using the machine: one of a few bursts has to come in time.
	var last []time.Duration
	for first := time.Now(); len(last) == 0 || time.Since(first) < patience; {
		last = append(last, burst(t, c, pc, 2*rate/5)) // twice what the queue holds
		if took := last[len(last)-1]; took < queue*9/10 {
			break
		} else if took <= queue*13/10 {
			return
		}
	}
	t.Errorf("the last packets of bursts came after %v, want about %v", last, queue)
}

// burst sends so many bytes at once, and returns how long after that the last of them came that did not get lost.
func burst(t *testing.T, from net.Conn, to net.PacketConn, size int) (last time.Duration) {
	t.Helper()
	began := time.Now()
	packet := make([]byte, 1000)
	for sent := 0; sent < size; sent += len(packet) {
		if _, err := from.Write(packet); err != nil {
			t.Fatal(err)
		}
	}
	to.SetReadDeadline(began.Add(time.Second))
	for {
		if _, _, err := to.ReadFrom(packet); err != nil {
			return last
		}
		last = time.Since(began)
	}
}
