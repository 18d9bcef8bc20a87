package udpmux

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
)

// MaxSockets is the most further sockets of a set that are open at once: 128 for one attempt of the birthday method, and
// some for finding out what the network does.
const MaxSockets = 128 + 32

// What a further socket has: one buffer to read into, for what Ethernet carries, and little room in the kernel.
const (
	furtherBuffer = 1536
	furtherKernel = 64 << 10
)

// Set is sockets that share routes: a main one, which the set never closes nor replaces, and further ones on ports of their
// own. A path is a socket and a remote address, so who sends takes the socket, and who receives finds it in [Run.Via].
//
// A handler given to the set serves all of its sockets; one given to the main socket serves that alone. A further socket of
// the set carries only what the set has handlers for, until it is adopted. Open, Adopt and Close may be called by any goroutine.
type Set struct {
	main      *Socket
	handlers  [kinds]Handler
	newSource NewSource

	mu      sync.Mutex
	further map[*Socket]*reading
	closed  bool
	readers sync.WaitGroup
}

// reading is a further socket's read loop.
type reading struct {
	unwatch func() bool // its context
	ended   chan struct{}
	err     error // why the loop ended, once it has
}

// NewSet makes a set with a main socket, which runs later and is run and closed by who made it.
func NewSet(main *Socket) *Set {
	return &Set{main: main, further: make(map[*Socket]*reading)}
}

// Main is the socket that the set was made with.
func (s *Set) Main() *Socket { return s.main }

// Handle makes h the one who gets datagrams of a kind from all sockets. Each socket's read loop calls it, so calls can
// overlap. It is called before the main socket's Run and before Open, once for each kind, and panics as [Socket.Handle] does.
func (s *Set) Handle(k Kind, h Handler) {
	s.main.Handle(k, h)
	s.handlers[k] = h
}

// OnNewSource is [Socket.OnNewSource] for all sockets. Calls can overlap; a source is new to each socket.
func (s *Set) OnNewSource(f NewSource) {
	s.main.OnNewSource(f)
	s.newSource = f
}

// Open opens a further socket for the main one's address and families on any free port, and reads it until ctx ends or it is
// closed; either closes it. It is small: it takes datagrams of up to 1.5 KiB, one at a time, and some 8 KiB of memory. It fails
// with MaxSockets open ones, with [net.ErrClosed] when the set is closed, and with what the system says.
func (s *Set) Open(ctx context.Context) (*Socket, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return nil, fmt.Errorf("a further UDP socket: %w", net.ErrClosed)
	case len(s.further) >= MaxSockets:
		return nil, fmt.Errorf("%d further UDP sockets are open: close one first", len(s.further))
	}
	x, err := s.listen()
	if err != nil {
		return nil, err
	}
	x.handlers, x.newSource = s.handlers, s.newSource
	r := &reading{ended: make(chan struct{})}
	r.unwatch = context.AfterFunc(ctx, func() { s.leave(x) })
	s.further[x] = r
	s.readers.Go(func() {
		r.err = x.read()
		close(r.ended)
		s.leave(x)
	})
	return x, nil
}

func (s *Set) listen() (*Socket, error) {
	network := "udp4"
	if f := s.main.family; f.six && f.only {
		network = "udp6"
	} else if f.six {
		network = "udp"
	}
	conn, err := net.ListenUDP(network, &net.UDPAddr{IP: s.main.local.IP, Zone: s.main.local.Zone})
	if err != nil {
		return nil, fmt.Errorf("a further UDP socket: %w", err)
	}
	c := s.main.cfg
	c.Memory, c.ReadBuffer, c.WriteBuffer = furtherBuffer, furtherKernel, furtherKernel
	x, err := newSocket(conn, c, s.main.kernel)
	if err != nil {
		conn.Close()
		return nil, err
	}
	x.further = true
	return x, nil
}

// take takes a socket out of the set and its context's reach. It returns nil where that is done already.
func (s *Set) take(x *Socket) *reading {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.further[x]
	if r != nil {
		r.unwatch()
		delete(s.further, x)
	}
	return r
}

// leave closes a socket whose context or loop has ended, unless it was taken out of the set: then it is somebody else's.
func (s *Set) leave(x *Socket) {
	if s.take(x) != nil {
		x.Close()
	}
}

// Adopt takes an open further socket out of the set, since a connection is to stay on it: it gets the main socket's buffers,
// and is the caller's like one from [Listen], to be run and closed, also when the set is closed or its context ends. The
// set's handlers stay; others can be added before Run, say uTP's. Until then what arrives waits in the kernel. It fails with
// [net.ErrClosed] for a socket that is none of the set's (any more).
func (s *Set) Adopt(x *Socket) error {
	r := s.take(x)
	if r == nil {
		return fmt.Errorf("udp %s: cannot be adopted: %w", x.local, net.ErrClosed)
	}
	x.endReading()
	<-r.ended
	err := r.err
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = x.grow(s.main.cfg)
	}
	if err != nil {
		x.Close()
		return fmt.Errorf("udp %s: cannot be adopted: %w", x.local, err)
	}
	return nil
}

// Close closes the further sockets that were not adopted, and waits until nobody reads them any more, so no handler may call
// it. Open fails from then on.
func (s *Set) Close() error {
	s.mu.Lock()
	s.closed = true
	var errs []error
	for x, r := range s.further {
		r.unwatch()
		errs = append(errs, x.Close())
	}
	clear(s.further)
	s.mu.Unlock()
	s.readers.Wait()
	return errors.Join(errs...)
}
