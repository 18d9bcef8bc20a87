package udpmux

import (
	"net/netip"
	"slices"
	"testing"
	"time"
)

// told is a socket without a socket that tells of new sources, and what it told.
func told(routes *Routes) (*dispatcher, *[]netip.AddrPort) {
	s := handled(routes, func(Kind, Run) {})
	list := new([]netip.AddrPort)
	s.OnNewSource(func(_ time.Time, _ Kind, r Run) { *list = append(*list, r.From) })
	return newDispatcher(s, maxRuns), list
}

func TestSourceIsToldOfOnceWhateverItSends(t *testing.T) {
	var got []string
	s := handled(agentRoutes(t), func(Kind, Run) {})
	s.OnNewSource(func(_ time.Time, k Kind, r Run) { got = append(got, k.String()+" "+r.From.String()) })
	d := newDispatcher(s, maxRuns)
	from := netip.MustParseAddrPort
	now := time.Unix(1000, 0)
	for _, r := range []Run{
		{From: from("198.51.100.1:1"), Data: []byte("?")},
		{From: from("198.51.100.1:2"), Data: utpPacket(0, 0, 0)},
		{From: from("[2001:db8::2]:2"), Data: stunMessage(1, attribute(6, activeUser))},
		{From: controlAddr, Data: []byte("@")},
		{From: stunAddr, Data: []byte("?")},
		{From: from("198.51.100.1:1"), Data: utpPacket(0, 0, 0)},
		{From: from("198.51.100.1:2"), Data: []byte("?")},
		{From: from("[2001:db8::3]:2"), Data: []byte("?")},
	} {
		r.Size = len(r.Data)
		d.dispatch(now, []Run{r})
	}
	want := []string{"drop 198.51.100.1:1", "utp 198.51.100.1:2", "stun [2001:db8::2]:2", "drop [2001:db8::3]:2"}
	if !slices.Equal(got, want) {
		t.Errorf("told of %q, not %q", got, want)
	}
}

func TestFloodFromMadeUpSourcesIsToldOfUpToARate(t *testing.T) {
	d, list := told(agentRoutes(t))
	steady := Run{From: netip.MustParseAddrPort("203.0.113.77:7"), Data: []byte("?"), Size: 1}
	now := time.Unix(1000, 0)
	d.dispatch(now, []Run{steady})
	flood := func() {
		for i := range 100_000 {
			r := Run{From: netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 51, byte(i >> 8), byte(i)}), uint16(1+i>>16)), Data: []byte("?"), Size: 1}
			d.dispatch(now, []Run{r, steady})
		}
	}
	flood()
	if len(*list) != MaxNewSources {
		t.Errorf("told of %d sources in a second, not %d", len(*list), MaxNewSources)
	}
	now = now.Add(time.Second)
	flood()
	if len(*list) != 2*MaxNewSources {
		t.Errorf("told of %d sources in two seconds, not %d", len(*list), 2*MaxNewSources)
	}
	times := 0
	for _, a := range *list {
		if a == steady.From {
			times++
		}
	}
	if times != 1 {
		t.Errorf("a source that goes on sending is told of %d times", times)
	}
	if allocs := testing.AllocsPerRun(1000, func() { d.dispatch(now, []Run{steady}) }); allocs > 0 {
		t.Errorf("%v allocations a run", allocs)
	}
}

func TestNewSourcesOfASetAreToldOfWithTheirSocket(t *testing.T) {
	peer, main := open(t, "udp", ":0", Config{}), open(t, "udp", ":0", Config{})
	s, got := NewSet(main), make(chan arrival, 10)
	s.OnNewSource(func(_ time.Time, _ Kind, r Run) { got <- arrival{r.Via, r.From, r.Data[0]} })
	defer s.Close()
	run(t, main)
	x := further(t, s)
	for _, to := range []*Socket{main, x} {
		for i := range 3 {
			send(t, peer, at(to, "127.0.0.1"), byte(i))
		}
		if g := <-got; g != (arrival{to, at(peer, "127.0.0.1"), 0}) {
			t.Errorf("told of %+v", g)
		}
	}
	send(t, peer, at(x, "::1"), 9)
	if g := <-got; g != (arrival{x, at(peer, "::1"), 9}) {
		t.Errorf("told of %+v", g)
	}
}
