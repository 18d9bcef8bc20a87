package utp

import (
	"errors"
	"time"
)

// Why a connection ended.
var (
	errReset   = errors.New("utp: the peer reset the connection")
	errRefused = errors.New("utp: the peer refused the connection")
	errTimeout = errors.New("utp: the peer does not answer")
	errAborted = errors.New("utp: connection aborted")
)

// coreConfig is what a core is made with. The zero value works.
type coreConfig struct {
	RecvBuffer  int              // most bytes to hold for the reader. Default: 1 MiB
	SendBuffer  int              // most bytes of the writer to hold. Default: 1 MiB
	MaxDatagram int              // largest UDP payload ever to try, bytes. Default: 1472, IPv4 over Ethernet
	Seq         uint16           // initiator: first sequence number; the endpoint draws it
	RecvID      uint16           // initiator: connection id of packets to us; the endpoint draws it
	grow        func(n int) bool // asks for n more bytes of memory; negative gives back. nil: always yes
	spare       func() int       // about how many bytes grow would give now; nil: as many as anybody wants
}

func (c coreConfig) withDefaults() coreConfig {
	if c.RecvBuffer <= 0 {
		c.RecvBuffer = 1 << 20
	}
	if c.SendBuffer <= 0 {
		c.SendBuffer = 1 << 20
	}
	if c.MaxDatagram <= 0 {
		c.MaxDatagram = 1472
	}
	c.MaxDatagram = max(c.MaxDatagram, headerLen+64)
	if c.grow == nil {
		c.grow = func(int) bool { return true }
	}
	return c
}

type phase uint8

const (
	synSent phase = iota // initiator: no answer yet
	established
)

// timers are instants of the core's clock at which poll has something to do; 0: none.
type timers struct {
	syn      time.Duration // the SYN is due
	rto      time.Duration // everything under way counts as lost, while something is
	persist  time.Duration // a packet is sent though the peer's window is closed
	trim     time.Duration // memory that is not used is given back
	forget   time.Duration // nothing is expected any more
	sent     time.Duration // when anything was sent last
	heard    time.Duration // when the peer was heard last
	progress time.Duration // when the peer acknowledged something new last, or something was first under way
}

// core is one connection. It is not safe for concurrent use. After anything but the questions, poll must be called
// until it gives nothing, and again at wake.
type core struct {
	phase   phase
	sendID  uint16 // of packets to the peer
	recvID  uint16
	failure error
	epoch   time.Time     // when the core's clock began
	stamp0  uint32        // timestamp at that moment, µs
	now     time.Duration // the last time it was told; it never goes back
	echo    uint32        // timestamp difference to tell the peer, µs
	syns    int           // SYNs sent
	synDue  bool
	timeout uint64 // retransmission timeouts so far

	send       sender
	recv       receiver
	rtt        rttState
	congestion congestion
	mtu        mtuSearch
	closing    closing
	timers     timers
}

func newCore(now time.Time, conf coreConfig) *core {
	conf = conf.withDefaults()
	c := &core{
		epoch:      now,
		stamp0:     uint32(now.UnixMicro()),
		congestion: newCongestion(),
		mtu:        newMTUSearch(conf.MaxDatagram),
	}
	c.send = sender{limit: conf.SendBuffer, una: conf.Seq, next: conf.Seq, grow: conf.grow}
	c.send.recs = c.send.few[:]
	c.recv = receiver{limit: conf.RecvBuffer, grow: conf.grow, spare: conf.spare}
	return c
}

// newInitiator begins a connection: the SYN comes out of poll.
func newInitiator(now time.Time, conf coreConfig) *core {
	c := newCore(now, conf)
	c.recvID, c.sendID = conf.RecvID, conf.RecvID+1
	c.synDue = true
	return c
}

// newResponder begins a connection with the first packet after the SYN, which proves its address; see cookie.go. The core
// takes its sequence numbers from there, and is to receive it next.
func newResponder(now time.Time, first *packet, conf coreConfig) *core {
	conf.Seq = first.ack + 1
	c := newCore(now, conf)
	c.phase = established
	c.recvID, c.sendID = first.connID, first.connID-1
	c.recv.next = first.seq
	return c
}

// at is the core's clock.
func (c *core) at(now time.Time) time.Duration {
	c.now = max(c.now, now.Sub(c.epoch))
	return c.now
}

// stamp is the timestamp of packets sent now, µs.
func (c *core) stamp(now time.Duration) uint32 { return c.stamp0 + uint32(now/time.Microsecond) }

// heard notes that a packet of the peer came.
func (c *core) heard(now time.Duration, p *packet) {
	c.timers.heard = now
	if p.timestamp == 0 {
		return // libutp's way to say that it has no clock
	}
	c.echo = c.stamp(now) - p.timestamp
	c.congestion.hear(now, c.echo)
}

