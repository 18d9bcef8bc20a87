package virtual

import (
	"math/rand/v2"
	"net/netip"
	"time"
)

// Packet is the two ends of a UDP datagram.
type Packet struct{ From, To netip.AddrPort }

// back is the packet that answers p.
func (p Packet) back() Packet { return Packet{From: p.To, To: p.From} }

// flow is what connection tracking keeps of two ends that talk: how the first packet looked when it came, and how an answer
// to what became of it looks.
type flow struct {
	sent   Packet
	answer Packet
	ends   time.Time

	newer, older *flow // of the same source
}

// maxFlows bounds the flows of a NAT, as nf_conntrack_max does: what begins another one is lost.
const maxFlows = 1 << 16

// flows is connection tracking (nf_conntrack_core.c, nf_nat_core.c). Each flow is known by two packets, which no other
// flow is known by.
type flows struct {
	known  map[Packet]*flow
	newest map[netip.AddrPort]*flow // by source, before translation
	swept  time.Time
	random *rand.Rand
}

func newFlows(random *rand.Rand) flows {
	return flows{known: make(map[Packet]*flow), newest: make(map[netip.AddrPort]*flow), random: random}
}

// find returns the live flow that the packet belongs to, and whether it is an answer.
func (t *flows) find(now time.Time, p Packet) (f *flow, answer bool) {
	f = t.known[p]
	if f == nil {
		return nil, false
	}
	if !now.Before(f.ends) {
		t.remove(f)
		return nil, false
	}
	return f, p == f.answer
}

// taken reports whether a flow is known by the packet already.
func (t *flows) taken(now time.Time, p Packet) bool {
	f, _ := t.find(now, p)
	return f != nil
}

// add keeps a flow, unless it would be mistaken for another one or there is no room.
func (t *flows) add(now time.Time, f *flow) bool {
	if t.taken(now, f.sent) || t.taken(now, f.answer) || !t.room(now) {
		return false
	}
	t.known[f.sent], t.known[f.answer] = f, f
	source := f.sent.From
	if f.older = t.newest[source]; f.older != nil {
		f.older.newer = f
	}
	t.newest[source] = f
	return true
}

// room makes room for one more flow if it can. A full table is searched for ended flows at most once a second.
func (t *flows) room(now time.Time) bool {
	if len(t.known) < 2*maxFlows {
		return true
	}
	if now.Sub(t.swept) < time.Second {
		return false
	}
	t.swept = now
	for _, f := range t.known {
		if !now.Before(f.ends) {
			t.remove(f)
		}
	}
	return len(t.known) < 2*maxFlows
}

func (t *flows) remove(f *flow) {
	delete(t.known, f.sent)
	delete(t.known, f.answer)
	if f.older != nil {
		f.older.newer = f.newer
	}
	switch {
	case f.newer != nil:
		f.newer.older = f.older
	case f.older != nil:
		t.newest[f.sent.From] = f.older
	default:
		delete(t.newest, f.sent.From)
	}
	f.newer, f.older = nil, nil
}

// span is what the source of a flow may be translated to.
type span struct {
	addr        netip.Addr
	first, last uint16 // ports; 0: any, the device's own if possible
	random      bool   // whatever is free: nothing is kept
}

func (s span) holds(a netip.AddrPort) bool {
	return a.Addr() == s.addr && (s.first == 0 || a.Port() >= s.first && a.Port() <= s.last)
}

// translate gives a new flow its source outside, as get_unique_tuple does: the same as its source has towards others, else
// its own port, else a random one; and one by which its answers cannot be mistaken for another flow's, if there is one.
func (t *flows) translate(now time.Time, f *flow, s span) {
	own := f.sent.From
	if !s.random {
		if s.holds(own) {
			if t.tryAs(now, f, own) {
				return
			}
		} else if same, ok := t.outside(now, own, s); ok && t.tryAs(now, f, same) {
			return
		}
	}
	kept := netip.AddrPortFrom(s.addr, own.Port())
	if !s.random {
		// A single port that is the device's own is taken as it is.
		if s.holds(kept) && (t.tryAs(now, f, kept) || s.first != 0 && s.first == s.last) {
			f.answer.To = kept
			return
		}
	}
	first, ports := portsLike(own.Port())
	if s.first != 0 {
		first, ports = int(s.first), int(s.last)-int(s.first)+1
	}
	t.pick(now, f, s.addr, first, ports)
}

// portsLike is the range of ports that stand for one where none is asked for: privileged ports keep their privilege.
func portsLike(port uint16) (first, ports int) {
	switch {
	case port < 512:
		return 1, 511
	case port < 1024:
		return 600, 424
	}
	return 1024, 65536 - 1024
}

// The most ports that are tried in a row, and the fewest of the last row.
const (
	mostTries  = 128
	leastTries = 16
)

// pick tries ports of the range from a random one on, in ever shorter rows. The last one stays if all are taken.
func (t *flows) pick(now time.Time, f *flow, addr netip.Addr, first, ports int) {
	for tries := min(ports, mostTries); ; tries /= 2 {
		from := t.random.IntN(1 << 16)
		for i := range tries {
			if t.tryAs(now, f, netip.AddrPortFrom(addr, uint16(first+(from+i)%ports))) {
				return
			}
		}
		if tries >= ports || tries < leastTries {
			return
		}
	}
}

// tryAs gives a new flow that source, and reports whether nothing else is known by its answers.
func (t *flows) tryAs(now time.Time, f *flow, source netip.AddrPort) bool {
	f.answer.To = source
	return !t.taken(now, f.answer)
}

// outside returns what the newest flow of a source is translated to, of those that the span holds.
func (t *flows) outside(now time.Time, source netip.AddrPort, s span) (netip.AddrPort, bool) {
	for f := t.newest[source]; f != nil; f = f.older {
		if now.Before(f.ends) && s.holds(f.answer.To) {
			return f.answer.To, true
		}
	}
	return netip.AddrPort{}, false
}
