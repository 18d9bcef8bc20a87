package edgeagent

import (
	"net"
	"net/netip"
	"slices"
	"strings"

	"simplebit/nat"
	"simplebit/nat/discovery"
	"simplebit/nat/portmap"
	"simplebit/nat/udpmux"
)

// surroundings is what the kernel tells of the network.
type surroundings struct {
	own       []netip.Addr // of all interfaces
	hosts     []netip.Addr // of those that others may reach
	gateways  [2]netip.Addr
	reachable [2]bool // whether there is a route to IPv4, and to IPv6
}

// look asks the kernel. What it does not tell is left out.
func look() (s surroundings) {
	interfaces, _ := net.Interfaces()
	for _, i := range interfaces {
		addrs, _ := i.Addrs()
		for _, a := range addrs {
			p, err := netip.ParsePrefix(a.String())
			if err != nil {
				continue
			}
			ip := p.Addr().Unmap().WithZone("")
			s.own = append(s.own, ip)
			if i.Flags&net.FlagUp != 0 && ip.IsGlobalUnicast() && !ofContainers(i.Name) {
				s.hosts = append(s.hosts, ip)
			}
		}
	}
	slices.SortFunc(s.own, netip.Addr.Compare)
	slices.SortStableFunc(s.hosts, byUse)
	s.gateways[0], _ = portmap.DefaultGateway()
	s.gateways[1], _ = portmap.DefaultGateway6()
	for i, a := range anywhere {
		s.reachable[i] = routed(a)
	}
	return s
}

// of leaves what matters to a socket: one that is bound to one address, or to one family, is nowhere else.
func (s surroundings) of(socket *udpmux.Socket) surroundings {
	bound := socket.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap().WithZone("")
	s.hosts = slices.DeleteFunc(s.hosts, func(a netip.Addr) bool {
		return !socket.Reaches(a) || !bound.IsUnspecified() && a != bound
	})
	for i, a := range anywhere {
		s.reachable[i] = s.reachable[i] && socket.Reaches(a.Addr())
	}
	return s
}

// byUse puts IPv4 before IPv6, which is what most peers have.
func byUse(a, b netip.Addr) int { return a.BitLen() - b.BitLen() }

// anywhere is an address of IPv4 and one of IPv6 that only a default route leads to.
var anywhere = [2]netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:9"), netip.MustParseAddrPort("[2001:db8::1]:9")}

// routed reports whether there is a route. Nothing is sent.
func routed(to netip.AddrPort) bool {
	c, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(to))
	if err != nil {
		return false
	}
	c.Close()
	return true
}

// ofContainers reports whether an interface leads to containers or virtual machines of this device: their addresses are the
// same on many devices, and nobody else's way leads there. A router's br-lan is none.
func ofContainers(name string) bool {
	for _, prefix := range []string{"docker", "veth", "virbr", "lxc", "lxdbr", "cni", "podman", "flannel", "cali"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	network, ok := strings.CutPrefix(name, "br-")
	return ok && len(network) == 12 && strings.Trim(network, "0123456789abcdef") == "" // Docker's
}

// moved reports whether the device is elsewhere in IPv4, or IPv6. Temporary addresses of IPv6 come and go.
func (s surroundings) moved(was surroundings, six bool) bool {
	i := 0
	if six {
		i = 1
	}
	of := func(s surroundings) []netip.Addr {
		return slices.DeleteFunc(slices.Clone(s.hosts), func(a netip.Addr) bool { return a.Is4() == six })
	}
	return s.gateways[i] != was.gateways[i] || s.reachable[i] != was.reachable[i] || !slices.Equal(of(s), of(was))
}

// behindRouter reports whether there seems to be a router that translates IPv4.
func (s surroundings) behindRouter() bool {
	if !s.gateways[0].IsValid() {
		return false
	}
	private := false
	for _, a := range s.hosts {
		if a.Is4() && nat.Public(a) {
			return false
		}
		private = private || a.Is4()
	}
	return private
}

// chooseServers returns the STUN servers to ask: of one family, IPv4 where there is a route, and first the surrogate's address
// that the socket sends to anyway.
func chooseServers(list []netip.AddrPort, surrogate netip.AddrPort, routed func(netip.AddrPort) bool) (servers []netip.AddrPort) {
	for _, length := range []int{32, 128} {
		for _, a := range list {
			if a.Addr().BitLen() == length && !slices.Contains(servers, a) && routed(a) {
				servers = append(servers, a)
			}
		}
		if len(servers) > 0 {
			break
		}
	}
	if i := slices.Index(servers, surrogate); i > 0 {
		servers = slices.Insert(slices.Delete(servers, i, i+1), 0, surrogate)
	}
	return servers
}

// judge adds what a router says to what was found out. One that has a private address outside, or a carrier's, is not the
// last; one that has the address at which the device is seen is the only one. Any other address is none that it can have.
func judge(r discovery.Result, mappings []portmap.Mapping) nat.Behaviour {
	b := r.Behaviour
	if b.Public != nat.No {
		return b
	}
	for _, m := range mappings {
		switch {
		case m.External.Addr() == r.Reflexive.Addr():
			b.Double = nat.No
		case !m.Public():
			b.Double = nat.Yes
		}
	}
	return b
}

// externalUDP is where the router says that it forwards the peer port's datagrams from; not valid: nowhere.
func externalUDP(mappings []portmap.Mapping) netip.AddrPort {
	for _, m := range mappings {
		if m.Protocol == portmap.UDP {
			return m.External
		}
	}
	return netip.AddrPort{}
}

// candidates is where the device's socket may be reached, without duplicates, the most direct ones first. What a router says it
// forwards is believed only at the address at which others see the device: else it could aim everybody's packets at somebody.
func candidates(hosts []netip.Addr, port uint16, tcp bool, mappings []portmap.Mapping, seen netip.AddrPort) (list []nat.Candidate) {
	add := func(c nat.Candidate) {
		same := func(have nat.Candidate) bool { return have.Addr == c.Addr }
		if a := c.Addr.Addr(); a.IsGlobalUnicast() && c.Addr.Port() > 0 && !slices.ContainsFunc(list, same) {
			list = append(list, c)
		}
	}
	seen = netip.AddrPortFrom(seen.Addr().Unmap(), seen.Port())
	var outside []nat.Candidate
	for _, m := range mappings {
		if m.Protocol == portmap.UDP && m.External.Addr() == seen.Addr() {
			byTCP := func(o portmap.Mapping) bool { return o.Protocol == portmap.TCP && o.External == m.External }
			outside = append(outside, nat.Candidate{Kind: nat.MappedCandidate, Addr: m.External, TCP: slices.ContainsFunc(mappings, byTCP)})
		}
	}
	outside = append(outside, nat.Candidate{Kind: nat.ReflexiveCandidate, Addr: seen})
	for _, a := range hosts[:min(len(hosts), nat.MaxCandidates-len(outside))] {
		add(nat.Candidate{Kind: nat.HostCandidate, Addr: netip.AddrPortFrom(a, port), TCP: tcp})
	}
	for _, c := range outside {
		add(c)
	}
	return list
}
