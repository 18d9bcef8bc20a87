//go:build linux

package integration

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"simplebit/edgeagent"
	"simplebit/integration/natlab"
	"simplebit/integration/programs"
	"simplebit/rendezvous/apiclient"
)

// newSuburb is a scene without a tracker, whose surrogate has two public addresses and those flags besides, for agents in homes.
func newSuburb(t *testing.T, args ...string) *scene {
	t.Helper()
	programs.Require(t)
	s := emptyScene(t)
	host := s.host("surrogate")
	second := host.Addr().Next()
	if out, err := host.Command(t.Context(), "ip", "address", "add", second.String()+"/24", "dev", "eth0").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	surrogate, err := programs.StartSurrogate(t.Context(), programs.OursConfig{
		Host: host, Bin: bin(t), Dir: filepath.Join(s.dir, "s"), Args: append(args, "--public", second.String()),
	})
	s.ok(err)
	s.surrogate = surrogate
	return s
}

// home adds a home with an agent on a device.
func (s *scene) home(name string, c natlab.RouterConfig, args ...string) (*natlab.Router, *programs.Agent) {
	s.Helper()
	r, err := s.lab.Router(name, c)
	s.ok(err)
	h, err := r.Host(name + "-pc")
	s.ok(err)
	a, err := programs.StartAgent(s.Context(), programs.OursConfig{
		Host: h, Bin: bin(s.T), Dir: filepath.Join(s.dir, name), Home: s.surrogate, Args: args,
	})
	s.ok(err)
	return r, a
}

// untilKnown waits until an agent knows what is wanted of its network.
func (s *scene) untilKnown(a *programs.Agent, what string, holds func(edgeagent.NetworkStatus) bool) edgeagent.NetworkStatus {
	s.Helper()
	var st edgeagent.Status
	s.until(what, patience, func() bool {
		var err error
		st, err = a.Status()
		return err == nil && holds(st.Network)
	})
	return st.Network
}

func known(n edgeagent.NetworkStatus) bool { return n.Summary != "" }

// device is what the surrogate shows of an agent.
func (s *scene) device(a *programs.Agent) apiclient.Device {
	s.Helper()
	list := s.devices()
	i := slices.IndexFunc(list, func(d apiclient.Device) bool { return d.Name == a.Host().Name() })
	if i < 0 {
		s.Fatalf("no device %s", a.Host().Name())
	}
	return list[i]
}

func TestDevicesShowWhatTheySitBehind(t *testing.T) {
	t.Parallel()
	s := newSuburb(t)
	begin := time.Now()
	router, pc := s.home("home", natlab.RouterConfig{})
	_, hard := s.home("hard", natlab.RouterConfig{Kind: natlab.Symmetric})
	_, open := s.home("open", natlab.RouterConfig{Kind: natlab.None})
	for _, c := range []struct {
		agent                         *programs.Agent
		mapping, filtering, reachable string
		summary                       string
	}{
		{pc, "endpoint-independent", "address and port-dependent", "no", "behind a home router that allows direct connections"},
		{hard, "address and port-dependent", "address and port-dependent", "no", "behind a home router that uses another port for everyone: direct connections are hard"},
		{open, "endpoint-independent", "endpoint-independent", "yes", "on the internet with an address of its own: everybody can connect to it"},
	} {
		n := s.untilKnown(c.agent, "it is known what the device sits behind", known)
		if n.Mapping != c.mapping || n.Filtering != c.filtering || n.Reachable != c.reachable || n.Summary != c.summary || n.DoubleNAT != "no" {
			t.Errorf("%s: %+v", c.agent.Host().Name(), n)
		}
		var d apiclient.Device
		s.until("the surrogate shows it too", patience, func() bool {
			d = s.device(c.agent)
			return d.Network != nil && string(d.Network.Mapping) == c.mapping
		})
		if d.Network.Summary != c.summary {
			t.Errorf("the surrogate shows %+v", d.Network)
		}
	}
	t.Logf("three agents are known after %s", time.Since(begin).Round(time.Millisecond))

	external := netip.AddrPortFrom(router.External(), 6882)
	if n := s.untilKnown(pc, "it is known", known); !slices.Contains(n.Candidates, "reflexive "+external.String()) ||
		!slices.Contains(n.Candidates, fmt.Sprintf("host %s:6882", pc.Host().Addr())) {
		t.Errorf("candidates %v", n.Candidates)
	}
	// The device gets another address of its own beside the one that it has: the kernel says so.
	moved := netip.AddrPortFrom(pc.Host().Addr().Next(), 6882)
	if out, err := pc.Host().Command(t.Context(), "ip", "address", "add", moved.Addr().String()+"/24", "dev", "eth0").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	s.untilKnown(pc, "its new address is known", func(n edgeagent.NetworkStatus) bool {
		return slices.Contains(n.Candidates, "host "+moved.String())
	})
	// The provider gives the router another address, which the connection survives. The device's next glance sees it: here
	// because of a notice of the kernel, which is of nothing that matters.
	s.ok(router.Renumber())
	if out, err := pc.Host().Command(t.Context(), "ip", "address", "add", "127.0.0.5/8", "dev", "lo").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	renewed := netip.AddrPortFrom(router.External(), 6882)
	s.until("the new address is known", patience, func() bool {
		st, err := pc.Status()
		return err == nil && slices.Contains(st.Network.Candidates, "reflexive "+renewed.String()) && !slices.Contains(st.Network.Candidates, "reflexive "+external.String())
	})
}

