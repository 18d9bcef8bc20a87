package broker

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"simplebit/nat"
	"simplebit/wire/control"
)

// siege is hostile devices and honest ones of both families on one torrent, in virtual time. The hostile ones say that the victim
// is their host of the other family.
type siege struct {
	*relayed
	named   []time.Time                   // when an attempt was told to name the victim
	answers func(o order) control.Punched // what a hostile device says
	honest  func(o order) control.Punched
	pairs   map[key]int // attempts
	later   []event
}

var victim = netip.MustParseAddrPort("[2001:db8:bad::1]:80")

func newSiege(t *testing.T, liars, others int) *siege {
	s := &siege{relayed: newRelayed(t, usual), pairs: map[key]int{}}
	s.honest = func(o order) control.Punched {
		return control.Punched{Attempt: o.punch.Attempt, Outcome: control.PunchFailed}
	}
	for i := range liars {
		s.enter(id(fmt.Sprintf("liar%d", i)), victim)
	}
	for i := range others {
		s.enter(id(fmt.Sprintf("other%d", i)), netip.AddrPortFrom(netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 1, byte(i)}), 6882))
	}
	return s
}

func (s *siege) enter(who id, six netip.AddrPort) {
	n := byte(len(s.lines))
	s.lines[who] = Line{netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 51, 100, n}), 6882), 0, true}
	s.connected(s.now, who, true)
	s.tell(who, six, nat.Unsure)
	s.has(who, torrent{1}, 10)
}

func (s *siege) tell(who id, six netip.AddrPort, hairpin nat.Answer) {
	b := behaviours["restricted"]
	b.Hairpin = hairpin
	s.told(s.now, who, nat.Network{Behaviour: b, Candidates: []nat.Candidate{{Kind: nat.HostCandidate, Addr: six}}})
}

// pass lets time pass; what devices are asked for has come to nothing 4 s later.
func (s *siege) pass(d time.Duration) {
	s.t.Helper()
	for end := s.now.Add(d); s.now.Before(end); s.now = s.now.Add(5 * pace) {
		for len(s.later) > 0 && !s.now.Before(s.later[0].at) {
			s.later[0].do()
			s.later = s.later[1:]
		}
		for i, o := range s.poll(s.now) {
			for _, n := range o.punch.Remote {
				if n.Addr.Addr() == victim.Addr() {
					s.named = append(s.named, s.now)
				}
			}
			if i%2 == 0 {
				s.pairs[s.attempts[o.punch.Attempt].key]++
			}
			answer := s.honest
			if o.to[0] == 'l' && s.answers != nil {
				answer = s.answers
			}
			m := answer(o)
			s.later = append(s.later, event{s.now.Add(4 * time.Second), func() { s.punched(s.now, o.to, m) }})
			if m.Outcome == control.PunchConnected && o.to[0] == 'l' {
				s.later = append(s.later, event{s.now.Add(4 * time.Second), func() {
					s.punched(s.now, o.to, control.Punched{Attempt: m.Attempt, Outcome: control.PunchLost})
				}})
			}
		}
		if err := s.audit(); err != nil {
			s.t.Fatal(err)
		}
	}
}

// most is how many attempts named the victim within namedFor.
func (s *siege) most() (n int) {
	for i, from := range s.named {
		j := i
		for j < len(s.named) && s.named[j].Sub(from) < namedFor {
			j++
		}
		n = max(n, j-i)
	}
	return n
}

// Whatever hostile devices say, and however many they are, a host that never answers is named in two attempts of ten minutes, and
// a pair rests longer each time.
func TestLiarsHaveNobodyPunchedOften(t *testing.T) {
	lies := map[string]func(o order) control.Punched{
		"failed": nil,
		"busy": func(o order) control.Punched {
			return control.Punched{Attempt: o.punch.Attempt, Outcome: control.PunchBusy}
		},
		"connected, and lost at once": func(o order) control.Punched {
			return control.Punched{Attempt: o.punch.Attempt, Outcome: control.PunchConnected, Remote: o.punch.Observed}
		},
	}
	for name, lie := range lies {
		for _, size := range [][2]int{{1, 1}, {5, 10}} {
			s := newSiege(t, size[0], size[1])
			s.answers = lie
			for i := range 90 { // half an hour, in which they tell of a new network every 20 s
				s.pass(20 * time.Second)
				for n := range size[0] {
					s.tell(id(fmt.Sprintf("liar%d", n)), victim, nat.Answer(i%2))
				}
			}
			if n := s.most(); n == 0 || n > maxNamed {
				t.Errorf("%s, %v: %d attempts name the victim within %s", name, size, n, namedFor)
			}
			for k, n := range s.pairs { // 0, 65, 195 s, and as many again at three changes of network that count
				if k.a[0] == 'l' && k.b[0] == 'o' && n > 14 {
					t.Errorf("%s, %v: %d attempts of %v in half an hour", name, size, n, k)
				}
			}
			if size[0] == 1 && s.pairs[key{"liar0", "other0"}] < 4 {
				t.Errorf("%s: %v attempts in half an hour", name, s.pairs)
			}
		}
	}
}

// A host that answers is one that the device may name to everybody; and a liar does not keep it from that.
func TestAHostThatAnswersIsNamedAgain(t *testing.T) {
	s := newSiege(t, 2, 0)
	s.pass(20 * time.Minute)
	for i := range 6 {
		s.enter(id(fmt.Sprintf("peer%d", i)), netip.AddrPortFrom(netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 2, byte(i)}), 6882))
	}
	s.honest = func(o order) control.Punched {
		m := control.Punched{Attempt: o.punch.Attempt, Outcome: control.PunchFailed}
		for _, n := range o.punch.Remote {
			if n.Addr.Addr().Is6() && o.punch.Peer[0] == 'p' {
				m.Outcome, m.Remote = control.PunchConnected, n.Addr
			}
		}
		return m
	}
	s.pass(time.Minute)
	for i := range 6 {
		if n := s.devices[id(fmt.Sprintf("peer%d", i))].paths; n < 5 {
			t.Errorf("peer%d has %d paths", i, n)
		}
	}
}

// Who is connected over QUIC has UDP, whatever it says: it is no way to get relays.
func TestUDPIsNotBlockedWhereControlUsesIt(t *testing.T) {
	s := newRelayed(t, usual)
	s.come("other", torrent{1}, 1000, "restricted")
	s.come("liar", torrent{1}, 0, "restricted")
	s.told(s.now, "liar", nat.Network{Behaviour: behaviours["blocked"]})
	if s.wait(relayAfter - pace); len(s.on) != 0 || len(s.attempts) != 1 {
		t.Errorf("%d relays and %d attempts", len(s.on), len(s.attempts))
	}
}
