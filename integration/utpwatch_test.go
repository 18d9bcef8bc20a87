//go:build linux

package integration

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"simplebit/integration/natlab"
)

// Types of uTP packets (BEP 29).
const (
	utpFIN   = 1
	utpReset = 3
	utpSYN   = 4
)

// utpPacket is the header of one uTP packet.
type utpPacket struct {
	at           time.Time
	from, to     netip.AddrPort
	kind         byte
	id, seq, ack uint16
	size         int // bytes behind the header: payload and extensions
}

// utpWatch sees all uTP packets of a host's link.
type utpWatch struct {
	mu  sync.Mutex
	all []utpPacket
}

// watchUTP watches a host until the test ends.
func (s *scene) watchUTP(h *natlab.Host) *utpWatch {
	s.Helper()
	// What is sent in one go shall be seen in single packets.
	if out, err := h.Command(s.Context(), "ip", "link", "set", "dev", "eth0", "gso_max_segs", "1").CombinedOutput(); err != nil {
		s.Fatalf("%v: %s", err, out)
	}
	w := &utpWatch{}
	s.tap(h, w.packet)
	return w
}

// packet takes note of an IPv4 packet, of which the beginning is given.
func (w *utpWatch) packet(at time.Time, b []byte, _ bool) {
	if len(b) < 20 || b[0]>>4 != 4 || b[9] != unix.IPPROTO_UDP {
		return
	}
	udp := b[int(b[0]&15)*4:]
	if len(udp) < 8+20 || udp[8]&15 != 1 || udp[8]>>4 > utpSYN {
		return
	}
	be := binary.BigEndian
	p := utpPacket{
		at:   at,
		from: netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[12:16])), be.Uint16(udp)),
		to:   netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[16:20])), be.Uint16(udp[2:])),
		kind: udp[8] >> 4, id: be.Uint16(udp[10:]), seq: be.Uint16(udp[24:]), ack: be.Uint16(udp[26:]),
		size: int(be.Uint16(udp[4:])) - 8 - 20,
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.all = append(w.all, p)
}

// with returns the packets exchanged with a peer so far.
func (w *utpWatch) with(peer netip.AddrPort) (some []utpPacket) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, p := range w.all {
		if p.from == peer || p.to == peer {
			some = append(some, p)
		}
	}
	return some
}

// A utpEnd is one end of a connection: what it sent, and how it ended.
type utpEnd struct {
	bytes  int       // before any FIN, of either end
	fin    time.Time // when its first FIN was seen; zero: it sent none
	seq    uint16    // of that
	acked  bool      // its FIN
	resets []time.Time
}

// utpConn is one connection, from its SYN on.
type utpConn struct {
	id          uint16 // in packets to the dialler
	began       time.Time
	us, peer    *utpEnd
	weDialled   bool
	unannounced bool // the first RESET came before any FIN
}

// conns returns the connections with a peer so far, in the order of their SYNs.
func (w *utpWatch) conns(peer netip.AddrPort) (all []*utpConn) {
	for _, p := range w.with(peer) {
		i := slices.IndexFunc(all, func(c *utpConn) bool { return c.owns(p, peer) })
		if i < 0 && p.kind == utpSYN {
			i = len(all)
			all = append(all, &utpConn{id: p.id, began: p.at, us: &utpEnd{}, peer: &utpEnd{}, weDialled: p.to == peer})
		}
		if i >= 0 {
			all[i].take(p, peer)
		}
	}
	return all
}

// busiest returns the connection with a peer that carried most so far; nil if there was none.
func (w *utpWatch) busiest(peer netip.AddrPort) *utpConn {
	all := w.conns(peer)
	if len(all) == 0 {
		return nil
	}
	return slices.MaxFunc(all, func(a, b *utpConn) int { return cmp.Compare(a.us.bytes+a.peer.bytes, b.us.bytes+b.peer.bytes) })
}

// owns reports whether a packet is the connection's. The RESET for a packet of an unknown connection may copy that packet's id.
func (c *utpConn) owns(p utpPacket, peer netip.AddrPort) bool {
	toDialler := c.weDialled == (p.from == peer)
	switch {
	case p.kind == utpReset:
		return p.id == c.id || p.id == c.id+1
	case toDialler || p.kind == utpSYN:
		return p.id == c.id
	default:
		return p.id == c.id+1
	}
}

func (c *utpConn) take(p utpPacket, peer netip.AddrPort) {
	near, far := c.us, c.peer
	if p.from == peer {
		near, far = far, near
	}
	open := near.fin.IsZero() && far.fin.IsZero()
	switch {
	case p.kind == utpReset:
		c.unannounced = c.unannounced || open && !c.reset()
		near.resets = append(near.resets, p.at)
		return
	case p.kind == utpFIN && near.fin.IsZero():
		near.fin, near.seq = p.at, p.seq
	case open:
		near.bytes += p.size
	}
	if !far.fin.IsZero() && int16(p.ack-far.seq) >= 0 {
		far.acked = true
	}
}

// reset reports whether there was a RESET by either end.
func (c *utpConn) reset() bool { return len(c.us.resets)+len(c.peer.resets) > 0 }

// over reports whether our FIN was sent, and is not waited for: it was acknowledged, or the other end forgot the connection after its own
// FIN, as libutp and libtorrent do.
func (c *utpConn) over() bool {
	return !c.us.fin.IsZero() && (c.us.acked || !c.peer.fin.IsZero())
}

// String tells the connection's story, for people.
func (c *utpConn) String() string {
	text := "it dialled"
	if c.weDialled {
		text = "we dialled"
	}
	for i, e := range []*utpEnd{c.us, c.peer} {
		text += fmt.Sprintf("; %s sent %d bytes", [2]string{"we", "it"}[i], e.bytes)
		if !e.fin.IsZero() {
			text += fmt.Sprintf(", FIN after %v (acknowledged: %v)", e.fin.Sub(c.began).Round(time.Millisecond), e.acked)
		}
		if n := len(e.resets); n > 0 {
			text += fmt.Sprintf(", %d RESETs from %v to %v", n, e.resets[0].Sub(c.began).Round(time.Millisecond), e.resets[n-1].Sub(c.began).Round(time.Millisecond))
		}
	}
	return text
}
