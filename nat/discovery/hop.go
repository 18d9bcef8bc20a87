package discovery

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"net"
	"net/netip"
	"syscall"
	"time"

	message "github.com/pion/stun/v2"
	"golang.org/x/sys/unix"

	"simplebit/nat"
	"simplebit/nat/stun"
)

// The climb: datagrams end at the second router, the third, and so on until one that has a public address says so. Most
// know it by the first one, carriers' networks are deeper. Where nobody says anything, it is not asked further.
const (
	firstTTL   = 2
	lastTTL    = 8
	triesEach  = 2
	mostSilent = 3 // hops in a row
)

// climbing is how it is done: each datagram has the profile's First to come to somebody's notice.
var climbing = stun.Profile{First: 200 * time.Millisecond, Longest: 200 * time.Millisecond, Last: 200 * time.Millisecond, Tries: 10}

// climb is how far it has come.
type climb struct {
	ttl    int // of the next datagram
	tries  int // with that
	silent int
	seen   hopSeen
}

// over reports whether there is nothing more to learn.
func (c *climb) over() bool {
	return c.seen.public != 0 || c.ttl > lastTTL || c.silent == mostSilent
}

// exceeded notes who says that a datagram of a TTL ended there. It may be an earlier one's.
func (c *climb) exceeded(ttl int, who netip.Addr) {
	if ttl > c.ttl {
		return
	}
	if ttl == firstTTL {
		c.seen.who = who
	}
	if nat.Public(who) {
		c.seen.public = ttl
	}
	if ttl == c.ttl {
		c.ttl, c.tries, c.silent = ttl+1, 0, 0
	}
}

// hear notes what is heard.
func (c *climb) hear(w word) {
	switch {
	case !w.who.IsValid(): // the server was reached: there is nobody else on the way
		c.ttl = lastTTL + 1
	case w.ttl == 0: // it is not said of which: of the last one then
		c.exceeded(c.ttl, w.who)
	default:
		c.exceeded(w.ttl, w.who)
	}
}

// unheard notes that nobody has said anything.
func (c *climb) unheard() {
	if c.tries++; c.tries == triesEach {
		c.ttl, c.tries, c.silent = c.ttl+1, 0, c.silent+1
	}
}

// climbTo sends to the server with TTLs that end on the way, and waits for who says so. It takes a socket of its own: one that
// learns what became of its datagrams has their errors in the way of everybody who uses it, and only a connected one
// takes such a word from nobody but those on the way to one server. A silent router tells nothing.
func climbTo(ctx context.Context, a action) (o outcome, err error) {
	d := net.Dialer{Control: func(_, _ string, c syscall.RawConn) (err error) {
		return control(c, func(fd int) error { return unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_RECVERR, 1) })
	}}
	conn, err := d.DialContext(ctx, "udp4", a.to.String())
	if err != nil {
		return outcome{}, err
	}
	c := conn.(*net.UDPConn)
	raw, err := c.SyscallConn()
	if err != nil {
		c.Close()
		return outcome{}, err
	}
	var id [message.TransactionIDSize]byte
	rand.Read(id[:])
	words, ended := make(chan word, lastTTL), make(chan struct{})
	go func() {
		defer close(ended)
		hearOf(raw, id, words)
	}()
	defer func() {
		c.Close() // ends the reading
		<-ended
	}()
	at := climb{ttl: firstTTL, seen: hopSeen{from: c.LocalAddr().(*net.UDPAddr).AddrPort().Addr()}}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for ctx.Err() == nil && !at.over() && o.sent < a.profile.Tries {
		if err = sendTTL(c, raw, at.ttl, id); err != nil {
			break
		}
		o.sent++
		timer.Reset(a.profile.First)
		for ttl, tries := at.ttl, at.tries; at.ttl == ttl && at.tries == tries; {
			select {
			case w := <-words:
				at.hear(w)
			case <-timer.C:
				at.unheard()
			case <-ctx.Done():
				at.unheard()
			}
		}
	}
	if o.hop = at.seen; at.seen.who.IsValid() || at.seen.public != 0 {
		o.reply = answered
	} else if err == nil && ctx.Err() == nil {
		o.reply = silence
	}
	return o, err
}