// lastHeard is when a packet of the peer came last; zero: none did, or the connection has failed.
func (c *core) lastHeard() time.Time {
	if c.phase != established || c.failure != nil {
		return time.Time{}
	}
	return c.epoch.Add(c.timers.heard)
}

// receive takes a packet that belongs to this connection: its source is the peer, and its connection id RecvID; of a
// RESET, which libutp sends with the id of what it answers, it may be the other one.
func (c *core) receive(now time.Time, p *packet) {
	t := c.at(now)
	if c.failure != nil {
		return
	}
	switch {
	case p.typ == stReset:
		c.reset(p)
	case p.typ == stSyn: // a repetition that was overtaken
	case c.phase == synSent:
		c.answered(t, p)
	case !c.plausible(p.ack):
	default:
		c.heard(t, p)
		c.acknowledge(t, p)
		if p.typ == stData || p.typ == stFin {
			c.recv.accept(p.seq, p.payload, p.typ == stFin)
		}
		c.closing.settle(t, c)
	}
}

// ackHistory is how many packets ago an acknowledgement may be from, as packets overtake each other. The fewer, the harder
// to guess for somebody who forges packets.
const ackHistory = 1024

// plausible reports whether a packet that we sent can have been acknowledged so.
func (c *core) plausible(ack uint16) bool {
	behind := c.send.next - 1 - ack
	return int(behind) <= c.send.outstanding()+ackHistory
}

// write takes bytes of the stream, as many as there is room for: 0 when there is none or the direction was closed.
func (c *core) write(b []byte) int {
	if c.failure != nil || c.closing.wanted {
		return 0
	}
	return c.send.write(b)
}

// endPacket has what was written so far share no packet with what is written later.
func (c *core) endPacket() { c.send.fence = c.send.pending() }

// read gives bytes of the stream.
func (c *core) read(b []byte) int { return c.recv.read(b) }

// connected reports whether the SYN was answered; a responder is connected from the beginning.
func (c *core) connected() bool { return c.phase == established }

// readable is the bytes that read would give.
func (c *core) readable() int { return c.recv.ring.n }

// writable is the bytes that write would take if there is memory.
func (c *core) writable() int {
	if c.failure != nil || c.closing.wanted {
		return 0
	}
	return c.send.limit - c.send.ring.n
}

// eof reports whether everything up to their FIN was read.
func (c *core) eof() bool { return c.recv.finished && c.recv.ring.n == 0 }

// err is nil while the connection lives.
func (c *core) err() error { return c.failure }

// fail ends the connection. What came before can still be read.
func (c *core) fail(err error) {
	if c.failure == nil {
		c.failure = err
		c.send.drop()
		c.recv.early.drop(c.recv.grow)
	}
}

// release gives all memory back; the core is of no use after it.
func (c *core) release() {
	c.fail(errAborted)
	c.closing.resetDue = false
	c.recv.ring.drop(c.recv.grow)
}

// delivered reports whether everything that was written, and the FIN if there is one, was acknowledged.
func (c *core) delivered() bool {
	return c.send.ring.n == 0 && c.send.outstanding() == 0 && (!c.closing.wanted || c.closing.sent)
}

// coreStats is what tests, the trace hook and the endpoint may know.
type coreStats struct {
	rtt, variance, leastRTT time.Duration
	base                    time.Duration // least one-way delay, of two clocks that do not agree
	queueing                time.Duration // delay that our packets find above it
	cwnd                    int           // bytes that congestion control allows in flight
	peerWindow              int           // bytes that the peer has room for
	flight                  int           // bytes under way
	mtu                     int           // largest datagram in use, bytes of UDP payload
	memory                  int           // bytes held
	lost, resent            uint64        // packets
	timeouts                uint64
	slowStart               bool
}

func (c *core) stats() coreStats {
	return coreStats{
		rtt: c.rtt.smoothed, variance: c.rtt.variance, leastRTT: c.rtt.least,
		base:     time.Duration(c.congestion.ours.base) * time.Microsecond,
		queueing: time.Duration(c.congestion.ours.delay()) * time.Microsecond,
		cwnd:     c.congestion.bytes(), peerWindow: c.send.window, flight: c.send.flight, mtu: c.mtu.floor,
		memory: c.memory(), lost: c.send.dropped, resent: c.send.resent, timeouts: c.timeout,
		slowStart: c.congestion.slowStart,
	}
}

func (c *core) memory() int {
	return len(c.send.ring.buf) + c.send.recordMemory() + len(c.recv.ring.buf) + c.recv.early.memory()
}
