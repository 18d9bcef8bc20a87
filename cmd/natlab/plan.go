//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"simplebit/cmd/rate"
	"simplebit/integration/natlab"
)

// maxHomes is how many homes one lab of this command has at most: fewer than a carrier holds.
const maxHomes = 40

// maxTimeout is the longest that UDP mappings may live: longer than any test.
const maxTimeout = 24 * time.Hour

// hairpinSuffix ends the names of carriers that lead packets between their homes back.
const hairpinSuffix = "hairpin"

// aliases are homes with a name of their own.
var aliases = []struct{ name, is, describe string }{
	{"cgnat", "port-restricted@cgn", "port-restricted behind a carrier's NAT (100.64.0.0/10) that several such homes share"},
	{"cgnat-hairpin", "port-restricted@cgn-hairpin", "the same, and the carrier lets its homes reach each other by their public endpoints"},
}

// home is what one --nat asks for.
type home struct {
	kind    natlab.Kind
	carrier string // "": none
}

// plan is a lab as the command line describes it.
type plan struct {
	homes   []home
	timeout time.Duration
	latency time.Duration
	loss    float64
	rate    int64  // bytes a second, each way; 0: no limit
	pcap    string // an absolute path; "": none
}

func planFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringSliceFlag{Name: "nat", Usage: "a home behind a router of this `KIND` (see `natlab list`), once for each home; KIND@NAME puts it behind the carrier NAME, which leads packets back to its homes if the name ends in hairpin"},
		&cli.StringFlag{Name: "latency", Usage: "`TIME` that a packet takes through the internet, one way, as 20ms", Value: "0s"},
		&cli.StringFlag{Name: "loss", Usage: "`PERCENT` of the packets that the internet loses", Value: "0"},
		&cli.StringFlag{Name: "rate", Usage: "limit of each home's line, each way, in `BYTES` a second: 500K, 2M"},
		&cli.StringFlag{Name: "udp-timeout", Usage: "`TIME` without traffic that a UDP mapping lives, whole seconds", Value: "2m"},
		&cli.StringFlag{Name: "pcap", Usage: "write what crosses the internet to `FILE`"},
	}
}

// newPlan reads the flags. Every error is the caller's fault, or this machine's.
func newPlan(c *cli.Context) (p plan, err error) {
	names := c.StringSlice("nat")
	switch {
	case len(names) == 0:
		return p, usagef("no home: give --nat KIND once for each; `natlab list` prints the kinds")
	case len(names) > maxHomes:
		return p, usagef("%d homes are too many: a lab has up to %d", len(names), maxHomes)
	}
	for _, name := range names {
		h, err := parseHome(name)
		if err != nil {
			return p, usageError{err}
		}
		p.homes = append(p.homes, h)
	}
	text := c.String("udp-timeout")
	if p.timeout, err = time.ParseDuration(text); err != nil || p.timeout < time.Second || p.timeout > maxTimeout || p.timeout%time.Second != 0 {
		return p, usagef("--udp-timeout %q: want whole seconds from 1s to %.0fh, as 30s", text, maxTimeout.Hours())
	}
	text = c.String("latency")
	if p.latency, err = time.ParseDuration(text); err != nil || p.latency < 0 || p.latency > natlab.MaxLatency {
		return p, usagef("--latency %q: want 0s to %v, as 20ms", text, natlab.MaxLatency)
	}
	text = c.String("loss")
	if p.loss, err = strconv.ParseFloat(text, 64); err != nil || !(p.loss >= 0 && p.loss <= 100) {
		return p, usagef("--loss %q: want 0 to 100 percent, as 1.5", text)
	}
	if p.rate, err = parseRate(c.String("rate")); err != nil {
		return p, usageError{err}
	}
	if p.pcap, err = checkOutput("pcap", c.String("pcap")); err != nil {
		return p, usageError{err}
	}
	return p, nil
}

// carrierName is what a carrier may be called. Other machines of a lab have no such names: see street.
var carrierName = regexp.MustCompile(`^[a-z][a-z0-9-]{0,11}$`)

// parseHome reads KIND or KIND@CARRIER.
func parseHome(name string) (h home, err error) {
	for _, a := range aliases {
		if a.name == name {
			name = a.is
		}
	}
	kind, carrier, behind := strings.Cut(name, "@")
	if h.kind, err = natlab.ParseKind(kind); err != nil {
		return h, fmt.Errorf("there is no NAT of kind %q; `natlab list` prints the kinds", name)
	}
	if behind && (!carrierName.MatchString(carrier) || carrier == serverName || machineName.MatchString(carrier)) {
		return h, fmt.Errorf("carrier %q: want a name of up to 12 lower-case letters, digits and dashes, and not that of a home", carrier)
	}
	if behind && h.kind == natlab.Mapping {
		return h, fmt.Errorf("%s: miniupnpd opens no ports on a router without a public address", name)
	}
	h.carrier = carrier
	return h, h.kind.Missing()
}

// parseRate reads a limit as package rate has it, of 1K at least; empty: none.
func parseRate(text string) (int64, error) {
	if text == "" {
		return 0, nil
	}
	r, err := rate.Parse(text)
	if err == nil && r < 1<<10 {
		err = errors.New("the least rate is 1K a second")
	}
	if err != nil {
		return 0, fmt.Errorf("--rate %q: %w", text, err)
	}
	return r, nil
}

// checkOutput makes the file that a flag names, so that what is wrong with it is known before anything else happens, and returns its path.
func checkOutput(flag, name string) (string, error) {
	if name == "" {
		return "", nil
	}
	path, err := filepath.Abs(name)
	if err != nil {
		return "", err
	}
	dir, err := filepath.EvalSymlinks(filepath.Dir(path))
	if err != nil {
		return "", fmt.Errorf("--%s: no folder for %s: %w", flag, name, errors.Unwrap(err))
	}
	path = filepath.Join(dir, filepath.Base(path))
	if strings.HasPrefix(path, "/run/") {
		return "", fmt.Errorf("--%s %s: a lab has a /run of its own: choose another folder", flag, name)
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE, 0o644)
	if err != nil {
		return "", fmt.Errorf("--%s: %w", flag, err)
	}
	return path, f.Close()
}
