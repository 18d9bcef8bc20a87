package utp

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"simplebit/nat/udpmux"
)

// Config of an endpoint. The zero value works.
type Config struct {
	Memory   int          // bytes for the buffers of all connections; default 8 MiB
	PerConn  int          // most bytes of buffer of a connection, each way; default 1 MiB
	MaxConns int          // connections at a time; default 4096
	Backlog  int          // incoming ones that wait for Accept; default 256. A SYN alone takes no place
	Log      *slog.Logger // every connection's end with its figures, at debug level; nil: silent
}

func (c Config) withDefaults() Config {
	for _, d := range []struct {
		value    *int
		fallback int
	}{{&c.Memory, 8 << 20}, {&c.PerConn, 1 << 20}, {&c.MaxConns, 4096}, {&c.Backlog, 256}} {
		if *d.value <= 0 {
			*d.value = d.fallback
		}
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c
}

var (
	errTooMany    = errors.New("too many connections: close some, or raise MaxConns")
	errNoSocket   = errors.New("no socket reaches this address family")
	errNotLiteral = errors.New(`want network "utp" and IP:port`)
)

// Endpoint drives many connections over the sockets that are attached to it. It is a [net.Listener] for what comes in and a
// dialer for what goes out. All of its methods may be called by any goroutine, [Endpoint.Attach] for the first time before the
// others.
//
// Locks are taken in one order: a connection's, then the endpoint's or that of its alarms. Who holds one of the latter
// takes no other.
type Endpoint struct {
	config  Config
	memory  budget
	alarms  alarms
	backlog chan *Conn    // proven, and not yet accepted
	deaf    chan struct{} // closed by Close: nobody accepts any more
	ended   chan struct{} // closed at the end of Run
	runs    sync.Pool     // *[]byte of maxRun: what a run is put together in

	mu      sync.Mutex
	sockets []*socket // never changed, only replaced
	table   map[key]*Conn
	reply   replies

	counters struct{ accepted, dialled, syns, refusedSYNs, resets, unknown, malformed atomic.Int64 }
}

// key is how a packet finds its connection. The socket is part of it, because a path is (socket, remote).
type key struct {
	socket *socket
	remote netip.AddrPort
	id     uint16
}

// Stats are the counters of an endpoint since it was made, and what it holds now.
type Stats struct {
	Conns             int   // held now
	Memory            int64 // bytes of buffer held now
	Dialled, Accepted int64 // connections that were opened
	SYNs              int64 // connection requests that were answered; from whom, nothing proves
	RefusedSYNs       int64 // connection requests, and first packets after them, that were ignored because there were too many, or too many from there
	Resets            int64 // RESETs in answer to packets that belong to no connection
	Unknown           int64 // packets that belong to no connection
	Malformed         int64 // packets that could not be parsed
}

// New returns an endpoint that works once sockets are attached and [Endpoint.Run] runs.
func New(c Config) *Endpoint {
	c = c.withDefaults()
	return &Endpoint{
		config:  c,
		memory:  budget{total: int64(c.Memory)},
		alarms:  alarms{kick: make(chan struct{}, 1)},
		backlog: make(chan *Conn, c.Backlog),
		deaf:    make(chan struct{}),
		ended:   make(chan struct{}),
		runs:    sync.Pool{New: func() any { b := make([]byte, 0, maxRun); return &b }},
		table:   make(map[key]*Conn),
		reply:   newReplies(time.Now()),
	}
}

// Attach makes mux one of the endpoint's sockets: its uTP packets come here from now on. To be called before mux runs, once.
func (e *Endpoint) Attach(mux *udpmux.Socket) {
	s := newSocket(e, mux)
	e.mu.Lock()
	e.sockets = append(slices.Clip(e.sockets), s)
	e.mu.Unlock()
	mux.Handle(udpmux.UTP, s.receive)
}

// Run keeps the time of all connections until ctx ends. Then it resets those that are left and closes the endpoint: whoever
// waits gets [net.ErrClosed]. The sockets are run, and closed, by those who made them; Run should end first.
func (e *Endpoint) Run(ctx context.Context) error {
	defer e.shutDown()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		case <-e.alarms.kick:
		}
		now := time.Now()
		for c := e.alarms.due(now); c != nil; c = e.alarms.due(now) {
			c.tick(now)
		}
		if next := e.alarms.next(); next.IsZero() {
			timer.Stop()
		} else {
			timer.Reset(time.Until(next))
		}
	}
}

