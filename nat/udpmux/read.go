package udpmux

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	groBuffer   = 64 << 10 // a run is never longer: it was one IP packet to the kernel
	plainBuffer = 2 << 10
	maxPlain    = 16
	controlSize = 64  // several control messages fit
	maxFailures = 100 // in a row, before the socket counts as broken
)

// Run is the read loop: it hands every datagram to whom it belongs, until ctx ends (nil) or the socket is closed
// (net.ErrClosed) or broken. It is called once. When it returns, readers of PacketConns get net.ErrClosed; sending goes
// on until Close, so that farewells can be said.
func (s *Socket) Run(ctx context.Context) error {
	stop := context.AfterFunc(ctx, s.endReading)
	defer stop()
	defer s.closeQueues()
	err := s.read()
	if ctx.Err() != nil {
		return nil
	}
	return fmt.Errorf("udp %s: %w", s.local, err)
}

// endReading ends the read loop with os.ErrDeadlineExceeded.
func (s *Socket) endReading() { _ = s.conn.SetReadDeadline(time.Unix(1, 0)) }

// read loops until the socket fails.
func (s *Socket) read() error {
	b := newBatch(s)
	d := newDispatcher(s, b.most())
	for {
		runs, err := b.read()
		if errors.Is(err, errNoBatches) {
			return s.readSingly(d)
		}
		if err != nil {
			return err
		}
		d.dispatch(time.Now(), runs)
	}
}

// errNoBatches: the system refuses recvmmsg, as old kernels and some sandboxes do.
var errNoBatches = errors.New("recvmmsg is refused")

// batch receives many datagrams with one system call.
type batch struct {
	s        *Socket
	msgs     []mmsghdr
	iovs     []unix.Iovec
	names    []sockaddr
	controls []byte
	data     []byte
	each     int // bytes of data for each message
	runs     []Run

	call     func(fd uintptr) bool // bound once
	n        int
	errno    syscall.Errno
	failures int
}

// buffers is how many there are to receive into, and their size.
func (s *Socket) buffers() (count, each int) {
	switch {
	case s.further:
		return 1, furtherBuffer
	case s.gro.Load():
		return max(1, s.cfg.Memory/groBuffer), groBuffer
	default:
		return max(1, min(s.cfg.Memory/plainBuffer, maxPlain)), plainBuffer
	}
}

func newBatch(s *Socket) *batch {
	count, each := s.buffers()
	b := &batch{
		s: s, each: each,
		msgs: make([]mmsghdr, count), iovs: make([]unix.Iovec, count), names: make([]sockaddr, count),
		controls: make([]byte, count*controlSize), data: make([]byte, count*each), runs: make([]Run, 0, count),
	}
	for i := range b.msgs {
		h := &b.msgs[i].hdr
		b.iovs[i].Base = &b.data[i*each]
		b.iovs[i].SetLen(each)
		h.Iov = &b.iovs[i]
		h.SetIovlen(1)
		h.Name = (*byte)(unsafe.Pointer(&b.names[i]))
		h.Control = &b.controls[i*controlSize]
	}
	b.n = count // all headers are to be prepared
	b.call = b.receive
	return b
}

// most is how many runs a dispatcher can have to hold of what one call receives: with UDP_GRO, one run can be split.
func (b *batch) most() int {
	if b.each == groBuffer {
		return maxRuns
	}
	return len(b.msgs)
}

// read waits for datagrams. What it returns is valid until it is called again.
func (b *batch) read() ([]Run, error) {
	for {
		for i := range b.msgs[:b.n] {
			h := &b.msgs[i].hdr
			h.Namelen = unix.SizeofSockaddrInet6
			h.SetControllen(controlSize)
			h.Flags = 0
		}
		b.n = 0
		if err := b.s.raw.Read(b.call); err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) {
				return nil, err
			}
			return nil, net.ErrClosed
		}
		switch {
		case b.errno == 0:
			b.failures = 0
			return b.decode(), nil
		case b.errno == unix.ENOSYS || b.errno == unix.EPERM || b.errno == unix.ENOTSUP:
			return nil, errNoBatches
		}
		// An ICMP message that somebody's datagram met is reported to whoever calls next; nobody here can use it.
		if b.failures++; b.failures > maxFailures {
			return nil, fmt.Errorf("cannot receive: %w", b.errno)
		}
	}
}

// receive returns false when the caller is to wait until there is something to read.
func (b *batch) receive(fd uintptr) bool {
	for {
		n, errno := b.s.kernel.recvmmsg(fd, b.msgs)
		switch errno {
		case unix.EINTR:
			continue
		case unix.EAGAIN:
			b.failures = 0
			return false
		}
		if b.errno = errno; errno == 0 {
			b.n = n
		}
		return true
	}
}

// decode is the runs that the last call received.
func (b *batch) decode() []Run {
	b.runs = b.runs[:0]
	for i := range b.msgs[:b.n] {
		m := &b.msgs[i]
		if m.hdr.Flags&(unix.MSG_TRUNC|unix.MSG_CTRUNC) != 0 {
			b.s.counts.cut.Add(1)
			continue
		}
		from, ok := decode(&b.names[i], &b.s.zones)
		if !ok || m.n == 0 {
			b.s.counts.received[Drop].Add(1)
			continue
		}
		r := Run{Via: b.s, From: from, Data: b.data[i*b.each:][:m.n:m.n], Size: int(m.n)}
		if m.hdr.Controllen > 0 {
			if size := segmentSize(b.controls[i*controlSize:][:m.hdr.Controllen]); size > 0 && size < r.Size {
				r.Size = size
			}
		}
		b.runs = append(b.runs, r)
	}
	return b.runs
}

// segmentSize is what UDP_GRO says about the run in a message's control data, 0 for a single datagram.
func segmentSize(control []byte) int {
	for len(control) >= unix.SizeofCmsghdr {
		h, data, rest, err := unix.ParseOneSocketControlMessage(control)
		if err != nil {
			return 0
		}
		if h.Level == unix.SOL_UDP && h.Type == unix.UDP_GRO && len(data) >= 4 {
			return int(int32(binary.NativeEndian.Uint32(data)))
		}
		control = rest
	}
	return 0
}

// readSingly reads one datagram at a time by package net.
func (s *Socket) readSingly(d *dispatcher) error {
	if s.gro.Swap(false) {
		// Without control messages nobody would know where a run is to be cut.
		if err := s.raw.Control(func(fd uintptr) { _ = s.kernel.setGRO(fd, 0) }); err != nil {
			return net.ErrClosed
		}
	}
	size := groBuffer
	if s.further {
		size = furtherBuffer
	}
	buf := make([]byte, size+1) // who is longer fills it
	runs := make([]Run, 1)
	for failures := 0; ; {
		n, from, err := s.conn.ReadFromUDPAddrPort(buf)
		switch {
		case errors.Is(err, net.ErrClosed), errors.Is(err, os.ErrDeadlineExceeded):
			return err
		case err != nil:
			if failures++; failures > maxFailures {
				return err
			}
			continue
		}
		failures = 0
		if n == len(buf) {
			s.counts.cut.Add(1)
			continue
		}
		if n == 0 {
			s.counts.received[Drop].Add(1)
			continue
		}
		runs[0] = Run{Via: s, From: unmap(from), Data: buf[:n:n], Size: n}
		d.dispatch(time.Now(), runs)
	}
}
