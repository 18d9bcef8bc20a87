package portmap

import (
	"bytes"
	"errors"
	"net/netip"
	"strconv"
	"strings"
)

// ssdpPort is where devices listen for searches (UPnP Device Architecture section 1.3).
const ssdpPort = 1900

var ssdpGroup = netip.AddrPortFrom(netip.AddrFrom4([4]byte{239, 255, 255, 250}), ssdpPort)

// What is searched for. Version 2 devices must answer for 1 too, and some answer only for what they are; a few gateways
// answer only to ssdp:all, which is asked of the gateway alone: of the group it would wake every device in the house.
const (
	gatewayDevice1 = "urn:schemas-upnp-org:device:InternetGatewayDevice:1"
	gatewayDevice2 = "urn:schemas-upnp-org:device:InternetGatewayDevice:2"
	everything     = "ssdp:all"
)

// msearch returns a search. Those to the group say within how many seconds to answer.
func msearch(target string, group bool) []byte {
	wait := ""
	if group {
		wait = "MX: 1\r\n"
	}
	return []byte("M-SEARCH * HTTP/1.1\r\nHOST: " + ssdpGroup.String() + "\r\nMAN: \"ssdp:discover\"\r\n" + wait + "ST: " + target + "\r\n\r\n")
}

var errNotSSDP = errors.New("not an answer to a search for gateways")

// parseSSDP returns the LOCATION of an answer to a search, if what answers may be a gateway.
func parseSSDP(b []byte) (location string, err error) {
	line, rest, _ := bytes.Cut(b, []byte("\n"))
	if !bytes.HasPrefix(line, []byte("HTTP/1.")) || !bytes.Contains(line, []byte(" 200")) {
		return "", errNotSSDP
	}
	gateway := false
	for len(rest) > 0 {
		line, rest, _ = bytes.Cut(rest, []byte("\n"))
		name, value, found := bytes.Cut(line, []byte(":"))
		if !found {
			if len(bytes.TrimSpace(line)) == 0 {
				break
			}
			continue
		}
		switch text := string(bytes.TrimSpace(value)); strings.ToLower(string(bytes.TrimSpace(name))) {
		case "location":
			location = text
		case "st":
			gateway = strings.Contains(text, ":InternetGatewayDevice:") || strings.Contains(text, ":WANIPConnection:") ||
				strings.Contains(text, ":WANPPPConnection:") || text == "upnp:rootdevice"
		}
	}
	if !gateway || location == "" {
		return "", errNotSSDP
	}
	return location, nil
}

// place is an HTTP resource on the gateway: there is no other host.
type place struct {
	port uint16
	path string // begins with /, holds printable ASCII only, at most mostText bytes
}

var (
	errElsewhere = errors.New("an address that is not on the gateway")
	errBadPath   = errors.New("an address that is none")
)

// resolve reads a reference that a gateway gave, seen from at: an http URL whose host must be the gateway's address, an
// absolute path, or one relative to at's.
func (at place) resolve(gateway netip.Addr, reference string) (place, error) {
	p := place{port: at.port, path: reference}
	if scheme, rest, found := strings.Cut(reference, "://"); found {
		if !strings.EqualFold(scheme, "http") {
			return place{}, errElsewhere
		}
		host, path := rest, "/"
		if i := strings.IndexAny(rest, "/?#"); i >= 0 {
			host, path = rest[:i], rest[i:]
		}
		if !strings.HasPrefix(path, "/") {
			path = "/" + path
		}
		p = place{port: 80, path: path}
		name, port, found := strings.Cut(host, ":") // no brackets: UPnP's port mappings are of IPv4
		if found {
			n, err := strconv.ParseUint(port, 10, 16)
			if err != nil || n == 0 {
				return place{}, errBadPath
			}
			p.port = uint16(n)
		}
		if a, err := netip.ParseAddr(name); err != nil || a != gateway {
			return place{}, errElsewhere
		}
	} else if strings.HasPrefix(reference, "//") {
		return place{}, errElsewhere
	} else if !strings.HasPrefix(reference, "/") {
		p.path = at.path[:strings.LastIndexByte(at.path, '/')+1] + reference
	}
	p.path, _, _ = strings.Cut(p.path, "#")
	// Nothing in it may end the request line.
	bad := func(c rune) bool { return c <= ' ' || c > '~' }
	if p.port == 0 || !strings.HasPrefix(p.path, "/") || len(p.path) > mostText || strings.ContainsFunc(p.path, bad) {
		return place{}, errBadPath
	}
	return p, nil
}
