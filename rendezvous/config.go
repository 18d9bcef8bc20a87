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
	"path/filepath"
	"strconv"
	"strings"

	"simplebit/wire/dial"
	"simplebit/wire/mse"
)

// Config configures a surrogate. The zero value works, in the current folder.
type Config struct {
	Data            string          // folder for all durable state; default "rendezvous-data"
	HTTP            string          // host:port of the HTTP API; default 127.0.0.1:8080
	Control         string          // host:port for devices, UDP (QUIC); default :4433
	Peer            string          // host:port for peers (TCP, uTP) and the DHT (UDP), the port is announced; default :6881
	NoDHT           bool            // keep out of the DHT
	DHTBootstrap    []string        // HOST:PORT of nodes that a DHT node without neighbours asks first; default: the public routers
	Public          string          // HOST or HOST:PORT at which devices reach this surrogate; default: one of the machine's addresses
	Transports      dial.Transports // used with peers; default both
	Encryption      mse.Policy      // of connections with peers; default mse.Prefer
	AllowPrivate    bool            // contact private addresses that torrents, trackers and peers name
	InsecureHTTP    bool            // serve the API without TLS on an address that others reach
	NATS            string          // nats:// or tls:// address of an external NATS server that keeps the state; default: an embedded one
	NATSReplicas    int             // servers of its cluster that keep each record; default 1
	NATSCredentials string          // file with the NATS user's credentials; default: those in NATS, if any
	Software        string          // program and version
	Log             *slog.Logger
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

// check refuses what cannot be understood, and what would put the administrator
// token in the clear on a network.
func (c Config) check() error {
	if _, _, err := net.SplitHostPort(c.Control); err != nil {
		return fmt.Errorf("--control %q: want HOST:PORT or :PORT", c.Control)
	}
	if _, port, err := net.SplitHostPort(c.Peer); err != nil {
		return fmt.Errorf("--peer %q: want HOST:PORT or :PORT", c.Peer)
	} else if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return fmt.Errorf("--peer %q: want a port from 0 (any free one) to 65535", c.Peer)
	}
	for _, node := range c.DHTBootstrap {
		host, port, err := net.SplitHostPort(node)
		if number, bad := strconv.ParseUint(port, 10, 16); err != nil || bad != nil || number == 0 || host == "" {
			return fmt.Errorf("--dht-bootstrap %q: want HOST:PORT", node)
		}
	}
	if c.NoDHT && len(c.DHTBootstrap) > 0 {
		return errors.New("--dht-bootstrap is of no use with --no-dht: leave one of them out")
	}
	if c.Public != "" {
		if _, _, err := splitPublic(c.Public, "1"); err != nil {
			return err
		}
	}
	if c.NATSReplicas < 0 || c.NATSReplicas > 5 {
		return fmt.Errorf("--nats-replicas %d: want 1 to 5, at most as many as the cluster has servers", c.NATSReplicas)
	}
	if c.NATS == "" && (c.NATSReplicas > 1 || c.NATSCredentials != "") {
		return errors.New("--nats-replicas and --nats-creds are for an external NATS server: pass --nats URL, too")
	}
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

// splitPublic splits --public, whose port, a forwarded one, may be missing.
func splitPublic(public, defaultPort string) (host, port string, err error) {
	host, port, err = net.SplitHostPort(public)
	if err != nil {
		host, port = strings.TrimSuffix(strings.TrimPrefix(public, "["), "]"), defaultPort
	}
	_, notAddr := netip.ParseAddr(host)
	number, notNumber := strconv.ParseUint(port, 10, 16)
	if host == "" || notAddr != nil && strings.ContainsAny(host, ":/[]@ ") || notNumber != nil || number == 0 {
		return "", "", fmt.Errorf("--public %q: want HOST or HOST:PORT", public)
	}
	return host, port, nil
}

// inviteAddr is where invites send devices: the public host, or else an address
// of this machine, preferring one that the internet reaches. control is where the
// surrogate listens.
func inviteAddr(public string, control netip.AddrPort, own []net.Addr, dialable func(netip.Addr) bool) (string, error) {
	port := strconv.Itoa(int(control.Port()))
	switch {
	case public != "":
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
