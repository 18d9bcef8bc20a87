package udpmux

import (
	"bytes"
	"context"
	"errors"
	"net"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

func ptr(p *byte) unsafe.Pointer { return unsafe.Pointer(p) }

// failing makes the calls with these numbers, from 1, fail.
func failing(errs map[int]syscall.Errno) func(kernel) kernel {
	return func(k kernel) kernel {
		calls := 0
		k.recvmmsg = func(fd uintptr, m []mmsghdr) (int, syscall.Errno) {
			if calls++; errs[calls] != 0 {
				return 0, errs[calls]
			}
			return linux.recvmmsg(fd, m)
		}
		return k
	}
}

func TestErrorsOfICMPAreNotTheReaders(t *testing.T) {
	a := open(t, "udp", ":0", Config{})
	b := open(t, "udp", ":0", Config{}, failing(map[int]syscall.Errno{
		1: unix.ECONNREFUSED, 2: unix.EHOSTUNREACH, 3: unix.EINTR, 4: unix.EMSGSIZE, 5: unix.ENOMEM,
	}))
	got := make(chan int, 100)
	b.Handle(UTP, func(_ time.Time, runs []Run) { got <- len(runs) })
	run(t, b)
	a.Send(at(b, "127.0.0.1"), utpPacket(0, 0, 0), 0)
	if n := <-got; n != 1 {
		t.Errorf("%d runs", n)
	}
}

// The kernel keeps what ICMP says from a socket that has not asked for it and is not connected: neither who reads nor who sends
// is told, and a flood of it wakes nobody.
func TestAFloodOfICMPIsNothingToASocket(t *testing.T) {
	for _, network := range []string{"udp", "udp4", "udp6"} {
		ip := map[string]string{"udp": "127.0.0.1", "udp4": "127.0.0.1", "udp6": "::1"}[network]
		var calls, failures atomic.Int32
		s := open(t, network, ":0", Config{}, func(k kernel) kernel {
			k.recvmmsg = func(fd uintptr, m []mmsghdr) (int, syscall.Errno) {
				calls.Add(1)
				n, errno := linux.recvmmsg(fd, m)
				if errno != 0 && errno != unix.EAGAIN {
					failures.Add(1)
				}
				return n, errno
			}
			return k
		})
		got := make(chan int, 100)
		s.Handle(UTP, func(_ time.Time, runs []Run) { got <- len(runs) })
		run(t, s)
		gone := open(t, network, ":0", Config{})
		nobody := at(gone, ip)
		told, err := net.Dial(network, nobody.String()) // before its own port can be that one
		if err != nil {
			t.Fatal(err)
		}
		gone.Close()
		told.Write([]byte{1})
		told.SetReadDeadline(time.Now().Add(patience))
		if _, err := told.Read(make([]byte, 1)); !errors.Is(err, unix.ECONNREFUSED) {
			t.Errorf("%s: %v, so there is no ICMP", network, err)
		}
		told.Close()
		for range 1000 {
			if err := s.Send(nobody, utpPacket(0, 0, 0), 0); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Send(at(s, ip), utpPacket(0, 0, 0), 0); err != nil {
			t.Fatal(err)
		}
		if n := <-got; n != 1 || calls.Load() > 10 || failures.Load() > 0 {
			t.Errorf("%s: %d runs after %d calls, of which %d failed", network, n, calls.Load(), failures.Load())
		}
	}
}

func TestBrokenSocketEndsTheLoop(t *testing.T) {
	s := open(t, "udp", ":0", Config{}, withoutBatches(unix.EFAULT))
	if err := s.Run(t.Context()); !errors.Is(err, unix.EFAULT) || strings.Contains(err.Error(), "\n") {
		t.Errorf("got %v", err)
	}
}

func TestRunEndsWithItsContextOrTheSocket(t *testing.T) {
	for name, lacking := range map[string][]func(kernel) kernel{"recvmmsg": nil, "single": {withoutBatches(unix.ENOSYS)}} {
		s := open(t, "udp", ":0", Config{}, lacking...)
		ctx, cancel := context.WithCancel(t.Context())
		pc := s.PacketConn(QUIC)
		done := make(chan error, 1)
		go func() { done <- s.Run(ctx) }()
		cancel()
		if err := <-done; err != nil {
			t.Errorf("%s: after its context ended: %v", name, err)
		}
		if _, _, err := pc.ReadFrom(nil); !errors.Is(err, net.ErrClosed) {
			t.Errorf("%s: nobody feeds the PacketConn, and it says %v", name, err)
		}
		if _, err := pc.WriteTo([]byte("farewell"), s.LocalAddr()); err != nil {
			t.Errorf("%s: no farewell can be said: %v", name, err)
		}

		s = open(t, "udp", ":0", Config{}, lacking...)
		go func() { done <- s.Run(t.Context()) }()
		s.Close()
		if err := <-done; !errors.Is(err, net.ErrClosed) {
			t.Errorf("%s: after Close: %v", name, err)
		}
	}
}

func TestDatagramsThatAreNotWholeAreDropped(t *testing.T) {
	s := open(t, "udp", ":0", Config{Memory: 8 << 10})
	b := newBatch(s)
	b.n = 4
	for i, m := range []struct {
		n      uint32
		flags  int32
		family uint16
	}{{100, unix.MSG_TRUNC, unix.AF_INET}, {100, unix.MSG_CTRUNC, unix.AF_INET}, {0, 0, unix.AF_INET}, {100, 0, unix.AF_UNIX}} {
		b.msgs[i].n, b.msgs[i].hdr.Flags, b.names[i].Family = m.n, m.flags, m.family
		b.msgs[i].hdr.SetControllen(0)
	}
	if runs := b.decode(); len(runs) != 0 || s.Stats().Cut != 2 || s.Stats().Received[Drop] != 2 {
		t.Errorf("%d runs, %+v", len(runs), s.Stats())
	}
}

func TestSegmentSizeIsFoundAmongControlMessages(t *testing.T) {
	message := func(level, kind int32, data ...byte) []byte {
		b := make([]byte, unix.CmsgSpace(len(data)))
		h := (*unix.Cmsghdr)(ptr(&b[0]))
		h.Level, h.Type = level, kind
		h.SetLen(unix.CmsgLen(len(data)))
		copy(b[unix.CmsgLen(0):], data)
		return b
	}
	size := (*[4]byte)(unsafe.Pointer(new(int32(1400))))[:]
	gro := message(unix.SOL_UDP, unix.UDP_GRO, size...)
	ttl := message(unix.IPPROTO_IP, unix.IP_TTL, 64, 0, 0, 0)
	for name, c := range map[string]struct {
		control []byte
		want    int
	}{
		"alone":  {gro, 1400},
		"after":  {append(bytes.Clone(ttl), gro...), 1400},
		"absent": {ttl, 0},
		"none":   {nil, 0},
		"cut":    {gro[:unix.CmsgLen(0)-1], 0},
		"short":  {message(unix.SOL_UDP, unix.UDP_GRO, 1, 2), 0},
		"lying":  {append([]byte{1, 0, 0, 0}, gro[4:]...), 0},
	} {
		if got := segmentSize(c.control); got != c.want {
			t.Errorf("%s: %d, not %d", name, got, c.want)
		}
	}
}