func TestADeviceWithIPv6TellsOfBothFamilies(t *testing.T) {
	t.Parallel()
	s := newSuburb(t)
	_, pc := s.home("home", natlab.RouterConfig{Kind: natlab.DualStack})
	n := s.untilKnown(pc, "it is known", known)
	if n.Mapping != "endpoint-independent" || n.Public != "no" ||
		!slices.Contains(n.Candidates, fmt.Sprintf("host %s:6882", pc.Host().Addr())) ||
		!slices.Contains(n.Candidates, fmt.Sprintf("host [%s]:6882", pc.Host().Addr6())) {
		t.Errorf("found %+v", n)
	}
}

func TestARouterForwardsThePeerPortWhileTheAgentRuns(t *testing.T) {
	t.Parallel()
	s := newSuburb(t)
	router, pc := s.home("home", natlab.RouterConfig{Kind: natlab.Mapping})
	external := netip.AddrPortFrom(router.External(), 6882)
	n := s.untilKnown(pc, "strangers get through to the device", func(n edgeagent.NetworkStatus) bool { return n.Reachable == "yes" })
	// Other sockets are filtered still.
	if n.Filtering != "address and port-dependent" || n.DoubleNAT != "no" || !slices.Contains(n.Candidates, "mapped "+external.String()) {
		t.Errorf("found %+v", n)
	}
	s.until("the surrogate shows that peers get there by TCP too", patience, func() bool {
		d := s.device(pc)
		return d.Network != nil && slices.Contains(d.Network.Candidates, apiclient.Candidate{Kind: "mapped", Addr: external.String(), TCP: true})
	})
	rules := func() int {
		out, err := router.Command(t.Context(), "nft", "list", "table", "inet", "miniupnpd").CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return strings.Count(string(out), "6882")
	}
	if rules() == 0 {
		t.Error("the router forwards nothing")
	}
	s.endsInTime(pc)
	if n := rules(); n != 0 {
		t.Errorf("the router has %d rules for an agent that is gone", n)
	}
}

func TestAnAgentEndsInTimeWhereTheRouterIsGone(t *testing.T) {
	t.Parallel()
	s := newSuburb(t)
	_, pc := s.home("home", natlab.RouterConfig{Kind: natlab.Mapping})
	s.untilKnown(pc, "a port is open", func(n edgeagent.NetworkStatus) bool { return n.Reachable == "yes" })
	s.ok(pc.Host().Cut())
	s.endsInTime(pc)
}

// endsInTime stops an agent, which gives a router two seconds to close what was opened; without a limit it would take 3.8.
func (s *scene) endsInTime(a *programs.Agent) {
	s.Helper()
	begin := time.Now()
	s.ok(a.Stop())
	took := time.Since(begin)
	s.Logf("the agent ends in %s", took.Round(time.Millisecond))
	if took > 3500*time.Millisecond || a.ExitCode() != 0 {
		s.Errorf("the agent ends in %s with exit status %d", took, a.ExitCode())
	}
}

func TestNoPortIsAskedForWhereThatIsNotWanted(t *testing.T) {
	t.Parallel()
	s := newSuburb(t)
	_, pc := s.home("home", natlab.RouterConfig{Kind: natlab.Mapping}, "--port-mapping=false")
	if n := s.untilKnown(pc, "it is known", known); n.Reachable != "no" || slices.ContainsFunc(n.Candidates, func(c string) bool { return strings.HasPrefix(c, "mapped") }) {
		t.Errorf("found %+v", n)
	}
}

func TestASurrogateWithOneAddressAndNoSecondPortTellsLittle(t *testing.T) {
	t.Parallel()
	s := newSuburb(t)
	s.ok(s.surrogate.Stop())
	one := programs.OursConfig{Host: s.surrogate.Host(), Bin: bin(t), Dir: s.surrogate.Data(), Args: []string{"--stun-alt", ""}}
	var err error
	s.surrogate, err = programs.StartSurrogate(t.Context(), one)
	s.ok(err)
	_, pc := s.home("home", natlab.RouterConfig{})
	n := s.untilKnown(pc, "it is known", known)
	if n.Mapping != "unknown" || n.Filtering != "unknown" || n.Public != "no" || n.PortPreserved != "yes" {
		t.Errorf("found %+v", n)
	}
}