func (e *Endpoint) shutDown() {
	_ = e.Close() // so that nobody comes in while the others leave
	e.mu.Lock()
	close(e.ended)
	open := make([]*Conn, 0, len(e.table))
	for _, c := range e.table {
		open = append(open, c)
	}
	e.mu.Unlock()
	now := time.Now()
	for _, c := range open {
		c.abort(now, net.ErrClosed)
	}
	for _, c := range open {
		for c.busy() { // who is sending has been left the RESET, and the socket may be closed after us
			time.Sleep(time.Millisecond)
		}
	}
}

// DialContext opens a connection to address, IP:port, from the first attached socket that reaches its family. network is
// "utp". It returns when the other end answered, when ctx ends, or with a [net.OpError] that wraps what went wrong:
// syscall.ECONNREFUSED for a RESET in answer to our SYN, syscall.ETIMEDOUT after about a minute without any, the socket's error, or
// [net.ErrClosed].
func (e *Endpoint) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	return e.dial(ctx, network, address, e.socketTo)
}

// dial is DialContext by the socket that choose returns for the address; nil if there is none.
func (e *Endpoint) dial(ctx context.Context, network, address string, choose func(netip.Addr) *socket) (net.Conn, error) {
	remote, err := netip.ParseAddrPort(address)
	if err != nil || network != "utp" || remote.Port() == 0 {
		return nil, &net.OpError{Op: "dial", Net: network, Err: fmt.Errorf("%q: %w", address, errNotLiteral)}
	}
	remote = netip.AddrPortFrom(remote.Addr().Unmap(), remote.Port())
	fail := func(err error) (net.Conn, error) {
		return nil, &net.OpError{Op: "dial", Net: "utp", Addr: net.UDPAddrFromAddrPort(remote), Err: err}
	}
	if err := ctx.Err(); err != nil {
		return fail(err)
	}
	s := choose(remote.Addr())
	if s == nil {
		return fail(errNoSocket)
	}
	now := time.Now()
	opened := make(chan struct{})
	c, err := e.open(s, remote, opened, now)
	if err != nil {
		return fail(err)
	}
	c.mu.Lock()
	c.drive(now)
	c.mu.Unlock()
	select {
	case <-opened:
	case <-ctx.Done():
		c.abort(time.Now(), net.ErrClosed)
		return fail(ctx.Err())
	}
	c.mu.Lock()
	err = c.failure()
	c.mu.Unlock()
	if err != nil {
		c.abort(time.Now(), net.ErrClosed)
		return fail(err)
	}
	e.counters.dialled.Add(1)
	return c, nil
}

// open puts an initiator into the table, under an id that neither it nor a RESET for a neighbour can be mistaken for.
func (e *Endpoint) open(s *socket, remote netip.AddrPort, opened chan struct{}, now time.Time) (*Conn, error) {
	c := newConn(e, s, remote)
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.isEnded() || s.detached {
		return nil, net.ErrClosed
	}
	if len(e.table) >= e.config.MaxConns {
		return nil, errTooMany
	}
	id := random16()
	for e.table[key{s, remote, id - 1}] != nil || e.table[key{s, remote, id}] != nil || e.table[key{s, remote, id + 1}] != nil {
		id++
	}
	c.id, c.peerID = id, id+1
	c.opened = opened
	c.core = newInitiator(now, c.coreConfig())
	e.table[key{s, remote, id}] = c
	return c, nil
}

// isEnded says whether Run has returned.
func (e *Endpoint) isEnded() bool { return isClosed(e.ended) }

func isClosed(c chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// forget takes c out of the table. The caller holds c's mutex.
func (e *Endpoint) forget(c *Conn) {
	e.mu.Lock()
	if k := (key{c.socket, c.remote, c.id}); e.table[k] == c {
		delete(e.table, k)
	}
	e.mu.Unlock()
	e.alarms.remove(c)
}

// Stats returns the counters. They are taken one after the other, not at one moment.
func (e *Endpoint) Stats() Stats {
	e.mu.Lock()
	conns := len(e.table)
	e.mu.Unlock()
	n := &e.counters
	return Stats{
		Conns: conns, Memory: e.memory.used.Load(),
		Dialled: n.dialled.Load(), Accepted: n.accepted.Load(), SYNs: n.syns.Load(), RefusedSYNs: n.refusedSYNs.Load(),
		Resets: n.resets.Load(), Unknown: n.unknown.Load(), Malformed: n.malformed.Load(),
	}
}

// random16 is for ids and an initiator's first sequence number: whoever can guess them can forge packets without seeing ours.
func random16() uint16 {
	var b [2]byte
	_, _ = rand.Read(b[:]) // never fails, says its documentation
	return binary.BigEndian.Uint16(b[:])
}
