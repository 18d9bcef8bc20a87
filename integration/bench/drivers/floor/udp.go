//go:build linux

package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"simplebit/integration/bench/drivers/measured"
)

// A datagram of content is its position (8 bytes) and bytes of the file. What answers it is two numbers: how many bytes have come without a
// gap, and how many more may be on the way. Whatever comes out of order is dropped, and sent again after a while without progress: on
// a cable between two namespaces it hardly happens.
const (
	header   = 8
	datagram = 1472 // fits 1500 bytes of IPv4
	payload  = datagram - header
	run      = 44 // datagrams of one system call: below 64 KiB
	ackSize  = 16
	patience = 50 * time.Millisecond // without progress
	silence  = 5 * time.Second       // after which the other side is gone
	buffer   = 8 << 20               // asked of the kernel, which may give less
)

// plainSocket is a blocking UDP socket whose reads end after a while: nothing of Go's stands between the program and the kernel.
func plainSocket(patience time.Duration) (int, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fd, err
	}
	wait := unix.NsecToTimeval(int64(patience))
	return fd, unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &wait)
}

func sockaddr(address string) (unix.Sockaddr, error) {
	a, err := netip.ParseAddrPort(address)
	if err != nil || !a.Addr().Is4() {
		return nil, fmt.Errorf("address %q: want IPv4:PORT", address)
	}
	return &unix.SockaddrInet4{Addr: a.Addr().As4(), Port: int(a.Port())}, nil
}

// serveUDP sends the file to whoever sends the first datagram.
func serveUDP(address string, f *os.File, single bool) error {
	addr, err := sockaddr(address)
	if err != nil {
		return err
	}
	fd, err := plainSocket(patience)
	if err != nil {
		return err
	}
	if err := unix.Bind(fd, addr); err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if err := measured.Say("ready"); err != nil {
		return err
	}
	s := &sender{fd: fd, file: f, size: info.Size(), run: run, chunk: make([]byte, 0, measured.PieceLength)}
	if single {
		s.run = 1
	} else if err := unix.SetsockoptInt(fd, unix.IPPROTO_UDP, unix.UDP_SEGMENT, datagram); err != nil {
		return fmt.Errorf("UDP_SEGMENT: %w", err)
	}
	if err := s.send(); err != nil {
		return err
	}
	measured.Stay()
	return nil
}

type sender struct {
	fd        int
	connected bool
	file      *os.File
	size      int64
	run       int   // datagrams of one system call
	acked     int64 // bytes that have come
	limit     int64 // bytes up to which may be sent
	next      int64
	chunk     []byte // of the file
	at        int64  // where it is in the file
}

func (s *sender) send() error {
	b := make([]byte, run*datagram)
	var ack [ackSize]byte
	for s.acked < s.size {
		for s.next < min(s.limit, s.size) {
			if err := s.burst(b); err != nil {
				return err
			}
		}
		n, from, err := unix.Recvfrom(s.fd, ack[:], 0)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.EAGAIN):
			s.next = s.acked
			continue
		case err != nil:
			return err
		case n != ackSize:
			continue
		}
		if !s.connected {
			if err := unix.Connect(s.fd, from); err != nil {
				return err
			}
			s.connected = true
		}
		s.acked = max(s.acked, int64(binary.BigEndian.Uint64(ack[:])))
		s.limit = s.acked + int64(binary.BigEndian.Uint64(ack[8:]))
		s.next = max(s.next, s.acked)
	}
	return nil
}

// burst sends datagrams with one system call.
func (s *sender) burst(b []byte) error {
	used := 0
	for range s.run {
		piece, err := s.peek()
		if err != nil {
			return err
		}
		binary.BigEndian.PutUint64(b[used:], uint64(s.next))
		n := copy(b[used+header:used+datagram], piece)
		s.next += int64(n)
		used += header + n
		if n < payload || s.next >= s.limit || s.next == s.size {
			break
		}
	}
	_, err := unix.Write(s.fd, b[:used])
	return err
}

// peek returns what comes next, of a chunk that was read at once.
func (s *sender) peek() ([]byte, error) {
	if s.next < s.at || s.next >= s.at+int64(len(s.chunk)) {
		s.chunk = s.chunk[:cap(s.chunk)]
		n, err := s.file.ReadAt(s.chunk, s.next)
		if n == 0 {
			return nil, err
		}
		s.chunk, s.at = s.chunk[:n], s.next
	}
	return s.chunk[s.next-s.at:], nil
}

func fetchUDP(address string, p *measured.Pieces, size int64, single bool) error {
	addr, err := sockaddr(address)
	if err != nil {
		return err
	}
	fd, err := plainSocket(patience)
	if err != nil {
		return err
	}
	if err := unix.Connect(fd, addr); err != nil {
		return err
	}
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, buffer) != nil {
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, buffer)
	}
	given, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF)
	if err != nil {
		return err
	}
	if !single {
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_UDP, unix.UDP_GRO, 1); err != nil {
			return fmt.Errorf("UDP_GRO: %w", err)
		}
	}
	// The kernel counts its own overhead: a quarter is safe for datagrams of this size.
	r := &receiver{fd: fd, pieces: p, window: min(given/4, 1<<20)}
	return r.receive(size)
}

type receiver struct {
	fd     int
	pieces *measured.Pieces
	window int
}

func (r *receiver) receive(size int64) error {
	b := make([]byte, 64<<10)
	told, quiet := int64(-1), time.Duration(0)
	for r.pieces.Len() < size {
		// One answer for what one or a few system calls brought.
		if have := r.pieces.Len(); told < 0 || have-told >= 32<<10 {
			if err := r.tell(); err != nil {
				return err
			}
			told = have
		}
		n, err := unix.Read(r.fd, b)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if errors.Is(err, unix.EAGAIN) && quiet < silence {
			told, quiet = -1, quiet+patience
			continue
		}
		if err != nil {
			return fmt.Errorf("after %d of %d bytes: %w", r.pieces.Len(), size, err)
		}
		quiet = 0
		for rest := b[:n]; len(rest) > header; {
			one := rest[:min(datagram, len(rest))]
			rest = rest[len(one):]
			if int64(binary.BigEndian.Uint64(one)) != r.pieces.Len() {
				continue
			}
			if _, err := r.pieces.Write(one[header:]); err != nil {
				return err
			}
		}
	}
	return r.tell()
}

func (r *receiver) tell() error {
	var ack [ackSize]byte
	binary.BigEndian.PutUint64(ack[:], uint64(r.pieces.Len()))
	binary.BigEndian.PutUint64(ack[8:], uint64(r.window))
	_, err := unix.Write(r.fd, ack[:])
	return err
}
