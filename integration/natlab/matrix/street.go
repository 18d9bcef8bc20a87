//go:build linux

package matrix

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"simplebit/integration/natlab"
	"simplebit/rendezvous/apiclient"
)

// The round-trip times of a lab, half of them each way.
const (
	SurrogateRTT = 20 * time.Millisecond // between a home and the surrogate
	HomesRTT     = 40 * time.Millisecond // between two homes
)

// street is a lab with a surrogate, to which homes are added for each try.
type street struct {
	lab       *natlab.Lab
	dir       string // of everything that runs there
	bin       string
	surrogate *natlab.Host
	second    netip.Addr // of the surrogate
	relay     bool       // whether the surrogate carries data
	service   *program
	api       *apiclient.Client
	tries     int
}

// newStreet makes a lab below dir with a surrogate that answers.
func newStreet(ctx context.Context, dir, bin string, relay bool) (s *street, err error) {
	if s, err = newLab(ctx, dir); err == nil {
		s.bin, s.relay = bin, relay
		err = s.serve(ctx)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("a lab with a surrogate: %w", err), s.close())
	}
	return s, nil
}

// newLab makes the lab and the surrogate's host. It has to be closed also after an error.
func newLab(ctx context.Context, dir string) (s *street, err error) {
	s = &street{}
	if s.dir, err = os.MkdirTemp(dir, "l"); err != nil { // short: unix sockets lie below it
		return s, err
	}
	if s.lab, err = natlab.New(natlab.Config{Name: "matrix", Core: &natlab.CoreConfig{Latency: HomesRTT / 2}}); err != nil {
		return s, err
	}
	if s.surrogate, err = s.lab.Host("surrogate"); err != nil {
		return s, err
	}
	// With a second address devices find out more of their NATs (RFC 5780).
	s.second = s.surrogate.Addr().Next()
	out, err := s.surrogate.Command(ctx, "ip", "address", "add", s.second.String()+"/24", "dev", "eth0").CombinedOutput()
	return s, said("a second address for the surrogate", out, err)
}

// serve starts the surrogate.
func (s *street) serve(ctx context.Context) (err error) {
	if err := os.Mkdir(s.data(), 0o700); err != nil {
		return err
	}
	args := []string{"serve", "--data", s.data(), "--no-dht", "--control-tcp", ":443",
		"--public", s.surrogate.Addr().String(), "--public", s.second.String(), "--public", s.surrogate.Addr6().String()}
	if !s.relay {
		args = append(args, "--relay-rate", "0")
	}
	if s.service, err = start(ctx, s.surrogate, s.data(), filepath.Join(s.bin, "rendezvous"), args...); err != nil {
		return err
	}
	s.api = apiclient.New(apiclient.Config{Socket: s.socket()})
	return s.service.await(ctx, "its API does not answer", time.Minute, 20*time.Millisecond, func() (bool, error) {
		_, err := s.api.Jobs(ctx)
		return err == nil, err
	})
}

// data is the surrogate's data folder, and socket where it is administered.
func (s *street) data() string   { return filepath.Join(s.dir, "s") }
func (s *street) socket() string { return filepath.Join(s.data(), "admin.sock") }

// close ends everything in the lab and forgets it.
func (s *street) close() (err error) {
	if s.api != nil {
		s.api.Close()
	}
	if s.lab != nil {
		err = s.lab.Close()
	}
	return errors.Join(err, os.RemoveAll(s.dir))
}

// lans are what home routers come with. Two homes may well have the same.
var lans = []netip.Prefix{netip.MustParsePrefix("192.168.0.0/24"), netip.MustParsePrefix("192.168.1.0/24")}

// homes are those of one try.
type homes struct {
	devices [2]*natlab.Host
	routers [2]*natlab.Router // the same twice in one home
}

// inner is where carriers have their homes' routers (RFC 6598).
var inner = netip.MustParsePrefix("100.64.0.0/10")

// within is where a connection between devices of a pair ends that does not leave what they share: at their own addresses in one
// home, not at one that its router lends them, or in the network within a carrier. One that a carrier leads back ends at a
// public address.
func (h homes) within(p Pair) (all []netip.Prefix) {
	switch p.Shared {
	case sharedHome:
		for _, d := range h.devices {
			for _, a := range []netip.Addr{d.Addr(), d.Addr6()} {
				if a.IsValid() {
					all = append(all, netip.PrefixFrom(a, a.BitLen()))
				}
			}
		}
	case sharedCarrier:
		all = append(all, inner)
	}
	return all
}

// move adds the homes of a pair, which nobody has seen before.
func (s *street) move(p Pair, random *rand.ChaCha8) (h homes, err error) {
	s.tries++
	lan := func() netip.Prefix { return lans[random.Uint64()%uint64(len(lans))] }
	var carriers [2]*natlab.Carrier
	for i, place := range []Place{p.A, p.B} {
		name := fmt.Sprintf("%c%d", "ab"[i], s.tries)
		if i == 1 && p.Shared == sharedCarrier {
			carriers[1] = carriers[0]
		} else if place.carrier() && !(i == 1 && p.Shared == sharedHome) {
			if carriers[i], err = s.lab.Carrier(name+"-isp", natlab.CarrierConfig{Hairpin: place == CGNATHairpin}); err != nil {
				return h, err
			}
		}
		if i == 1 && p.Shared == sharedHome {
			h.routers[1] = h.routers[0]
		} else {
			c := natlab.RouterConfig{Kind: place.kind(), Carrier: carriers[i], LAN: lan()}
			if h.routers[i], err = s.lab.Router(name+"-home", c); err != nil {
				return h, err
			}
			if err := s.lab.SetLatency(s.surrogate, h.routers[i], SurrogateRTT/2); err != nil {
				return h, err
			}
		}
		if h.devices[i], err = h.routers[i].Host(name); err != nil {
			return h, err
		}
	}
	return h, nil
}
