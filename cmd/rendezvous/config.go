package main

import (
	"fmt"
	"maps"
	"net"
	"os"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
	"gopkg.in/yaml.v3"

	"simplebit/cmd/rate"
	"simplebit/rendezvous"
	"simplebit/wire/dial"
	"simplebit/wire/mse"
)

// serveFlags are the flags of `rendezvous serve` beside --data.
func serveFlags() []cli.Flag {
	return []cli.Flag{
		text("http", "127.0.0.1:8080", "`HOST:PORT` of the HTTP API"),
		text("control", ":4433", "`HOST:PORT` for devices (UDP: QUIC and STUN)"),
		text("control-tcp", "", "`HOST:PORT` for devices whose UDP does not get through (TCP), as :443 (default: none)"),
		text("stun-alt", ":4434", "`:PORT` where STUN is answered as well (UDP), empty for none"),
		text("peer", ":6881", "`HOST:PORT` for peers (TCP and UDP) and the DHT (UDP); its port is announced"),
		flag("no-dht", "keep out of the DHT"),
		&cli.StringSliceFlag{Name: "dht-bootstrap", Usage: "`HOST:PORT` of a DHT node to ask first, repeatable (default: the public routers)", EnvVars: []string{variable("dht-bootstrap")}},
		&cli.StringSliceFlag{Name: "public", Usage: "`HOST` or HOST:PORT at which devices reach this surrogate; a second address of this machine tells them more of their NATs (default: an address of this machine)", EnvVars: []string{variable("public")}},
		text("relay-rate", "256KiB", "carry `RATE` bytes a second for each device between devices that have no path, 0 for none"),
		text("relay-user-rate", "0", "carry `RATE` bytes a second for all devices of a user together, 0 for four times --relay-rate"),
		text("transport", "both", "`WHICH` transports to use with peers: both, tcp or utp"),
		text("encryption", "prefer", "`POLICY` with peers: prefer (plaintext, encryption with who insists), require or off"),
		flag("allow-private", "contact private addresses that torrents, trackers and peers name"),
		flag("insecure-http", "serve the API without TLS on an address that others reach"),
		natsFlag(), natsCredentials(),
		&cli.IntFlag{Name: "nats-replicas", Usage: "`N` servers of the NATS cluster keep each record", Value: 1, EnvVars: []string{variable("nats-replicas")}},
		flag("verbose", "log what happens to single peers too"),
		&cli.StringFlag{Name: "config", Usage: "YAML `FILE` with these flags as keys", EnvVars: []string{"SIMPLEBIT_CONFIG"}},
	}
}

func natsFlag() cli.Flag {
	return text("nats", "", "`URL` of an external NATS server that keeps the state, nats://HOST:PORT or tls://… (default: one in this process)")
}

func natsCredentials() cli.Flag {
	return text("nats-creds", "", "`FILE` with the credentials of the NATS user")
}

func text(name, value, usage string) cli.Flag {
	return &cli.StringFlag{Name: name, Value: value, Usage: usage, EnvVars: []string{variable(name)}}
}

func flag(name, usage string) cli.Flag {
	return &cli.BoolFlag{Name: name, Usage: usage, EnvVars: []string{variable(name)}}
}

// variable is the environment variable of a flag.
func variable(flag string) string {
	return "SIMPLEBIT_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// configure is what the flags, the environment and the file say, in that order.
func configure(c *cli.Context) (rendezvous.Config, error) {
	if err := noArguments(c); err != nil {
		return rendezvous.Config{}, err
	}
	if name := c.String("config"); name != "" {
		if err := readConfig(c, name); err != nil {
			return rendezvous.Config{}, fmt.Errorf("--config: %w", err)
		}
	}
	var transports dial.Transports
	if err := transports.UnmarshalText([]byte(c.String("transport"))); err != nil {
		return rendezvous.Config{}, fmt.Errorf("--transport: %w", err)
	}
	encryption, err := mse.ParsePolicy(c.String("encryption"))
	if err != nil {
		return rendezvous.Config{}, fmt.Errorf("--encryption: %w", err)
	}
	relayRate, err := rate.Parse(c.String("relay-rate"))
	if err != nil {
		return rendezvous.Config{}, fmt.Errorf("--relay-rate %q: %w, or 0 for none", c.String("relay-rate"), err)
	}
	userRate, err := rate.Parse(c.String("relay-user-rate"))
	if err != nil {
		return rendezvous.Config{}, fmt.Errorf("--relay-user-rate %q: %w", c.String("relay-user-rate"), err)
	}
	alt := c.String("stun-alt")
	if _, port, err := net.SplitHostPort(c.String("control")); err == nil && alt == ":"+port && !c.IsSet("stun-alt") {
		alt = "" // the default would be in the way of what was asked for
	}
	return rendezvous.Config{
		Data: c.String("data"), HTTP: c.String("http"), Control: c.String("control"), ControlTCP: c.String("control-tcp"), STUNAlt: alt, Peer: c.String("peer"), Public: c.StringSlice("public"),
		NATS: c.String("nats"), NATSCredentials: c.String("nats-creds"), NATSReplicas: c.Int("nats-replicas"),
		NoDHT: c.Bool("no-dht"), DHTBootstrap: c.StringSlice("dht-bootstrap"),
		NoRelay: relayRate == 0, RelayRate: relayRate, RelayUserRate: userRate, Transports: transports, Encryption: encryption,
		AllowPrivate: c.Bool("allow-private"), InsecureHTTP: c.Bool("insecure-http"), Software: "SimpleBit " + version,
	}, nil
}

// readConfig sets what neither the command line nor the environment has set.
func readConfig(c *cli.Context, name string) error {
	b, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	settings := map[string]yaml.Node{}
	if err := yaml.Unmarshal(b, &settings); err != nil {
		return fmt.Errorf("%s: want lines of `key: value`: %s", name, strings.Join(strings.Fields(err.Error()), " "))
	}
	for _, key := range slices.Sorted(maps.Keys(settings)) {
		value := settings[key]
		if key == "config" || key == "help" || !known(c.Command, key) {
			return fmt.Errorf("%s, line %d: unknown key %q: the keys are the flags of `rendezvous serve`", name, value.Line, key)
		}
		if c.IsSet(key) {
			continue
		}
		for _, one := range values(c.Command, key, value) {
			if one.Kind != yaml.ScalarNode || one.Tag == "!!null" {
				return fmt.Errorf("%s, line %d: %s: want text, a number, true or false", name, one.Line, key)
			}
			if err := c.Set(key, one.Value); err != nil {
				return fmt.Errorf("%s, line %d: %s: %w", name, one.Line, key, err)
			}
		}
	}
	return nil
}

// values are the items of a list, where the flag is repeatable, or the value itself.
func values(cmd *cli.Command, key string, v yaml.Node) []*yaml.Node {
	repeatable := slices.ContainsFunc(cmd.Flags, func(f cli.Flag) bool {
		_, ok := f.(*cli.StringSliceFlag)
		return ok && f.Names()[0] == key
	})
	if repeatable && v.Kind == yaml.SequenceNode {
		return v.Content
	}
	return []*yaml.Node{&v}
}

func known(cmd *cli.Command, key string) bool {
	return slices.ContainsFunc(cmd.Flags, func(f cli.Flag) bool { return f.Names()[0] == key })
}
