package stun

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/netip"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// patience bounds one run of somebody else's program.
const patience = 30 * time.Second

// homeRouter makes the device's own kernel treat it as a home router would: other ports outside, and nothing comes in but
// from who was sent to.
const homeRouter = `nft -f - <<-EOF
	table ip t {
		chain out {
			type nat hook postrouting priority srcnat;
			oifname "eth0" meta l4proto udp masquerade to :20000-20100
		}
		chain in {
			type filter hook input priority filter;
			iifname "eth0" ct state established,related accept
			iifname "eth0" meta l4proto udp drop
		}
	}
EOF`

func (l *lab) behindHomeRouter() {
	if out, err := l.device.Command(l.t.Context(), "sh", "-ec", homeRouter).CombinedOutput(); err != nil {
		l.t.Fatalf("%v: %s", err, out)
	}
}

// run runs a program on the device until it ends.
func (l *lab) run(name string, args ...string) string {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(l.t.Context(), patience)
	defer cancel()
	// The exit status of stun-client is its verdict.
	var exit *exec.ExitError
	out, err := l.device.Command(ctx, name, args...).CombinedOutput()
	if err != nil && (!errors.As(err, &exit) || ctx.Err() != nil) {
		l.t.Fatalf("%s: %v: %s", name, err, out)
	}
	return string(out)
}

// contains wants lines, as regular expressions, in that order, in what a program said.
func (l *lab) contains(name, out string, lines ...string) {
	l.t.Helper()
	if !regexp.MustCompile(`(?s)` + strings.Join(lines, `.*`)).MatchString(out) {
		l.t.Errorf("%s did not say %q but\n%s", name, lines, out)
	}
}

func TestCoturnDiscoversByOurServer(t *testing.T) {
	l := newLab(t)
	// Its requests have 20 bytes, the answers 56 and 92.
	l.serve(l.four, 1024)
	l.serve(l.six, 1024)
	const mapped = `UDP reflexive addr: `
	four, six := l.device.Addr(), l.device.Addr6()
	for _, c := range []struct {
		device, machine netip.Addr
		other           netip.Addr
	}{{four, l.four[0], l.four[1]}, {six, l.six[0], l.six[1]}} {
		at, other := regexp.QuoteMeta(c.machine.String()), regexp.QuoteMeta(c.other.String())
		device := regexp.QuoteMeta(c.device.String())
		out := l.run("turnutils_natdiscovery", "-m", "-f", "-L", c.device.String(), c.machine.String())
		l.contains("turnutils_natdiscovery", out, `Response origin: : \[?`+at+`\]?:3478`, `Other addr: : \[?`+other+`\]?:3479`, mapped+`\[?`+device,
			"NAT with Endpoint Independent Filtering!")
		out = l.run("turnutils_stunclient", "-L", c.device.String(), c.machine.String())
		l.contains("turnutils_stunclient", out, `RFC 5780 response 1`, mapped+`\[?`+device,
			`RFC 5780 response 2`, `Response origin: : \[?`+other+`\]?:3479`, `RFC 5780 response 3`)
	}
	out := l.run("turnutils_natdiscovery", "-H", "-t", "-T", "1", "-L", four.String(), l.four[0].String())
	l.contains("turnutils_natdiscovery", out, "Lifetime", "response 1", "response 2", "Hairpinning", "response 3")
}

func TestCoturnDiscoversAHomeRouterByOurServer(t *testing.T) {
	l := newLab(t)
	// With -P its requests are longer than any answer, so nothing needs to be granted.
	l.serve(l.four, 0)
	l.behindHomeRouter()
	out := l.run("turnutils_natdiscovery", "-m", "-f", "-P", l.four[0].String())
	l.contains("turnutils_natdiscovery", out, `UDP reflexive addr: `+regexp.QuoteMeta(l.device.Addr().String())+`:20\d\d\d`,
		"NAT with Endpoint Independent Mapping!", "NAT with Address and Port Dependent Filtering!")
}

func TestStunClientAsksOurServer(t *testing.T) {
	// A NAT that keeps the address is a firewall to it.
	for name, c := range map[string]struct {
		router bool
		want   []string
	}{
		"open":        {false, []string{`preserver port = 1`, `Primary: Open`}},
		"home router": {true, []string{`test III = 0`, `preserver port = 0`, `Primary: Firewall`}},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			l.serve(l.four, 1024)
			if c.router {
				l.behindHomeRouter()
			}
			out := l.run("stun", l.four[0].String(), "-v")
			l.contains("stun", out, append([]string{`MappedAddress = ` + l.device.Addr().String() + `:\d+`,
				`ChangedAddress = ` + l.four[1].String() + `:3479`, `SourceAddress = ` + l.four[0].String() + `:3478`}, c.want...)...)
		})
	}
}

func TestOurClientAsksCoturn(t *testing.T) {
	l := newLab(t)
	dir := t.TempDir()
	args := []string{"-n", "--no-cli", "--stun-only", "--no-tls", "--no-dtls", "--no-tcp", "--log-file=stdout", "--simple-log",
		"--pidfile=" + filepath.Join(dir, "pid"), "--userdb=" + filepath.Join(dir, "db")}
	for _, a := range slices.Concat(l.four[:], l.six[:]) {
		args = append(args, "--listening-ip="+a.String())
	}
	ctx, stop := context.WithCancel(t.Context())
	cmd := l.machine.Command(ctx, "turnserver", args...)
	cmd.Dir = dir
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stop()
		cmd.Wait()
		if t.Failed() {
			t.Log(log.String())
		}
	})
	// It answers when it has started.
	c, _ := l.client()
	deadline := time.Now().Add(patience)
	for {
		_, err := c.Binding(ctx, netip.AddrPortFrom(l.six[1], 3479), Options{})
		if err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
	l.discover(l.device.Addr(), l.four)
	l.discover(l.device.Addr6(), l.six)

	l.behindHomeRouter()
	c, port := l.client()
	to := netip.AddrPortFrom(l.four[0], 3478)
	r, err := c.Binding(ctx, to, Options{})
	if err != nil || r.Mapped.Addr() != l.device.Addr() || r.Mapped.Port() == port || r.Mapped.Port()/1000 != 20 {
		t.Errorf("behind a home router: %+v, %v", r, err)
	}
	_, err = c.Binding(ctx, to, Options{ChangeIP: true, ChangePort: true, Other: r.Other})
	if !errors.Is(err, ErrNoAnswer) {
		t.Errorf("a home router lets in who was never sent to: %v", err)
	}
}

func TestUnreachableServerIsTold(t *testing.T) {
	l := newLab(t)
	c, _ := l.client()
	if out, err := l.device.Command(t.Context(), "ip", "route", "del", "default").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	var op *net.OpError
	if _, err := c.Binding(t.Context(), netip.AddrPortFrom(l.four[0], 3478), Options{}); !errors.As(err, &op) {
		t.Error(err)
	}
}
