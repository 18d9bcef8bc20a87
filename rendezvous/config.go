// Package rendezvous is the surrogate: it wires the store, the accounts, the
// jobs, their trackers and metadata fetches, the sessions of the devices and the
// HTTP API together, and runs them.
package rendezvous

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
)

// Config configures a surrogate. The zero value works, in the current folder.
type Config struct {
	Data         string // folder for all durable state; default "rendezvous-data"
	HTTP         string // host:port of the HTTP API; default 127.0.0.1:8080
	Control      string // host:port for devices, UDP (QUIC); default :4433
	Peer         string // host:port announced to trackers, only the port counts; default :6881
	Public       string // host or address that devices reach this surrogate at; default: one of the machine's own
	AllowPrivate bool   // contact private addresses that torrents, trackers and peers name
	InsecureHTTP bool   // serve the API without TLS on an address that others reach
	Software     string // program and version
	Log          *slog.Logger
}

// DefaultData is the data folder of a zero Config.
const DefaultData = "rendezvous-data"

func (c Config) withDefaults() Config {
	c.Data = cmp.Or(c.Data, DefaultData)
	c.HTTP = cmp.Or(c.HTTP, "127.0.0.1:8080")
	c.Control = cmp.Or(c.Control, ":4433")
	c.Peer = cmp.Or(c.Peer, ":6881")
	c.Software = cmp.Or(c.Software, "SimpleBit")
	c.Log = cmp.Or(c.Log, slog.New(slog.DiscardHandler))
	return c
}

// check refuses what would put the administrator token in the clear on a network.
func (c Config) check() error {
	host, _, err := net.SplitHostPort(c.HTTP)
	if err != nil {
		return fmt.Errorf("--http %q: want HOST:PORT", c.HTTP)
	}
	addr, err := netip.ParseAddr(host)
	local := host == "localhost" || err == nil && addr.IsLoopback()
	if !local && !c.InsecureHTTP {
		return fmt.Errorf("--http %s would send tokens unencrypted: listen on 127.0.0.1 behind a TLS proxy, or pass --insecure-http", c.HTTP)
	}
	return nil
}

// AdminSocket is the unix socket on which a surrogate with this data folder
// answers its administrator.
func AdminSocket(data string) string { return filepath.Join(data, "admin.sock") }

// TokenFile holds the administrator's token for the HTTP API.
func TokenFile(data string) string { return filepath.Join(data, "admin.token") }

// inviteAddr is where invites send devices: the public host, or else an address
// of this machine, preferring one that the internet reaches.
func inviteAddr(public, control string, dialable func(netip.Addr) bool) (string, error) {
	host, port, err := net.SplitHostPort(control)
	if err != nil {
		return "", fmt.Errorf("--control %q: want HOST:PORT or :PORT", control)
	}
	if public == "" {
		if a, err := netip.ParseAddr(host); err == nil && !a.IsUnspecified() {
			public = host
		}
	}
	if public == "" {
		own, err := net.InterfaceAddrs()
		if err != nil {
			return "", err
		}
		public = chooseAddr(own, dialable)
	}
	if public == "" {
		name, _ := os.Hostname()
		return "", errors.New(name + " has no address to put into an invite: pass --public")
	}
	if h, p, err := net.SplitHostPort(public); err == nil {
		return net.JoinHostPort(h, p), nil // a port of its own: a forwarded one
	}
	return net.JoinHostPort(public, port), nil
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
