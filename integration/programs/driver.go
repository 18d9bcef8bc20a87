//go:build linux

package programs

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"simplebit/integration/natlab"
)

// eventsFile is where a driver says what has happened, in its folder.
const eventsFile = "events"

// The events of drivers.
const (
	Ready    = "ready"    // who depends on it may begin
	Complete = "complete" // all content is there and verified
)

// Driver is a program with one torrent, or one flow, from its start to its end, that notes itself when something has happened: nobody
// has to ask, which would cost it time. It stays when it is done, so that its Usage can be read.
type Driver struct{ *Process }

// DriverConfig says what a driver runs. All but Args are required.
type DriverConfig struct {
	Host    *natlab.Host
	Dir     string // its own folder, in which it has not run before; made if it is not there
	Program string // name or path
	Args    []string
}

// StartDriver starts a program that adds a line to the file `events` in its folder for whatever has happened: a word and the time in
// nanoseconds since 1970. It ends with ctx.
func StartDriver(ctx context.Context, c DriverConfig) (*Driver, error) {
	cfg, err := Config{Host: c.Host, Dir: c.Dir}.prepared()
	if err != nil {
		return nil, err
	}
	p, err := start(ctx, c.Host, cfg.Dir, c.Program, c.Args...)
	return &Driver{p}, err
}

// Await returns when the driver says that something has happened, and the moment at which it did.
func (d *Driver) Await(ctx context.Context, event string) (at time.Time, err error) {
	err = d.poll(ctx, "say "+event, func(context.Context) (ok bool, err error) {
		at, ok, err = d.happened(event)
		return ok, err
	})
	return at, err
}

func (d *Driver) happened(event string) (at time.Time, ok bool, err error) {
	b, err := os.ReadFile(filepath.Join(filepath.Dir(d.log), eventsFile))
	if err != nil {
		return at, false, err
	}
	for line := range strings.Lines(string(b)) {
		if word, when, _ := strings.Cut(strings.TrimSpace(line), " "); word == event {
			ns, err := strconv.ParseInt(when, 10, 64)
			if err != nil {
				return at, false, fmt.Errorf("event %q: %w", line, err)
			}
			return time.Unix(0, ns), true, nil
		}
	}
	return at, false, nil
}

// writeHook writes a script, for clients that run one when they are complete, which says so, and returns its path.
func writeHook(dir string) (string, error) {
	name := filepath.Join(dir, "hook.sh")
	script := fmt.Sprintf("#!/bin/sh\necho %s $(date +%%s%%N) >>'%s'\n", Complete, filepath.Join(dir, eventsFile))
	return name, os.WriteFile(name, []byte(script), 0o755)
}
