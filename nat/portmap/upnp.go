package portmap

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"time"
)

const (
	// searchTime is how long a gateway has to answer a search: MX and a moment (UPnP Device Architecture section 1.3.3).
	searchTime = 1500 * time.Millisecond
	// webTime bounds one exchange with the gateway's web server, from connecting to the last byte.
	webTime = 3 * time.Second
	// mostLocations bounds how many descriptions are read in a search.
	mostLocations = 4
	// portTries is how many external ports are tried when others have them.
	portTries = 4
)

// findService searches for the gateway's services and returns the first that knows an external address.
func (g *gate) findService(ctx context.Context) (found wanService, err error) {
	c, err := g.listen("udp4", ":0")
	if err != nil {
		return found, err
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.SetDeadline(past) })()
	var seen []place
	err = errSilent
	for range 2 { // datagrams get lost
		if sent := g.sendSearches(c); sent != nil {
			return found, unreachable(ctx, sent)
		}
		for until := time.Now().Add(searchTime); len(seen) < mostLocations; {
			at, ok := g.nextLocation(ctx, c, until)
			if !ok {
				break
			}
			if slices.Contains(seen, at) {
				continue
			}
			seen = append(seen, at)
			if found, err = g.serviceAt(ctx, at); err == nil {
				return found, nil
			}
		}
		if len(seen) > 0 || ctx.Err() != nil {
			break
		}
	}
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	return found, err
}

func (g *gate) sendSearches(c net.PacketConn) error {
	gateway := net.UDPAddrFromAddrPort(netip.AddrPortFrom(g.addr, ssdpPort))
	group := net.UDPAddrFromAddrPort(ssdpGroup)
	for _, target := range []string{gatewayDevice1, gatewayDevice2} {
		// A network without multicast is no reason not to ask the gateway.
		c.WriteTo(msearch(target, true), group)
	}
	_, err := c.WriteTo(msearch(gatewayDevice1, false), gateway)
	if err == nil {
		_, err = c.WriteTo(msearch(everything, false), gateway)
	}
	return err
}

// nextLocation waits for the gateway to name a description on itself; false if it names none in time.
func (g *gate) nextLocation(ctx context.Context, c net.PacketConn, until time.Time) (place, bool) {
	c.SetDeadline(until)
	if ctx.Err() != nil {
		return place{}, false
	}
	buf := make([]byte, 2<<10)
	for range mostDatagrams {
		n, from, err := c.ReadFrom(buf)
		if err != nil {
			return place{}, false
		}
		if source(from) != g.addr || n == len(buf) {
			continue
		}
		location, err := parseSSDP(buf[:n])
		if err != nil {
			continue
		}
		// Seen from nowhere, only a full URL resolves.
		if at, err := (place{}).resolve(g.addr, location); err == nil {
			return at, true
		}
	}
	return place{}, false
}

// serviceAt reads a description and tries what it lists.
func (g *gate) serviceAt(ctx context.Context, at place) (wanService, error) {
	status, body, err := g.web(ctx, at, "", func(netip.Addr) string { return "" })
	if err != nil {
		return wanService{}, err
	}
	if status != 200 {
		return wanService{}, &resultError{upnp, status, "of HTTP"}
	}
	services, err := parseDescription(body, g.addr, at)
	if err != nil {
		return wanService{}, err
	}
	for _, s := range services {
		if _, err = g.externalAddress(ctx, s); err == nil {
			return s, nil
		}
	}
	return wanService{}, err
}

// addPortMapping maps a port, to another external one if the first is taken, and without end where the gateway knows no
// other leases.
func (g *gate) addPortMapping(ctx context.Context, a action, at wanService) (uint16, time.Duration, error) {
	external, lifetime := wished(a), a.lifetime
	var err error
	for range portTries {
		_, err = g.soapFrom(ctx, at, "AddPortMapping", func(from netip.Addr) string {
			return at.addPortMapping(a.port, external, from, lifetime)
		}, "")
		var refused *resultError
		switch {
		case err == nil:
			return external, lifetime, nil
		case !errors.As(err, &refused):
			return 0, 0, err
		case refused.mayTakePermanent() && lifetime != 0:
			lifetime = 0
		case refused.code == upnpConflict:
			external = uint16(1024 + rand.IntN(1<<16-1024))
		default:
			return 0, 0, err
		}
	}
	return 0, 0, err
}

// soap carries out an action and returns the value of one element of its answer, "" for none.
func (g *gate) soap(ctx context.Context, at wanService, action, envelope, element string) (string, error) {
	return g.soapFrom(ctx, at, action, func(netip.Addr) string { return envelope }, element)
}

// soapFrom is soap for an envelope that holds the address that it is sent from.
func (g *gate) soapFrom(ctx context.Context, at wanService, action string, envelope func(from netip.Addr) string, element string) (string, error) {
	status, body, err := g.web(ctx, at.control, wanServices[at.kind]+"#"+action, envelope)
	if err != nil {
		return "", err
	}
	return parseSOAP(status, body, element)
}

// web carries out one exchange with the gateway's web server.
func (g *gate) web(ctx context.Context, at place, action string, envelope func(from netip.Addr) string) (status int, body []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, webTime)
	defer cancel()
	c, err := g.dial(ctx, "tcp", at.port)
	if err != nil {
		return 0, nil, unreachable(ctx, err)
	}
	defer c.Close()
	request := at.request(netip.AddrPortFrom(g.addr, at.port).String(), action, envelope(source(c.LocalAddr())))
	if _, err = c.Write(request); err == nil {
		status, body, err = readResponse(c)
	}
	if errors.Is(err, io.ErrUnexpectedEOF) || err == nil {
		return status, body, err
	}
	return 0, nil, unreachable(ctx, err)
}
