package link

import (
	"math/rand/v2"
	"net/netip"
	"testing"
)

// crowd is a Crowd whose places have names.
type crowd struct {
	*Crowd
	places map[string]*Place
	gone   []string // gave way
}

func newCrowd(l Limits) *crowd { return &crowd{Crowd: NewCrowd(l), places: map[string]*Place{}} }

func (c *crowd) enter(name, addr string) bool {
	p, out := c.Enter(netip.MustParseAddr(addr), func() { c.gone = append(c.gone, name) })
	if out != nil {
		out.GiveWay()
	}
	c.places[name] = p
	return p != nil
}

// gaveWay checks who has given way since it was last asked.
func (c *crowd) gaveWay(t *testing.T, names ...string) {
	t.Helper()
	if len(c.gone) != len(names) || len(names) > 0 && c.gone[0] != names[0] {
		t.Errorf("%v gave way, want %v", c.gone, names)
	}
	c.gone = nil
}

func TestWhoHasWaitedLongestOfAFullOriginGivesWay(t *testing.T) {
	for name, c := range map[string]struct {
		room  int
		addrs func(i int) netip.Addr
	}{
		"IPv4 address": {32, func(int) netip.Addr { return netip.MustParseAddr("192.0.2.1") }},
		"mapped":       {32, func(int) netip.Addr { return netip.MustParseAddr("::ffff:192.0.2.1") }},
		"/64":          {32, func(i int) netip.Addr { return netip.AddrFrom16([16]byte{0x20, 1, 15: byte(i)}) }},
		"/56":          {64, func(i int) netip.Addr { return netip.AddrFrom16([16]byte{0x20, 1, 7: byte(i)}) }},
		"/48":          {128, func(i int) netip.Addr { return netip.AddrFrom16([16]byte{0x20, 1, 6: byte(i)}) }},
	} {
		full := NewCrowd(Limits{})
		first, _ := full.Enter(netip.MustParseAddr("198.51.100.1"), nil)
		var mine []*Place
		for i := range c.room {
			p, out := full.Enter(c.addrs(i), nil)
			if out != nil {
				t.Fatalf("%s: one gave way to number %d", name, i)
			}
			mine = append(mine, p)
		}
		if _, out := full.Enter(c.addrs(c.room), nil); out != mine[0] || out == first {
			t.Errorf("%s: not the first of its own gave way", name)
		}
		if _, out := full.Enter(netip.MustParseAddr("198.51.100.2"), nil); out != nil {
			t.Errorf("%s: one gave way to somebody else while there is room", name)
		}
	}
}

func TestWhoHasFewPlacesLosesNoneToWhoHasMany(t *testing.T) {
	c := newCrowd(Limits{Total: 8, PerHost: 4})
	c.enter("honest", "192.0.2.1")
	for _, name := range []string{"a1", "a2", "a3"} {
		c.enter(name, "198.51.100.1")
	}
	for _, name := range []string{"b1", "b2", "b3", "b4"} {
		c.enter(name, "2001:db8::1")
	}
	c.gaveWay(t)
	c.enter("a4", "198.51.100.1")
	c.gaveWay(t, "b1")
	c.enter("joiner", "203.0.113.1")
	c.gaveWay(t, "a1")
}

func TestAKeptPlaceIsTakenByNobody(t *testing.T) {
	c := newCrowd(Limits{Total: 2, PerHost: 2})
	c.enter("first", "192.0.2.1")
	c.enter("second", "192.0.2.1")
	c.places["first"].Keep(true)
	c.enter("third", "192.0.2.1")
	c.gaveWay(t, "second")
	c.places["third"].Keep(true)
	if c.enter("fourth", "192.0.2.2") {
		t.Error("a fourth was let in")
	}
	c.gaveWay(t)
	c.places["first"].Keep(false)
	if !c.enter("fifth", "192.0.2.2") {
		t.Error("a fifth was kept out")
	}
	c.gaveWay(t, "first")
}

func TestACrowdForgetsWhoHasLeft(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	c := NewCrowd(Limits{Total: 20, PerHost: 3})
	in := map[*Place]bool{}
	for range 10_000 {
		if len(in) > 0 && random.IntN(3) == 0 {
			for p := range in {
				c.Leave(p)
				c.Leave(p)
				delete(in, p)
				break
			}
			continue
		}
		addr := netip.AddrFrom16([16]byte{0x20, 1, 6: byte(random.IntN(2)), 7: byte(random.IntN(4)), 15: byte(random.IntN(256))})
		if random.IntN(2) == 0 {
			addr = netip.AddrFrom4([4]byte{192, 0, 2, byte(random.IntN(8))})
		}
		p, out := c.Enter(addr, nil)
		if p == nil {
			t.Fatal("nobody gave way")
		}
		in[p] = true
		delete(in, out)
		if c.Len() != len(in) || len(in) > 20 {
			t.Fatalf("%d wait, want %d", c.Len(), len(in))
		}
	}
	for p := range in {
		c.Leave(p)
	}
	if c.Len() != 0 || len(c.from) != 0 {
		t.Errorf("%d wait, counted are %v", c.Len(), c.from)
	}
}
