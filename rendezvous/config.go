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

	"simplebit/rendezvous/relay"
	"simplebit/wire/dial"
	"simplebit/wire/mse"
)

// Config configures a surrogate. The zero value works, in the current folder.
type Config struct {
	Data            string          // folder for all durable state; default "rendezvous-data"
	HTTP            string          // host:port of the HTTP API; default 127.0.0.1:8080
	Control         string          // host:port for devices, UDP (QUIC and STUN); default :4433
	ControlTCP      string          // host:port for devices whose UDP does not get through, TCP; default: none
	STUNAlt         string          // :port at which STUN is answered as well, UDP, on the host that Control has, and not Control's; default: none
	Peer            string          // host:port for peers (TCP, uTP) and the DHT (UDP), the port is announced; default :6881
	NoDHT           bool            // keep out of the DHT
	DHTBootstrap    []string        // HOST:PORT of nodes that a DHT node without neighbours asks first; default: the public routers
	Public          []string        // HOST or HOST:PORT at which devices reach this surrogate, for invites the first; default: one of the machine's addresses
	NoRelay         bool            // devices that have no path to each other stay without
	RelayRate       int64           // bytes a second that are carried for a device, to and from all others; default 256 KiB; MinRelayRate to MaxRelayRate
	RelayUserRate   int64           // bytes a second that are carried for all devices of a user together; default four times RelayRate, same bounds
	Transports      dial.Transports // used with peers; default both
	Encryption      mse.Policy      // of connections with peers; default mse.Prefer
	AllowPrivate    bool            // contact private addresses that torrents, trackers and peers name
	InsecureHTTP    bool            // serve the API without TLS on an address that others reach
	NATS            string          // nats:// or tls:// address of an external NATS server that keeps the state; default: an embedded one
	NATSReplicas    int             // servers of its cluster that keep each record; default 1
	NATSCredentials string          // file with the NATS user's credentials; default: those in NATS, if any
	Software        string          // program and version
	Log             *slog.Logger

	whole bool // the control port is not split, as on a kernel that cannot
}

// The bounds of Config.RelayRate and RelayUserRate, in bytes a second.
const (
	MinRelayRate = relay.MinRate
	MaxRelayRate = 1 << 40
)

// DefaultData is the data folder of a zero Config.
const DefaultData = "rendezvous-data"

func (c Config) withDefaults() Config {
	c.Data = cmp.Or(c.Data, DefaultData)
	c.HTTP = cmp.Or(c.HTTP, "127.0.0.1:8080")
	c.Control = cmp.Or(c.Control, ":4433")
	c.Peer = cmp.Or(c.Peer, ":6881")
	c.RelayRate = cmp.Or(c.RelayRate, 256<<10)
	c.RelayUserRate = cmp.Or(c.RelayUserRate, min(4*c.RelayRate, MaxRelayRate))
	c.Software = cmp.Or(c.Software, "SimpleBit")
	c.Log = cmp.Or(c.Log, slog.New(slog.DiscardHandler))
	return c
}

// Check refuses what cannot be understood, as Serve does.
func (c Config) Check() error { return c.withDefaults().check() }

// check refuses what cannot be understood, and what would put the administrator
// token in the clear on a network.
func (c Config) check() error {
	if _, _, err := net.SplitHostPort(c.Control); err != nil {
		return fmt.Errorf("--control %q: want HOST:PORT or :PORT", c.Control)
	}
	if _, port, err := net.SplitHostPort(c.ControlTCP); c.ControlTCP != "" {
		if _, bad := strconv.ParseUint(port, 10, 16); err != nil || bad != nil {
			return fmt.Errorf("--control-tcp %q: want HOST:PORT or :PORT, as :443, or nothing to turn it off", c.ControlTCP)
		}
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
	if err := checkSTUNAlt(c.STUNAlt, c.Control); err != nil {
		return err
	}
	if isControlPort(c.STUNAlt, c.Control) {
		return fmt.Errorf("--stun-alt %q is the port of --control, where STUN is answered anyway: choose another, or none with --stun-alt=", c.STUNAlt)
	}
	if err := checkPublic(c.Public); err != nil {
		return err
	}
	own, err := net.InterfaceAddrs()
	if err != nil {
		return err
	}
	if err := checkSecond(publicAddrs(c.Public), c.Control, own); err != nil {
		return err
	}
	if c.RelayRate < MinRelayRate || c.RelayRate > MaxRelayRate {
		return fmt.Errorf("--relay-rate %d: want %d to %d bytes a second, or 0 for none", c.RelayRate, MinRelayRate, int64(MaxRelayRate))
	}
	if c.RelayUserRate < MinRelayRate || c.RelayUserRate > MaxRelayRate {
		return fmt.Errorf("--relay-user-rate %d: want %d to %d bytes a second, or 0 for four times --relay-rate", c.RelayUserRate, MinRelayRate, int64(MaxRelayRate))
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

// relayRate is what the relays take: 0 turns them off.
func (c Config) relayRate() int64 {
	if c.NoRelay {
		return 0
	}
	return c.RelayRate
}

// AdminSocket is the unix socket on which a surrogate with this data folder
// answers its administrator.
func AdminSocket(data string) string { return filepath.Join(data, "admin.sock") }

// TokenFile holds the administrator's token for the HTTP API.
func TokenFile(data string) string { return filepath.Join(data, "admin.token") }
