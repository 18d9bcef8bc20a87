package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"simplebit/edgeagent"
	"simplebit/wire/dial"
	"simplebit/wire/mse"
)

// options are the flags of all commands.
type options struct {
	state, dir, listen, name string
	memory                   size
	up, down                 limit
	maxPeers                 count
	transport                dial.Transports
	encryption               mse.Policy
	portMapping              choice
	verbose, json            choice
	arg                      string // what follows the flags
}

// The limits of --memory.
const (
	minMemory size = 1 << 20
	maxMemory size = 16 << 30
)

// parse reads the flags of a command; what they do not set comes from the
// environment, then from the file named by --config. Asked for help it prints
// that and returns flag.ErrHelp.
func parse(command string, args []string, maxArgs int, out io.Writer) (*options, error) {
	o := &options{memory: 4 << 20, maxPeers: 40}
	f := flag.NewFlagSet("edgeagent "+command, flag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.StringVar(&o.state, "state", defaultState(), "state folder `DIR`: key, assignments, journals")
	config := f.String("config", "", "JSON `FILE` with these flags as keys")
	if command == "run" {
		f.StringVar(&o.dir, "dir", "downloads", "download folder `DIR`")
		f.StringVar(&o.listen, "listen", ":6882", "`HOST:PORT` for peers (TCP and UDP) and the surrogate (UDP)")
		f.Var(&o.memory, "memory", "budget for blocks in memory, as 4MiB, from 1MiB to 16GiB")
		f.Var(&o.up, "up", "send at most `RATE` a second, as 500K, 2M or 1.5MiB; 0 for no limit")
		f.Var(&o.down, "down", "receive at most `RATE` a second; 0 for no limit")
		f.Var(&o.maxPeers, "max-peers", "`N` connections of all torrents together, from 1 to 1000")
		f.TextVar(&o.transport, "transport", dial.Both, "`WHICH` transports to use with peers: both, tcp or utp")
		f.TextVar(&o.encryption, "encryption", mse.Prefer, "`POLICY` with peers: prefer (plaintext, encryption with who insists), require or off; connections that the surrogate relays are inside of TLS to it instead")
		o.portMapping = true
		f.Var(&o.portMapping, "port-mapping", "ask the router to forward the peer port (PCP, NAT-PMP, UPnP)")
		f.Var(&o.verbose, "verbose", "log what happens to single peers too")
	}
	if command == "join" {
		f.StringVar(&o.name, "name", "", "wished device name (default: this host's name)")
	}
	if command == "status" {
		f.Var(&o.json, "json", "print JSON")
	}
	err := f.Parse(args)
	if errors.Is(err, flag.ErrHelp) {
		f.SetOutput(out)
		fmt.Fprintf(out, "edgeagent %s\n", command)
		f.PrintDefaults()
		return nil, err
	}
	if err != nil {
		return nil, usageError{err}
	}
	if f.NArg() > maxArgs {
		return nil, usageError{fmt.Errorf("unexpected argument %q: flags come before arguments, see `edgeagent %s --help`", f.Arg(maxArgs), command)}
	}
	o.arg = f.Arg(0)
	if err := fill(f, config); err != nil {
		return nil, usageError{err}
	}
	if o.memory < minMemory || o.memory > maxMemory {
		return nil, usageError{fmt.Errorf("--memory %s: want %s to %s", o.memory, minMemory, maxMemory)}
	}
	return o, nil
}

// fill sets the flags that the command line did not.
func fill(f *flag.FlagSet, config *string) error {
	set := map[string]bool{}
	f.Visit(func(fl *flag.Flag) { set[fl.Name] = true })
	var err error
	f.VisitAll(func(fl *flag.Flag) {
		// An empty variable is none, as files of settings often have them.
		if value := os.Getenv(variable(fl.Name)); value != "" && !set[fl.Name] && err == nil {
			set[fl.Name] = true
			if e := f.Set(fl.Name, value); e != nil {
				err = fmt.Errorf("%s: %w", variable(fl.Name), e)
			}
		}
	})
	if err != nil || *config == "" {
		return err
	}
	settings, err := readSettings(*config)
	if err != nil {
		return fmt.Errorf("--config: %w", err)
	}
	for _, key := range slices.Sorted(maps.Keys(settings)) {
		// The file may serve all commands: keys of the others are theirs.
		if !isKey(key) {
			return fmt.Errorf("--config %s: unknown key %q", *config, key)
		}
		if f.Lookup(key) == nil || set[key] {
			continue
		}
		value, err := text(settings[key])
		if err == nil {
			err = f.Set(key, value)
		}
		if err != nil {
			return fmt.Errorf("--config %s: %s: %w", *config, key, err)
		}
	}
	return nil
}

func readSettings(name string) (map[string]json.RawMessage, error) {
	b, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	var settings map[string]json.RawMessage
	if err := json.Unmarshal(b, &settings); err != nil {
		return nil, fmt.Errorf("%s: want a JSON object: %w", name, err)
	}
	return settings, nil
}

// text is a JSON value as it would be written on the command line. Numbers stay
// as they are written: 10000000 would become 1e+07 on its way through a float.
func text(value json.RawMessage) (string, error) {
	var s string
	if json.Unmarshal(value, &s) == nil && value[0] == '"' {
		return s, nil
	}
	if value[0] == '{' || value[0] == '[' || value[0] == 'n' {
		return "", fmt.Errorf("%s is not text, a number, true or false", value)
	}
	return string(value), nil
}

func isKey(name string) bool {
	switch name {
	case "state", "dir", "listen", "memory", "up", "down", "max-peers", "transport", "encryption", "port-mapping", "verbose", "name", "json":
		return true
	}
	return false
}

// variable is the environment variable of a flag.
func variable(name string) string {
	return "SIMPLEBIT_" + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
}

func defaultState() string {
	dir, err := os.UserConfigDir()
	if err != nil {
		dir = "/var/lib"
	}
	return filepath.Join(dir, "simplebit-agent")
}

func (o *options) config() edgeagent.Config {
	return edgeagent.Config{
		State: o.state, Dir: o.dir, Listen: o.listen, Name: o.name,
		Memory: int64(o.memory), MaxPeers: int(o.maxPeers), Up: int64(o.up), Down: int64(o.down), Software: "SimpleBit " + version,
		Transports: o.transport, Encryption: o.encryption, NoPortMapping: !bool(o.portMapping),
	}
}
