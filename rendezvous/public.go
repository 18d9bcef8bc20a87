package rendezvous

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// maxPublic is the most addresses of one family in --public: RFC 5780 has a use for two.
const maxPublic = 2

// checkPublic refuses what is no host or one address too many.
func checkPublic(publics []string) error {
	for _, p := range publics {
		if _, _, err := splitPublic(p, "1"); err != nil {
			return err
		}
	}
	four, six := 0, 0
	for _, a := range publicAddrs(publics) {
		if a.Is4() {
			four++
		} else {
			six++
		}
	}
	if max(four, six) > maxPublic {
		return fmt.Errorf("--public: want at most %d addresses of one family, and names", maxPublic)
	}
	return nil
}

// checkSecond refuses two addresses of one family with which the surrogate could not do what they are for: to answer STUN
// from each of them. own is the machine's.
func checkSecond(publics []netip.Addr, control string, own []net.Addr) error {
	for _, a := range publics {
		other := slices.IndexFunc(publics, func(o netip.Addr) bool { return o != a && o.Is4() == a.Is4() })
		if other < 0 {
			continue
		}
		host, port, _ := net.SplitHostPort(control)
		if bound, err := netip.ParseAddr(host); host != "" && (err != nil || !bound.IsUnspecified()) {
			return fmt.Errorf("--control %q: with --public %v and %v it listens on both: want :%s, or leave one of them out", control, a, publics[other], port)
		}
		if !slices.ContainsFunc(own, func(o net.Addr) bool {
			p, err := netip.ParsePrefix(o.String())
			return err == nil && p.Addr().Unmap() == a
		}) {
			return fmt.Errorf("--public %v: with %v as well it must be an address of this machine: add it, or leave one of them out", a, publics[other])
		}
	}
	return nil
}

// publicAddrs is those of --public that are addresses and not names, each once.
func publicAddrs(publics []string) (list []netip.Addr) {
	for _, p := range publics {
		host, _, _ := splitPublic(p, "1")
		if a, err := netip.ParseAddr(host); err == nil && !slices.Contains(list, a.Unmap()) {
			list = append(list, a.Unmap())
		}
	}
	return list
}

// splitPublic splits --public, whose port, a forwarded one, may be missing.
func splitPublic(public, defaultPort string) (host, port string, err error) {
	host, port, err = net.SplitHostPort(public)
	if err != nil {
		host, port = strings.TrimSuffix(strings.TrimPrefix(public, "["), "]"), defaultPort
	}
	_, notAddr := netip.ParseAddr(host)
	number, notNumber := strconv.ParseUint(port, 10, 16)
	if host == "" || notAddr != nil && strings.ContainsFunc(host, noPartOfName) || notNumber != nil || number == 0 {
		return "", "", fmt.Errorf("--public %q: want HOST or HOST:PORT", public)
	}
	return host, port, nil
}

func noPartOfName(r rune) bool {
	return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("-._", r)
}

// inviteAddr is where invites send devices: the first public host, or else an address
// of this machine, preferring one that the internet reaches. control is where the
// surrogate listens.
func inviteAddr(publics []string, control netip.AddrPort, own []net.Addr, dialable func(netip.Addr) bool) (string, error) {
	port, public := strconv.Itoa(int(control.Port())), ""
	switch {
	case len(publics) > 0:
		public = publics[0]
	case !control.Addr().IsUnspecified():
		public = control.Addr().Unmap().String()
	default:
		public = chooseAddr(own, dialable)
	}
	if public == "" {
		return "", errors.New("this machine has no address to put into an invite: pass --public")
	}
	host, port, err := splitPublic(public, port)
	if err != nil {
		return "", err
	}
	return net.JoinHostPort(host, port), nil
}

// chooseAddr picks the address that most devices can reach: public before
// private, IPv4 before IPv6, loopback last.
func chooseAddr(own []net.Addr, public func(netip.Addr) bool) string {
	best, bestRank := "", 0
	for _, a := range own {
		prefix, err := netip.ParsePrefix(a.String())
		if err != nil || prefix.Addr().IsLinkLocalUnicast() {
			continue
		}
		addr, rank := prefix.Addr(), 1
		if !addr.IsLoopback() {
			rank += 2
		}
		if public(addr) {
			rank += 4
		}
		if addr.Is4() {
			rank++
		}
		if rank > bestRank {
			best, bestRank = addr.String(), rank
		}
	}
	return best
}
