package discovery

import (
	"net/netip"
	"testing"

	"simplebit/nat"
)

func TestMappingIsWhatTheServersSee(t *testing.T) {
	const (
		ei  = nat.EndpointIndependent
		ad  = nat.AddressDependent
		apd = nat.AddressAndPortDependent
	)
	for _, c := range []struct {
		port, addr likeness
		public     bool
		want       nat.Dependence
	}{
		{same, same, true, ei},
		{same, same, false, ei},
		{same, different, true, ad},
		{same, different, false, ad},
		{same, unseen, true, ei}, // nothing is translated
		{same, unseen, false, nat.Unknown},
		{different, same, false, apd},
		{different, different, false, apd},
		{different, unseen, false, apd},
		{different, unseen, true, apd},
		{unseen, same, false, ei},
		{unseen, different, false, nat.Unknown}, // by the address, or by the port as well
		{unseen, unseen, true, nat.Unknown},
	} {
		if got := mapping(c.port, c.addr, c.public); got != c.want {
			t.Errorf("other port %d, other address %d, public %t: %s, want %s", c.port, c.addr, c.public, got, c.want)
		}
	}
}

func TestFilteringIsWhoGetsThrough(t *testing.T) {
	for _, c := range []struct {
		both, port reply
		want       nat.Dependence
	}{
		{answered, answered, nat.EndpointIndependent},
		{answered, silence, nat.EndpointIndependent}, // lost
		{answered, unknown, nat.EndpointIndependent},
		{silence, answered, nat.AddressDependent},
		{silence, silence, nat.AddressAndPortDependent},
		{silence, unknown, nat.Unknown},
		{unknown, silence, nat.AddressAndPortDependent},
		{unknown, answered, nat.Unknown}, // one address: anybody, or known addresses
		{unknown, unknown, nat.Unknown},
	} {
		if got := filtering(c.both, c.port); got != c.want {
			t.Errorf("both %d, port %d: %s, want %s", c.both, c.port, got, c.want)
		}
	}
}

func TestReachableIsThatAStrangerGotThrough(t *testing.T) {
	for _, c := range []struct {
		reach reply
		two   bool
		f     nat.Dependence
		want  nat.Answer
	}{
		{answered, true, nat.AddressAndPortDependent, nat.Yes}, // a port that was opened on request
		{silence, true, nat.EndpointIndependent, nat.No},
		{answered, false, nat.Unknown, nat.Unsure},
		{silence, false, nat.Unknown, nat.No},
		{unknown, true, nat.EndpointIndependent, nat.Yes},
		{unknown, true, nat.AddressDependent, nat.Unsure},
		{unknown, false, nat.Unknown, nat.Unsure},
	} {
		if got := reachable(c.reach, c.two, c.f); got != c.want {
			t.Errorf("%+v: %s", c, got)
		}
	}
}

func TestDoubleIsWhoTheSecondHopIs(t *testing.T) {
	for _, c := range []struct {
		public    nat.Answer
		who, from string
		want      nat.Answer
	}{
		{nat.Yes, "", "", nat.No},
		{nat.No, "198.51.100.1", "192.168.1.10", nat.No},
		{nat.No, "100.64.1.1", "192.168.1.10", nat.Yes},
		{nat.No, "100.64.1.1", "100.64.7.7", nat.No}, // the carrier's alone
		{nat.No, "192.168.0.1", "192.168.1.10", nat.Unsure},
		{nat.No, "", "", nat.Unsure},
	} {
		seen := hopSeen{}
		if c.who != "" {
			seen = hopSeen{who: netip.MustParseAddr(c.who), from: netip.MustParseAddr(c.from)}
		}
		if got := double(c.public, seen); got != c.want {
			t.Errorf("%+v: %s", c, got)
		}
	}
}

func TestStepIsWhatSuccessivePortsHaveInCommon(t *testing.T) {
	for _, c := range []struct {
		ports []uint16
		want  int
	}{
		{nil, 0},
		{[]uint16{20000, 20001, 20002}, 0}, // too few
		{[]uint16{20000, 20001, 20002, 20003}, 1},
		{[]uint16{20000, 20002, 20004, 20008}, 2}, // somebody else took one
		{[]uint16{20000, 20002, 20003, 20008}, 1},
		{[]uint16{20003, 20002, 20001, 20000}, -1},
		{[]uint16{20008, 20004, 20002, 20000}, -2},
		{[]uint16{65534, 65535, 0, 1}, 1},
		{[]uint16{24094, 24095, 20000, 20001, 20002}, 1}, // counting began anew
		{[]uint16{24095, 20000, 20001, 24000, 24001, 24002}, 0},
		{[]uint16{20000, 31000, 20500, 44000, 21000}, 0},
		{[]uint16{20000, 20000, 20000, 20000, 20000}, 0},
		{[]uint16{20000, 20064, 20128, 20192}, 64},
		{[]uint16{20000, 20065, 20130, 20195}, 0},
	} {
		if got := step(c.ports); got != c.want {
			t.Errorf("%d: step %d, want %d", c.ports, got, c.want)
		}
	}
}

func TestServersAreToldApartByTheFirst(t *testing.T) {
	at := netip.MustParseAddrPort
	for _, c := range []struct {
		list  []netip.AddrPort
		other string
		want  servers
	}{
		{[]netip.AddrPort{at("198.18.1.2:1")}, "", servers{first: at("198.18.1.2:1")}},
		{
			[]netip.AddrPort{at("198.18.1.2:1"), at("[2001:db8::1]:2"), at("198.18.1.3:2"), at("[::ffff:198.18.1.2]:2"), at("198.18.1.3:1"), at("198.18.1.4:1")}, "198.18.1.9:9",
			servers{at("198.18.1.2:1"), at("198.18.1.2:2"), at("198.18.1.3:1"), at("198.18.1.3:2")},
		},
		{[]netip.AddrPort{at("198.18.1.2:1")}, "198.18.1.3:2", servers{at("198.18.1.2:1"), at("198.18.1.2:2"), at("198.18.1.3:1"), at("198.18.1.3:2")}},
		{[]netip.AddrPort{at("10.0.0.1:1")}, "10.0.0.2:2", servers{at("10.0.0.1:1"), at("10.0.0.1:2"), at("10.0.0.2:1"), at("10.0.0.2:2")}},
		// Nobody is sent to loopback, a multicast group or somebody's home by a server's word.
		{[]netip.AddrPort{at("198.18.1.2:1")}, "192.168.1.1:2", servers{first: at("198.18.1.2:1")}},
		{[]netip.AddrPort{at("198.18.1.2:1")}, "127.0.0.1:2", servers{first: at("198.18.1.2:1")}},
		{[]netip.AddrPort{at("10.0.0.1:1")}, "127.0.0.1:2", servers{first: at("10.0.0.1:1")}},
		{[]netip.AddrPort{at("10.0.0.1:1")}, "239.1.1.1:2", servers{first: at("10.0.0.1:1")}},
		{[]netip.AddrPort{at("198.18.1.2:1")}, "198.18.1.2:2", servers{first: at("198.18.1.2:1")}},
		{[]netip.AddrPort{at("198.18.1.2:1")}, "198.18.1.3:1", servers{first: at("198.18.1.2:1")}},
		{[]netip.AddrPort{at("198.18.1.2:1")}, "[2001:db8::1]:2", servers{first: at("198.18.1.2:1")}},
	} {
		got := sortServers(c.list)
		if c.other != "" {
			got.learn(at(c.other))
		}
		if got != c.want {
			t.Errorf("%v and %s: %v, want %v", c.list, c.other, got, c.want)
		}
	}
}
