package discovery

import (
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"time"

	"simplebit/integration/natlab"
	"simplebit/nat"
)

// slack is what a busy machine may add; how long a discovery takes by itself is seen in the transcripts.
const slack = 5 * time.Second

// place is a home that a device sits in.
type place struct {
	name     string
	pc       *natlab.Host
	want     nat.Behaviour
	external netip.Addr
	six      bool
	ttl      int // of openers
}

// places makes a home of every kind, and some behind carriers.
func (s *street) places() (all []place) {
	s.t.Helper()
	add := func(name string, kind natlab.Kind, carrier *natlab.Carrier) {
		r, pc := s.home(name, natlab.RouterConfig{Kind: kind, Carrier: carrier})
		p := place{name, pc, r.Expect(), r.External(), kind == natlab.IPv6Open || kind == natlab.IPv6Firewalled, 0}
		if p.want.Public == nat.No && !p.six {
			p.ttl = 2 // the core's
		}
		switch {
		case carrier != nil:
			p.external = carrier.External()
			p.ttl = 3
		case p.want.Public == nat.Yes && p.six:
			p.external = pc.Addr6()
		case p.want.Public == nat.Yes:
			p.external = pc.Addr()
		}
		all = append(all, p)
	}
	for i, k := range natlab.Kinds() {
		add(fmt.Sprintf("home%d", i), k, nil)
		all[i].name = string(k)
	}
	carrier := func(name string, c natlab.CarrierConfig) *natlab.Carrier {
		made, err := s.lab.Carrier(name, c)
		if err != nil {
			s.t.Fatal(err)
		}
		return made
	}
	plain, hairpin := carrier("cgn", natlab.CarrierConfig{}), carrier("cgn-hairpin", natlab.CarrierConfig{Hairpin: true})
	add("cgn-home", natlab.PortRestricted, plain)
	add("cgn-alone", natlab.None, plain)
	add("cgn-full", natlab.FullCone, hairpin)
	return all
}

func TestEveryKindIsRecognised(t *testing.T) {
	t.Parallel()
	s := newStreet(t)
	places := s.places()
	for name, c := range map[string]struct {
		four, six []netip.AddrPort
		change    func(*nat.Behaviour)
	}{
		"two addresses": {s.two.four, s.two.six, func(*nat.Behaviour) {}},
		"one address":   {s.one.four, s.one.six, hideFromOneAddress},
	} {
		t.Run(name, func(t *testing.T) {
			var all sync.WaitGroup
			defer all.Wait()
			for _, p := range places {
				servers := c.four
				if p.six {
					servers = c.six
				}
				c.change(&p.want)
				all.Go(func() { p.check(t, s.discover(p.pc, task{Servers: servers})) })
			}
		})
	}
}

// hideFromOneAddress makes unknown what one address cannot tell.
func hideFromOneAddress(b *nat.Behaviour) {
	if b.Blocked {
		return
	}
	if b.Filtering != nat.AddressAndPortDependent {
		b.Filtering, b.Reachable = nat.Unknown, nat.Unsure
	}
	if b.Mapping != nat.AddressAndPortDependent && b.Public != nat.Yes {
		b.Mapping = nat.Unknown
	}
}

func (p place) check(t *testing.T, got report) {
	if got.Error != "" {
		t.Errorf("%s: %s", p.name, got.Error)
	}
	if got.First.Behaviour != p.want {
		t.Errorf("%s: found\n%+v, want\n%+v", p.name, got.First.Behaviour, p.want)
	}
	if got.FirstAfter > unanswered+slack {
		t.Errorf("%s: the first verdict takes %s", p.name, got.FirstAfter)
	}
	if p.want.Blocked {
		return
	}
	if at := got.First.Reflexive; at.Addr() != p.external || p.want.Preserved == nat.Yes && at.Port() != got.Port {
		t.Errorf("%s: the main socket, port %d, is seen at %s, want %s", p.name, got.Port, at, p.external)
	}
	if got.First.OpenerTTL != p.ttl {
		t.Errorf("%s: openers live for %d, want %d", p.name, got.First.OpenerTTL, p.ttl)
	}
	if got.Final.Behaviour.Lifetime != 30*time.Millisecond {
		t.Errorf("%s: mappings live for %s", p.name, got.Final.Behaviour.Lifetime)
	}
}

func TestLifetimeIsTheLongestSilenceThatAMappingOutlives(t *testing.T) {
	t.Parallel()
	s := newStreet(t)
	_, pc := s.home("home", natlab.RouterConfig{UDPTimeout: 4 * time.Second})
	got := s.discover(pc, task{Silences: [3]time.Duration{500 * time.Millisecond, time.Second, 8 * time.Second}})
	if got.First.Behaviour.Lifetime != 0 || got.Final.Behaviour.Lifetime != time.Second {
		t.Errorf("first %s, then %s", got.First.Behaviour.Lifetime, got.Final.Behaviour.Lifetime)
	}
}

// Without a word of routers there is a ladder of TTLs, see nat/punch.
func TestOpenersTTLIsUnknownWhereRoutersAreSilent(t *testing.T) {
	t.Parallel()
	s := newStreet(t)
	router, pc := s.home("home", natlab.RouterConfig{})
	rules := "table ip deaf { chain in { type filter hook prerouting priority -300; icmp type time-exceeded drop; }; }"
	if out, err := router.Command(t.Context(), "nft", rules).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	got := s.discover(pc, task{})
	if got.First.OpenerTTL != 0 || got.First.Behaviour.Double != nat.Unsure || got.First.Behaviour.Mapping != nat.EndpointIndependent {
		t.Errorf("found %+v", got.First)
	}
	if got.FirstAfter > unanswered+slack {
		t.Errorf("the first verdict takes %s", got.FirstAfter)
	}
}

func TestSilenceOfServersIsNoBlockWhereUDPWorks(t *testing.T) {
	t.Parallel()
	s := newStreet(t)
	router, pc := s.home("home", natlab.RouterConfig{})
	second, err := router.Host("second")
	if err != nil {
		t.Fatal(err)
	}
	deaf := []netip.AddrPort{netip.AddrPortFrom(s.one.four[0].Addr(), 9), netip.AddrPortFrom(s.one.four[0].Addr(), 10)}
	var both sync.WaitGroup
	defer both.Wait()
	both.Go(func() {
		got := s.discover(pc, task{Servers: deaf, Works: true})
		if got.Error == "" || got.Final.Behaviour != (nat.Behaviour{}) {
			t.Errorf("found %+v, %q", got.Final, got.Error)
		}
	})
	both.Go(func() {
		if got := s.discover(second, task{Servers: deaf}); got.Error != "" || got.Final.Behaviour != (nat.Behaviour{Blocked: true}) {
			t.Errorf("found %+v, %q", got.Final, got.Error)
		}
	})
}

func TestLossCostsNoMoreDatagramsThanThereMayBe(t *testing.T) {
	t.Parallel()
	s := newStreet(t)
	router, pc := s.home("home", natlab.RouterConfig{})
	if err := router.SetLoss(40); err != nil {
		t.Fatal(err)
	}
	got := s.discover(pc, task{})
	if b := got.First.Behaviour; got.FirstAfter > 10*time.Second+slack || b.Mapping == nat.AddressDependent || b.Mapping == nat.AddressAndPortDependent {
		t.Errorf("found %+v after %s", b, got.FirstAfter)
	}
}
