//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"regexp"
	"strings"
	"sync"

	"simplebit/integration/natlab"
)

// The names of a street's machines.
const (
	serverName = "server"
	homeName   = "home-%d"   // its router
	deviceName = "device-%d" // and the device behind
)

// machineName fits the names of homes and devices.
var machineName = regexp.MustCompile(`^(home|device)-\d+$`)

// street is a lab of homes with a device each, and a host with a public address.
type street struct {
	lab      *natlab.Lab
	server   *natlab.Host
	second   netip.Addr // a second address of the server, for tests of NATs that want two (RFC 5780)
	routers  []*natlab.Router
	devices  []*natlab.Host
	behind   []*natlab.Carrier // nil: none
	carriers map[string]*natlab.Carrier
	close    []func() error
	out      sync.Mutex // of what programs print
}

// enter brings the command into namespaces of its own, where it is run once more from its beginning and this returns.
func enter() error {
	natlab.Enter()
	if err := natlab.Available(); err != nil {
		return usageError{err}
	}
	return nil
}

// build makes the lab of a plan. It has to be closed also after an error.
func (p plan) build() (s *street, err error) {
	s = &street{carriers: map[string]*natlab.Carrier{}}
	var config natlab.Config
	if p.latency > 0 || p.loss > 0 {
		config.Core = &natlab.CoreConfig{Latency: p.latency, Loss: p.loss}
	}
	if s.lab, err = natlab.New(config); err != nil {
		return s, err
	}
	s.close = append(s.close, s.lab.Close)
	if p.pcap != "" {
		if err := s.record(p.pcap); err != nil {
			return s, err
		}
	}
	if s.server, err = s.lab.Host(serverName); err != nil {
		return s, err
	}
	s.second = s.server.Addr().Next()
	if out, err := s.server.Command(context.Background(), "ip", "addr", "add", s.second.String()+"/24", "dev", "eth0").CombinedOutput(); err != nil {
		return s, fmt.Errorf("a second address for the server: %w: %s", err, out)
	}
	for i, h := range p.homes {
		if err := s.add(i+1, h, p); err != nil {
			return s, err
		}
	}
	return s, nil
}

// add makes the n-th home.
func (s *street) add(n int, h home, p plan) (err error) {
	c := natlab.RouterConfig{Kind: h.kind, UDPTimeout: p.timeout}
	if h.carrier != "" {
		if c.Carrier, err = s.carrier(h.carrier, p); err != nil {
			return err
		}
	}
	r, err := s.lab.Router(fmt.Sprintf(homeName, n), c)
	if err != nil {
		return err
	}
	s.routers, s.behind = append(s.routers, r), append(s.behind, c.Carrier)
	device, err := r.Host(fmt.Sprintf(deviceName, n))
	if err != nil {
		return err
	}
	s.devices = append(s.devices, device)
	if p.rate > 0 {
		return r.Shape(p.rate, p.rate)
	}
	return nil
}

// carrier returns the carrier of that name.
func (s *street) carrier(name string, p plan) (c *natlab.Carrier, err error) {
	if c = s.carriers[name]; c != nil {
		return c, nil
	}
	c, err = s.lab.Carrier(name, natlab.CarrierConfig{Hairpin: strings.HasSuffix(name, hairpinSuffix), UDPTimeout: p.timeout})
	s.carriers[name] = c
	return c, err
}

// record writes what crosses the core to the file, from now on.
func (s *street) record(path string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	stop, err := s.lab.Record(f)
	if err != nil {
		return errors.Join(err, f.Close())
	}
	s.close = append(s.close, func() error { return errors.Join(stop(), f.Close()) })
	return nil
}

// end closes the street. What goes wrong then is the error if there is none yet, or else a line on standard error.
func (s *street) end(err *error) {
	dropped := int64(0)
	if s.lab != nil {
		dropped = s.lab.CoreStats().Dropped
	}
	closed := s.Close()
	if *err == nil {
		*err = closed
	} else if closed != nil {
		fmt.Fprintln(os.Stderr, "natlab: "+failure(closed))
	}
	if dropped > 0 {
		fmt.Fprintf(os.Stderr, "natlab: the core and the queues of slow links had no room for %d packets\n", dropped)
	}
}

// Close ends every program on the street and removes it.
func (s *street) Close() (err error) {
	// The record ends before the lab that it is of.
	for i := len(s.close) - 1; i >= 0; i-- {
		err = errors.Join(err, s.close[i]())
	}
	return err
}

// public returns the address as which the internet sees what the i-th home sends, from 0.
func (s *street) public(i int) netip.Addr {
	r, device := s.routers[i], s.devices[i]
	switch {
	case !device.Addr().IsValid():
		return device.Addr6()
	case s.behind[i] != nil:
		return s.behind[i].External()
	case r.Kind() == natlab.None:
		return device.Addr()
	}
	return r.External()
}

// environment describes the street to a program on the device of the n-th home, from 1; 0 is the server.
func (s *street) environment(n int) []string {
	env := os.Environ()
	set := func(name string, value any) { env = append(env, fmt.Sprintf("NATLAB_%s=%v", name, value)) }
	address := func(name string, a netip.Addr) {
		if a.IsValid() {
			set(name, a)
		}
	}
	set("HOMES", len(s.devices))
	address("SERVER", s.server.Addr())
	address("SERVER_2", s.second)
	address("SERVER6", s.server.Addr6())
	for i, device := range s.devices {
		prefix := fmt.Sprintf("HOME%d_", i+1)
		r := s.routers[i]
		set(prefix+"NAT", r.Kind())
		address(prefix+"ADDR", device.Addr())
		address(prefix+"ADDR6", device.Addr6())
		address(prefix+"PUBLIC", s.public(i))
	}
	if n == 0 {
		return append(env, "NATLAB_NAME="+serverName)
	}
	r, device := s.routers[n-1], s.devices[n-1]
	set("NAME", r.Name())
	set("HOME", n)
	set("NAT", r.Kind())
	address("ADDR", device.Addr())
	address("ADDR6", device.Addr6())
	address("PUBLIC", s.public(n-1))
	if r.LAN().IsValid() {
		set("ROUTER", r.LAN().Addr().Next())
	}
	if r.LAN6().IsValid() {
		set("ROUTER6", r.LAN6().Addr().Next())
	}
	return env
}
