//go:build linux

package integration

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"simplebit/integration/natlab"
	"simplebit/integration/programs"
	"simplebit/rendezvous/apiclient"
)

// answering is a scene whose surrogate has two public addresses of each family.
type answering struct {
	*scene
	four, six [2]netip.Addr
}

func newAnswering(t *testing.T) *answering {
	t.Helper()
	for _, tool := range []string{"turnutils_natdiscovery", "stun"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Fatalf("%v: apt install coturn stun-client", err)
		}
	}
	dir, err := os.MkdirTemp("", "sb")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			keepLogs(t, dir)
		}
		os.RemoveAll(dir)
	})
	s := &answering{scene: &scene{T: t, dir: dir}}
	s.lab, err = natlab.New(natlab.Config{})
	s.ok(err)
	t.Cleanup(func() { s.lab.Close() })
	machine := s.host("surrogate")
	s.four, s.six = [2]netip.Addr{machine.Addr(), machine.Addr().Next()}, [2]netip.Addr{machine.Addr6(), machine.Addr6().Next()}
	for _, args := range [][]string{{s.four[1].String() + "/24"}, {s.six[1].String() + "/64", "nodad"}} {
		out, err := machine.Command(t.Context(), "ip", append([]string{"address", "add", "dev", "eth0"}, args...)...).CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	s.surrogate, err = programs.StartSurrogate(t.Context(), programs.OursConfig{
		Host: machine, Bin: bin(t), Dir: filepath.Join(dir, "s"),
		Args: []string{"--public", s.four[1].String(), "--public", s.six[0].String(), "--public", s.six[1].String()},
	})
	s.ok(err)
	return s
}

// hears runs somebody else's program and wants patterns, in that order, in what it prints.
func hears(t *testing.T, h *natlab.Host, command string, patterns ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	words := strings.Fields(command)
	out, err := h.Command(ctx, words[0], words[1:]...).CombinedOutput()
	var exit *exec.ExitError // stun-client's status is its verdict
	if err != nil && (!errors.As(err, &exit) || ctx.Err() != nil) {
		t.Fatalf("%s: %v: %s", command, err, out)
	}
	if !regexp.MustCompile(`(?s)` + strings.Join(patterns, `.*`)).Match(out) {
		t.Errorf("%s on %s did not say %q but\n%s", command, h.Name(), patterns, out)
	}
}

func TestToolsOfOthersFindOutByTheSurrogateWhatANATDoes(t *testing.T) {
	t.Parallel()
	s := newAnswering(t)
	home := func(kind natlab.Kind) *natlab.Host {
		r, err := s.lab.Router("home-"+string(kind)[:4], natlab.RouterConfig{Kind: kind})
		s.ok(err)
		h, err := r.Host("at-" + string(kind)[:4])
		s.ok(err)
		return h
	}
	open, restricted, symmetric := s.host("open"), home(natlab.PortRestricted), home(natlab.Symmetric)
	a, b := regexp.QuoteMeta(s.four[0].String()), regexp.QuoteMeta(s.four[1].String())
	c, d := s.six[1].String(), s.six[0].String()
	behaviour, coturn := "turnutils_natdiscovery -m -f -p 4433 "+s.four[0].String(), `Response origin: : `+a+`:4433.*Other addr: : `+b+`:4434`
	for _, row := range []struct {
		host    *natlab.Host
		command string
		says    []string
	}{
		{open, behaviour, []string{coturn, regexp.QuoteMeta(open.Addr().String()), "NAT with Endpoint Independent Filtering!"}},
		{restricted, behaviour, []string{coturn, "NAT with Endpoint Independent Mapping!", "NAT with Address and Port Dependent Filtering!"}},
		{symmetric, behaviour, []string{coturn, "NAT with Address and Port Dependent Mapping!", "NAT with Address and Port Dependent Filtering!"}},
		{open, "turnutils_natdiscovery -m -f -p 4433 -L " + open.Addr6().String() + " " + c, []string{
			`Response origin: : \[?` + c + `\]?:4433`, `Other addr: : \[?` + d + `\]?:4434`, "NAT with Endpoint Independent Filtering!"}},
		{open, "turnutils_natdiscovery -t -T 1 -p 4433 -L " + open.Addr().String() + " " + s.four[1].String(), []string{"response 1", "response 2"}},
		{open, "stun " + s.four[0].String() + ":4433 -v", []string{`ChangedAddress = ` + b + `:4434`, `SourceAddress = ` + a + `:4433`, `Primary: Open`}},
		{restricted, "stun " + s.four[1].String() + ":4433", []string{`Primary: Independent Mapping, Port Dependent Filter`}},
		{symmetric, "stun " + s.four[0].String() + ":4433", []string{`Primary: Dependent Mapping`}},
	} {
		t.Run(row.host.Name()+" "+row.command, func(t *testing.T) {
			t.Parallel()
			hears(t, row.host, row.command, row.says...)
		})
	}
}

func TestDevicesAreServedAtEachAddressOfTheSurrogate(t *testing.T) {
	t.Parallel()
	s := newAnswering(t)
	for i, address := range []netip.Addr{s.four[0], s.four[1], s.six[0], s.six[1]} {
		name := fmt.Sprint("device", i)
		a := s.newAgent(name)
		invite, err := s.surrogate.Invite(t.Context())
		s.ok(err)
		first := netip.AddrPortFrom(s.four[0], 4433).String()
		if !strings.Contains(invite, "//"+first+"/") {
			t.Fatalf("%s does not lead to the first public address", invite)
		}
		s.ok(a.Join(t.Context(), strings.Replace(invite, first, netip.AddrPortFrom(address, 4433).String(), 1)))
		s.ok(a.Restart(t.Context()))
		s.until(name+" is connected by "+address.String(), patience, func() bool {
			st, err := a.Status()
			return err == nil && st.Connected
		})
	}
	s.until("every device has found its network open by the surrogate's STUN", patience, func() bool {
		all, err := s.surrogate.API().Devices(t.Context())
		s.ok(err)
		return len(all) == 4 && !slices.ContainsFunc(all, func(d apiclient.Device) bool {
			n := d.Network
			return n == nil || n.Blocked || n.Public != "yes" || n.Mapping != "endpoint-independent" || n.Filtering != "endpoint-independent"
		})
	})
}
