package punch

import (
	"net/netip"
	"testing"
	"time"

	"simplebit/integration/natlab"
	"simplebit/nat"
)

// FuzzParse takes nothing but what the other side has written, with whatever padding, and reads it as it was meant.
func FuzzParse(f *testing.F) {
	for _, s := range samples {
		f.Add(testCodec(true).marshal(s.message, s.size), false)
		f.Add(testCodec(false).marshal(s.message, s.size), true)
	}
	f.Fuzz(func(t *testing.T, b []byte, controlling bool) {
		x, ok := testCodec(controlling).parse(b)
		if !ok {
			return
		}
		again := testCodec(!controlling).marshal(x, len(b))
		if y, ok := testCodec(controlling).parse(again); !ok || x != y || len(again) != len(b) {
			t.Fatalf("%x, read as %+v, became %x", b, x, again)
		}
	})
}

// FuzzReceive plays a program on a machine: time passes, and datagrams arrive that the peer has signed, or nobody. Bytes by
// bytes: what happens, from where, with which number, with which size.
func FuzzReceive(f *testing.F) {
	f.Add(uint8(0), []byte{0, 0, 0, 0, 9, 0, 0, 0, 1, 0, 0, 0, 9, 9, 9, 9})
	f.Add(uint8(3), []byte{9, 200, 0, 0, 1, 0, 3, 0, 9, 50, 0, 0, 3, 0, 4, 255, 9, 1, 0, 0})
	f.Add(uint8(5), []byte{0, 1, 0, 0, 0, 2, 1, 255, 2, 2, 1, 255, 4, 3, 2, 1, 9, 255, 0, 0})
	f.Add(uint8(8), []byte{9, 255, 0, 0, 9, 255, 0, 0, 9, 255, 0, 0, 0, 40, 5, 0, 2, 40, 6, 200})
	kinds := []natlab.Kind{natlab.PortRestricted, natlab.Sequential, natlab.Symmetric, natlab.FullCone}
	f.Fuzz(func(t *testing.T, setup uint8, program []byte) {
		if len(program) > 4096 {
			return
		}
		p := testPlan(setup&1 != 0)
		p.Local, p.Peer = kinds[setup>>1&3].Expect(), kinds[setup>>3&3].Expect()
		p.Observed = netip.MustParseAddrPort("198.18.1.2:5000")
		p.Sockets, p.Probes = 8, 64
		for _, a := range []string{"198.18.1.2:7000", "192.168.1.7:6881", "[2001:db8::7]:6881"} {
			p.Remote = append(p.Remote, nat.Candidate{Kind: nat.HostCandidate, Addr: netip.MustParseAddrPort(a)})
		}
		m, err := New(noon, p, [32]byte{1})
		if err != nil {
			t.Fatal(err)
		}
		now, peer, gets, answered := noon, peer(p), make(map[netip.Addr]int), make(map[netip.Addr]bool)
		poll := func() {
			for range 200 {
				for _, g := range m.Poll(now, nil) {
					gets[g.To.Addr()]++
					if g.Socket < 0 || g.Socket >= MaxSockets || !usable(g.To) || len(g.Data) > fullSize {
						t.Fatalf("%+v", g)
					}
					if n := gets[g.To.Addr()]; !answered[g.To.Addr()] && (n > MaxObserved || n > MaxUnconfirmed && g.To.Addr() != p.Observed.Addr()) {
						t.Fatalf("%d datagrams to %s", n, g.To)
					}
				}
				if w := m.Wake(); w.IsZero() || w.After(now) {
					return
				}
			}
			t.Fatal("it does not go to sleep")
		}
		for ; len(program) >= 4; program = program[4:] {
			what, where, number, size := program[0], program[1], uint32(program[2]), probeSize+4*int(program[3])
			from := netip.AddrPortFrom(victim, uint16(where)+1)
			if int(where) < len(m.pairs) {
				from = m.pairs[where].remote
			}
			socket := int(where & 7)
			x := message{id: newID([8]byte{5}, number), nominate: what&2 != 0}
			switch what & 9 {
			case 0: // the peer asks
				if program[3] > 250 {
					size = fullSize
				}
				m.Receive(now, socket, from, peer.marshal(x, size))
			case 1: // and answers
				n := uint32(len(m.sent)) - 1 - number
				if int64(n) < int64(len(m.sent)) && where&0x80 == 0 {
					r := m.sent[n]
					if size = int(r.size); r.pair >= 0 {
						socket, from = m.pairs[r.pair].socket, m.pairs[r.pair].remote
					} else {
						socket, from = 0, netip.AddrPortFrom(p.Observed.Addr(), r.port)
					}
				}
				answered[from.Addr()] = true
				m.Receive(now, socket, from, peer.marshal(message{id: newID(m.nonce, n), answer: true, nominate: x.nominate}, size))
			case 8: // somebody sends something
				m.Receive(now, socket, from, program)
			default:
				now = now.Add(time.Duration(where) * time.Millisecond)
			}
			poll()
		}
		path, o := m.Done()
		if o == Connected && !answered[path.Remote.Addr()] || len(m.pairs) > maxPairs || len(m.sent) > maxSent || len(m.replies) > maxReplies {
			t.Fatalf("%s: %+v", o, m.Trace(now))
		}
		m.Trace(now)
	})
}
