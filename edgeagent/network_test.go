package edgeagent

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"os"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"simplebit/nat"
	"simplebit/nat/discovery"
	"simplebit/nat/portmap"
)

var (
	addr = netip.MustParseAddr
	at   = netip.MustParseAddrPort
)

func addrs(list ...string) (a []netip.Addr) {
	for _, s := range list {
		a = append(a, addr(s))
	}
	return a
}

func mapped(p portmap.Protocol, external string) portmap.Mapping {
	return portmap.Mapping{Port: portmap.Port{Protocol: p, Internal: 6882}, External: at(external)}
}

func TestCandidatesAreWhereTheSocketMayBeReached(t *testing.T) {
	host := func(a string, tcp bool) nat.Candidate {
		return nat.Candidate{Kind: nat.HostCandidate, Addr: at(a), TCP: tcp}
	}
	reflexive := func(a string) nat.Candidate { return nat.Candidate{Kind: nat.ReflexiveCandidate, Addr: at(a)} }
	forwarded := func(a string, tcp bool) nat.Candidate {
		return nat.Candidate{Kind: nat.MappedCandidate, Addr: at(a), TCP: tcp}
	}
	for name, c := range map[string]struct {
		hosts    []netip.Addr
		tcp      bool
		mappings []portmap.Mapping
		seen     netip.AddrPort
		want     []nat.Candidate
	}{
		"nothing is known": {},
		"home": {
			addrs("192.168.1.10"), true, nil, at("20.0.0.1:40000"),
			[]nat.Candidate{host("192.168.1.10:6882", true), reflexive("20.0.0.1:40000")},
		},
		"an open port, which is the reflexive one too": {
			addrs("192.168.1.10"), true, []portmap.Mapping{mapped(portmap.UDP, "20.0.0.1:6882"), mapped(portmap.TCP, "20.0.0.1:6882")},
			at("20.0.0.1:6882"),
			[]nat.Candidate{host("192.168.1.10:6882", true), forwarded("20.0.0.1:6882", true)},
		},
		"other ports": {
			addrs("192.168.1.10"), true, []portmap.Mapping{mapped(portmap.UDP, "20.0.0.1:7000"), mapped(portmap.TCP, "20.0.0.1:8000")},
			at("20.0.0.1:6882"),
			[]nat.Candidate{host("192.168.1.10:6882", true), forwarded("20.0.0.1:7000", false), reflexive("20.0.0.1:6882")},
		},
		"a router that lies": {
			addrs("192.168.1.10"), true, []portmap.Mapping{mapped(portmap.UDP, "8.8.8.8:53")}, at("20.0.0.1:6882"),
			[]nat.Candidate{host("192.168.1.10:6882", true), reflexive("20.0.0.1:6882")},
		},
		"public, of both families": {
			addrs("20.0.0.1", "2001:db8::1"), false, nil, at("[::ffff:20.0.0.1]:6882"),
			[]nat.Candidate{host("20.0.0.1:6882", false), host("[2001:db8::1]:6882", false)},
		},
		"loopback": {nil, true, nil, at("127.0.0.1:6882"), nil},
	} {
		if got := candidates(c.hosts, 6882, c.tcp, c.mappings, c.seen); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
	var many []netip.Addr
	for a := addr("10.0.0.1"); len(many) < 40; a = a.Next() {
		many = append(many, a)
	}
	got := candidates(many, 6882, true, []portmap.Mapping{mapped(portmap.UDP, "20.0.0.1:1")}, at("20.0.0.1:2"))
	if len(got) != nat.MaxCandidates || got[len(got)-1] != reflexive("20.0.0.1:2") {
		t.Errorf("%d candidates: %v", len(got), got)
	}
}

func TestARouterTellsWhetherThereIsAnother(t *testing.T) {
	home := discovery.Result{Behaviour: nat.Behaviour{Public: nat.No, Double: nat.Unsure}, Reflexive: at("20.0.0.1:6882")}
	for _, c := range []struct {
		external string
		want     nat.Answer
	}{
		{"20.0.0.1:6882", nat.No},
		{"192.168.0.17:6882", nat.Yes},
		{"100.64.3.3:6882", nat.Yes},
		{"8.8.8.8:6882", nat.Unsure}, // a lie
	} {
		if got := judge(home, []portmap.Mapping{mapped(portmap.UDP, c.external)}).Double; got != c.want {
			t.Errorf("%s: %s, want %s", c.external, got, c.want)
		}
	}
	if got := judge(home, nil).Double; got != nat.Unsure {
		t.Error(got)
	}
	public := discovery.Result{Behaviour: nat.Behaviour{Public: nat.Yes, Double: nat.No}}
	if got := judge(public, []portmap.Mapping{mapped(portmap.UDP, "192.168.0.17:6882")}).Double; got != nat.No {
		t.Error(got)
	}
}

func TestServersAreOfOneFamilyAndTheOneInUseIsFirst(t *testing.T) {
	list := []netip.AddrPort{at("[2001:db8::1]:1"), at("20.0.0.1:1"), at("20.0.0.1:1"), at("20.0.0.1:2"), at("20.0.0.2:1")}
	both := func(netip.AddrPort) bool { return true }
	if got, want := chooseServers(list, at("20.0.0.2:1"), both), []netip.AddrPort{at("20.0.0.2:1"), at("20.0.0.1:1"), at("20.0.0.1:2")}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if got, want := chooseServers(list, at("20.0.0.2:1"), func(a netip.AddrPort) bool { return a.Addr().Is6() }), list[:1]; !slices.Equal(got, want) {
		t.Errorf("without IPv4: %v, want %v", got, want)
	}
	if got := chooseServers(list, at("20.0.0.2:1"), func(netip.AddrPort) bool { return false }); got != nil {
		t.Errorf("without a network: %v", got)
	}
	if got := chooseServers(nil, at("20.0.0.2:1"), both); got != nil {
		t.Errorf("an older surrogate: %v", got)
	}
}

func TestMovingIsAnotherAddressOrGatewayOfTheFamily(t *testing.T) {
	was := surroundings{hosts: addrs("192.168.1.10", "2001:db8::1"), reachable: [2]bool{true, true}}
	was.gateways[0] = addr("192.168.1.1")
	for name, c := range map[string]struct {
		change    func(*surroundings)
		four, six bool
	}{
		"nothing":                     {func(*surroundings) {}, false, false},
		"a temporary address of IPv6": {func(s *surroundings) { s.hosts = append(s.hosts, addr("2001:db8::2")) }, false, true},
		"another address":             {func(s *surroundings) { s.hosts[0] = addr("192.168.1.11") }, true, false},
		"another gateway":             {func(s *surroundings) { s.gateways[0] = addr("192.168.1.2") }, true, false},
		"no IPv6 any more":            {func(s *surroundings) { s.reachable[1] = false }, false, true},
	} {
		now := was
		now.hosts = slices.Clone(was.hosts)
		c.change(&now)
		if four, six := now.moved(was, false), now.moved(was, true); four != c.four || six != c.six {
			t.Errorf("%s: %t, %t in IPv6", name, four, six)
		}
	}
}

func TestOnlyRoutersAreAskedForPorts(t *testing.T) {
	gateway := [2]netip.Addr{addr("192.168.1.1")}
	for _, c := range []struct {
		s    surroundings
		want bool
	}{
		{surroundings{hosts: addrs("192.168.1.10"), gateways: gateway}, true},
		{surroundings{hosts: addrs("100.64.1.10"), gateways: gateway}, true},
		{surroundings{hosts: addrs("192.168.1.10")}, false},
		{surroundings{hosts: addrs("20.0.0.1"), gateways: gateway}, false},
		{surroundings{hosts: addrs("192.168.1.10", "20.0.0.1"), gateways: gateway}, false},
		{surroundings{hosts: addrs("2001:db8::1"), gateways: gateway}, false},
	} {
		if got := c.s.behindRouter(); got != c.want {
			t.Errorf("%+v: %t", c.s, got)
		}
	}
}

func TestNetworksOfContainersAreNobodysWay(t *testing.T) {
	for name, want := range map[string]bool{
		"eth0": false, "wlan0": false, "br-lan": false, "br0": false, "docker0": true, "veth12ab": true, "br-0123456789ab": true, "virbr0": true,
	} {
		if got := ofContainers(name); got != want {
			t.Errorf("%s: %t", name, got)
		}
	}
}

func TestANetworkThatChangesAllTheTimeIsFoundOutOnceAMinute(t *testing.T) {
	now := time.Unix(1e9, 0)
	begin := now
	l := lookout{jitter: func() float64 { return 0.5 }}
	if l.isDue(now) {
		t.Error("due before anything is known")
	}
	began := 0
	for now.Sub(begin) < time.Hour {
		l.stir(now)
		if now = now.Add(stirTime); l.isDue(now) || now.After(l.due) {
			l.begin(now)
			began++
		}
		now = now.Add(time.Second)
		if l.isDue(now) {
			l.begin(now)
			began++
		}
		l.ended(now, nil)
	}
	if began < 50 || began > 63 {
		t.Errorf("found out %d times in an hour", began)
	}
}

func TestWhatIsKnownIsCheckedAgain(t *testing.T) {
	now := time.Unix(1e9, 0)
	l := lookout{jitter: func() float64 { return 0.5 }}
	l.stir(now)
	l.begin(now)
	l.ended(now, nil)
	if got := l.due.Sub(now); got != 4*time.Hour {
		t.Errorf("again after %s", got)
	}
	var waits []time.Duration
	for range 8 {
		l.begin(now)
		l.ended(now, errors.New("nobody answers"))
		waits = append(waits, l.due.Sub(now)/time.Minute)
	}
	if want := []time.Duration{5, 10, 20, 40, 80, 160, 240, 240}; !slices.Equal(waits, want) {
		t.Errorf("after failures: %d minutes, want %d", waits, want)
	}
	l.begin(now)
	l.stir(now.Add(time.Minute)) // while it is being found out
	l.ended(now.Add(2*time.Minute), context.Canceled)
	if !l.isDue(now.Add(3 * time.Minute)) {
		t.Error("a change meanwhile is forgotten")
	}
}

func TestANetworkIsLookedAtEveryMinuteWhereTheKernelDoesNotTell(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		stirred := 0
		done := make(chan struct{})
		go func() {
			watchNotices(ctx, func() (*os.File, error) { return nil, unix.EPERM }, slog.New(slog.DiscardHandler), func() { stirred++ })
			close(done)
		}()
		time.Sleep(10*time.Minute + time.Second)
		stop()
		<-done
		if stirred != 10 {
			t.Errorf("looked %d times in ten minutes", stirred)
		}
	})
}

func TestTheSurrogateWithoutAnAddressOfItsOwnIsWhereItWasDialled(t *testing.T) {
	n := &network{wake: make(signal, 1)}
	n.greet(greeting{surrogate: at("20.0.0.1:4433"), stun: []netip.AddrPort{at("0.0.0.0:4433"), at("[::]:4434"), at("20.0.0.9:1")}})
	if got, want := n.told.greeting.stun, []netip.AddrPort{at("20.0.0.1:4433"), at("20.0.0.1:4434"), at("20.0.0.9:1")}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}
