package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"simplebit/edgeagent"
)

// options are the flags of all commands.
type options struct {
	state, dir, listen, name string
	memory                   size
	maxPeers                 int
	verbose, json            bool
	arg                      string // what follows the flags
}

// parse reads the flags of a command; what they do not set comes from the
// environment, then from the file named by --config.
func parse(command string, args []string, maxArgs int) (*options, error) {
	o := &options{memory: 4 << 20, maxPeers: 40}
	f := flag.NewFlagSet("edgeagent "+command, flag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.StringVar(&o.state, "state", defaultState(), "state folder `DIR`: key, assignments, journals")
	config := f.String("config", "", "JSON `FILE` with these flags as keys")
	if command == "run" {
		f.StringVar(&o.dir, "dir", "downloads", "download folder `DIR`")
		f.StringVar(&o.listen, "listen", ":6882", "`HOST:PORT` for peers (TCP) and the surrogate (UDP)")
		f.Var(&o.memory, "memory", "budget for blocks in memory, as 4MiB, at least 1MiB")
		f.IntVar(&o.maxPeers, "max-peers", 40, "connections a torrent")
		f.BoolVar(&o.verbose, "verbose", false, "log what happens to single peers too")
	}
	if command == "join" {
		f.StringVar(&o.name, "name", "", "wished device name (default: this host's name)")
	}
	if command == "status" {
		f.BoolVar(&o.json, "json", false, "print JSON")
	}
	err := f.Parse(args)
	if errors.Is(err, flag.ErrHelp) {
		f.SetOutput(os.Stdout)
		fmt.Printf("edgeagent %s\n", command)
		f.PrintDefaults()
		return nil, err
	}
	if err != nil {
		return nil, usageError{err}
	}
	if f.NArg() > maxArgs {
		return nil, usageError{fmt.Errorf("unexpected argument %q: see `edgeagent %s --help`", f.Arg(maxArgs), command)}
	}
	o.arg = f.Arg(0)
	if err := fill(f, config); err != nil {
		return nil, usageError{err}
	}
	if o.memory < 1<<20 {
		return nil, usageError{fmt.Errorf("--memory %s: want at least 1MiB", o.memory)}
	}
	if o.maxPeers < 1 || o.maxPeers > 1000 {
		return nil, usageError{fmt.Errorf("--max-peers %d: want 1 to 1000", o.maxPeers)}
	}
	return o, nil
}

// fill sets the flags that the command line did not.
func fill(f *flag.FlagSet, config *string) error {
	set := map[string]bool{}
	f.Visit(func(fl *flag.Flag) { set[fl.Name] = true })
	var err error
	f.VisitAll(func(fl *flag.Flag) {
		if value, ok := os.LookupEnv(variable(fl.Name)); ok && !set[fl.Name] && err == nil {
			set[fl.Name] = true
			if e := f.Set(fl.Name, value); e != nil {
				err = fmt.Errorf("%s: %w", variable(fl.Name), e)
			}
		}
	})
	if err != nil || *config == "" {
		return err
	}
	b, err := os.ReadFile(*config)
	if err != nil {
		return fmt.Errorf("--config: %w", err)
	}
	var settings map[string]any
	if err := json.Unmarshal(b, &settings); err != nil {
		return fmt.Errorf("--config %s: %w", *config, err)
	}
	for key, value := range settings {
		// The file may serve all commands: keys of the others are theirs.
		if !isKey(key) {
			return fmt.Errorf("--config %s: unknown key %q", *config, key)
		}
		if f.Lookup(key) == nil || set[key] {
			continue
		}
		if err := f.Set(key, fmt.Sprint(value)); err != nil {
			return fmt.Errorf("--config %s: %s: %w", *config, key, err)
		}
	}
	return nil
}

func isKey(name string) bool {
	switch name {
	case "state", "dir", "listen", "memory", "max-peers", "verbose", "name", "json":
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
		Memory: int64(o.memory), MaxPeers: o.maxPeers, Software: "SimpleBit " + version,
	}
}