// sendTTL sends the datagram of that TTL. Its number is in the id.
func sendTTL(c *net.UDPConn, raw syscall.RawConn, ttl int, id [message.TransactionIDSize]byte) error {
	id[len(id)-1] = byte(ttl)
	probe, err := message.Build(message.NewTransactionIDSetter(id), message.BindingRequest, message.Fingerprint)
	if err != nil {
		return err
	}
	if err := control(raw, func(fd int) error { return unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_TTL, ttl) }); err != nil {
		return err
	}
	if _, err = c.Write(probe.Raw); err != nil {
		// Most likely it is what became of the last one, and nothing was sent.
		_, err = c.Write(probe.Raw)
	}
	return err
}

func control(c syscall.RawConn, f func(fd int) error) (err error) {
	if failed := c.Control(func(fd uintptr) { err = f(int(fd)) }); failed != nil {
		return failed
	}
	return err
}

// word is what is heard of a datagram: who exceeded its TTL, or, without an address, that the server has answered.
type word struct {
	ttl int // 0: too little of it is quoted
	who netip.Addr
}

// hearOf reads what becomes of the datagrams until the socket is closed. More than words takes is lost.
func hearOf(c syscall.RawConn, id [message.TransactionIDSize]byte, words chan<- word) {
	var data [128]byte
	var oob [256]byte
	tell := func(w word) {
		select {
		case words <- w:
		default:
		}
	}
	// It fails when the socket is closed.
	_ = c.Read(func(fd uintptr) bool {
		for {
			n, size, _, _, err := unix.Recvmsg(int(fd), data[:], oob[:], unix.MSG_ERRQUEUE|unix.MSG_DONTWAIT)
			if err == nil {
				if who, ttl, ok := exceeded(oob[:size]), 0, false; who.IsValid() {
					if ttl, ok = quoted(data[:n], id); ok {
						tell(word{ttl, who})
					}
				}
				continue
			}
			n, _, _, _, err = unix.Recvmsg(int(fd), data[:], nil, unix.MSG_DONTWAIT)
			switch {
			case err == unix.EAGAIN:
				return false
			case err == nil:
				if _, ok := quoted(data[:n], id); ok && n >= idEnd {
					tell(word{})
				}
			}
		}
	})
}

// Where a STUN message has its transaction's id (RFC 5389 section 6).
const idBegin, idEnd = 8, 8 + message.TransactionIDSize

// quoted returns the TTL of the datagram that begins like this, 0 where that cannot be told: routers need not quote anything
// of UDP's payload (RFC 792). It is not ok where it is none of ours.
func quoted(b []byte, id [message.TransactionIDSize]byte) (ttl int, ok bool) {
	if len(b) < idEnd {
		return 0, true
	}
	last := len(id) - 1
	ttl = int(b[idEnd-1])
	return ttl, string(b[idBegin:idEnd-1]) == string(id[:last]) && firstTTL <= ttl && ttl <= lastTTL
}

// exceeded finds in the control messages who exceeded a TTL:
//
//	struct sock_extended_err: errno 4, origin 1, type 1, code 1, pad 1, info 4, data 4
//	struct sockaddr_in:       family 2, port 2, address 4, zero 8
func exceeded(control []byte) (who netip.Addr) {
	const icmpTimeExceeded, offender = 11, 16
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return who
	}
	for _, m := range messages {
		b := m.Data
		if m.Header.Level == unix.IPPROTO_IP && m.Header.Type == unix.IP_RECVERR && len(b) >= offender+8 &&
			b[4] == unix.SO_EE_ORIGIN_ICMP && b[5] == icmpTimeExceeded &&
			binary.NativeEndian.Uint16(b[offender:]) == unix.AF_INET {
			return netip.AddrFrom4([4]byte(b[offender+4:]))
		}
	}
	return who
}
