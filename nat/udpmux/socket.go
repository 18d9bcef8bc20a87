package udpmux

import (
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Handler takes runs of its kind from the read loop, in the order of arrival. It must not wait. The runs and their data
// are valid until it returns. now is when they were read.
type Handler func(now time.Time, runs []Run)

// Socket is a UDP socket that protocols share. Send, SendFragmentable, Stats, Reaches, LocalAddr and
// Close may be called by any goroutine.
type Socket struct {
	conn    *net.UDPConn
	raw     syscall.RawConn
	local   *net.UDPAddr
	cfg     Config
	kernel  kernel
	family  family
	zones   zones
	gro     atomic.Bool // UDP_GRO is on
	further bool        // of a Set, not adopted: small

	handlers  [kinds]Handler
	queues    [kinds]*queue // of PacketConn
	newSource NewSource

	senders     sync.Pool
	fragmenting sync.RWMutex // held for writing while the socket's options let datagrams be fragmented
	single      atomic.Int32 // why runs are sent one by one, see segments
	counts      counts
}

// Listen opens a socket: network "udp" serves IPv4 and IPv6 on one socket where the address has no IP, "udp4" and "udp6"
// serve one of them.
func Listen(network, address string, c Config) (*Socket, error) {
	pc, err := net.ListenPacket(network, address)
	if err != nil {
		return nil, err
	}
	conn, ok := pc.(*net.UDPConn)
	if !ok {
		pc.Close()
		return nil, fmt.Errorf("network %q is not UDP's: udp, udp4 or udp6", network)
	}
	s, err := New(conn, c)
	if err != nil {
		conn.Close()
		return nil, err
	}
	return s, nil
}

// New makes a socket of conn, which belongs to it from then on and must not be connected. On an error conn is the
// caller's still.
func New(conn *net.UDPConn, c Config) (*Socket, error) { return newSocket(conn, c, linux) }

func newSocket(conn *net.UDPConn, c Config, k kernel) (*Socket, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, err
	}
	s := &Socket{conn: conn, raw: raw, local: localAddr(conn), cfg: c.withDefaults(), kernel: k}
	var o options
	var failed error
	if err := raw.Control(func(fd uintptr) { o, failed = setOptions(fd, s.cfg, k) }); err != nil {
		return nil, err
	}
	if failed != nil {
		return nil, fmt.Errorf("udp %s: %w", s.local, failed)
	}
	s.family = o.family
	s.gro.Store(o.gro)
	if !o.segments {
		s.single.Store(never)
	}
	s.senders.New = func() any { return newSender(s) }
	return s, nil
}

// Routes is the table that decides whose a datagram is.
func (s *Socket) Routes() *Routes { return s.cfg.Routes }

// Handle makes h the one who gets datagrams of a kind. It is called before Run, once for each kind; again, or for Drop,
// it panics.
func (s *Socket) Handle(k Kind, h Handler) {
	if k == Drop || k >= kinds || s.handlers[k] != nil {
		panic(fmt.Sprintf("udpmux: a second handler for %s, or none possible", k))
	}
	s.handlers[k] = h
}

// LocalAddr is the address that the socket is bound to, a *net.UDPAddr.
func (s *Socket) LocalAddr() net.Addr { return s.local }

// Reaches says whether the socket can send to the address's family.
func (s *Socket) Reaches(a netip.Addr) bool { return s.family.reaches(a) }

// Close closes the socket: Run returns, and so does whoever reads a PacketConn.
func (s *Socket) Close() error {
	s.closeQueues()
	return s.conn.Close()
}

func (s *Socket) closeQueues() {
	for _, q := range s.queues {
		if q != nil {
			q.close()
		}
	}
}
