package discovery

import (
	"net/netip"
	"testing"
	"time"
)

// FuzzMachine ends tests in any order and in any way. Whatever comes, no more datagrams are set aside than there may be, no
// test is carried out twice, and it comes to an end.
func FuzzMachine(f *testing.F) {
	f.Add(true, false, []byte{})
	f.Add(false, true, []byte{0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77})
	f.Add(true, true, []byte{0x00, 0x01, 0x02, 0xff, 0xfe, 0xfd, 0x10, 0x20, 0x30, 0x40, 0x50, 0x60, 0x70, 0x80})
	f.Fuzz(func(t *testing.T, two, works bool, in []byte) {
		c := Config{Servers: streets["one"], Works: works, Own: []netip.Addr{netip.MustParseAddr("198.18.2.2")}}
		if two {
			c.Servers = streets["two"]
		}
		m, now := newMachine(c), time.Unix(1e9, 0)
		var underway []action
		begun := map[test]bool{}
		sent := 0
		for rounds := 0; !m.finished(); rounds++ {
			if rounds > 2*int(tests) {
				t.Fatalf("it goes round and round: %+v", m.trials)
			}
			for _, a := range m.poll(now) {
				if begun[a.test] {
					t.Fatalf("%s again", a.test)
				}
				begun[a.test] = true
				underway = append(underway, a)
			}
			reserved := sent
			for _, a := range underway {
				reserved += a.profile.Tries
			}
			if reserved > MaxDatagrams || m.result().Datagrams != sent {
				t.Fatalf("%d datagrams, %d with those that may follow: %+v", sent, reserved, m.result())
			}
			if len(underway) == 0 {
				if m.finished() {
					break
				}
				next := m.wake()
				if !next.After(now) {
					t.Fatalf("nothing to do and nothing to wait for: %+v", m.trials)
				}
				now = next
				continue
			}
			var b [2]byte
			in = in[copy(b[:], in):]
			i := int(b[0]) % len(underway)
			a := underway[i]
			underway = append(underway[:i], underway[i+1:]...)
			o := outcome{reply: reply(b[1] % 3), sent: min(a.profile.Tries, int(b[1]>>4)), local: uint16(b[1])}
			if o.reply == answered && b[1]&8 == 0 {
				o.mapped = netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 18, 2, b[1] & 3}), uint16(b[1]))
				o.other = netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 18, b[1], 3}), uint16(b[1]))
			}
			sent += o.sent
			now = now.Add(time.Duration(b[0]) * time.Millisecond)
			m.done(now, a.test, o)
		}
		if b := m.result().Behaviour; b.Blocked && (works || m.heard()) || b.Step > largestGap || b.Step < -largestGap {
			t.Fatalf("%+v", b)
		}
	})
}

// FuzzExceeded reads control messages, which are the kernel's but hold what a router sent.
func FuzzExceeded(f *testing.F) {
	f.Add([]byte{})
	f.Add(exceededMessage("100.64.1.1", 2, 11))
	f.Fuzz(func(t *testing.T, b []byte) {
		if a := exceeded(b); a.IsValid() && !a.Is4() {
			t.Errorf("%x: %s", b, a)
		}
	})
}
