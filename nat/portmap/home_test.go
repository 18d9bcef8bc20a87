package portmap

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"simplebit/integration/natlab"
)

// printGateway has this program print the default gateways and end: that is how a host of a lab finds its own.
const printGateway = "PORTMAP_PRINT_GATEWAY"

func TestMain(m *testing.M) {
	// A fuzzing worker talks with its parent by files that Enter does not hand on.
	flag.Parse()
	if os.Getenv(printGateway) != "" {
		a, err := DefaultGateway()
		b, err6 := DefaultGateway6()
		fmt.Println(a, err, b, err6)
		return
	}
	if flag.Lookup("test.fuzz").Value.String() == "" {
		natlab.Enter()
	}
	os.Exit(m.Run())
}

// patience bounds whatever a test waits for.
const patience = time.Minute

// home is a device behind a router that runs miniupnpd, and somebody outside:
//
//	device 192.168.77.5, .6 ─ lan0 192.168.77.1 router 20.0.0.1 wan0 ─ outside 20.0.0.2
//	       fd00:77::5              fd00:77::1          2001:db8::1             2001:db8::2
//
// The addresses outside are not those of labs: miniupnpd maps nothing where its own is one that is reserved for tests.
type home struct {
	t                       *testing.T
	device, router, outside *natlab.Host
	daemon                  *exec.Cmd
}

var (
	homeGateway = netip.MustParseAddr("192.168.77.1")
	homeWAN     = netip.MustParseAddr("20.0.0.1")
	deviceA     = netip.MustParseAddr("192.168.77.5")
	deviceB     = netip.MustParseAddr("192.168.77.6")
)

// routerRules are those of a home router, with the chains that miniupnpd fills (its nft_init.sh); input is what the router
// does not hear.
const routerRules = `
table inet filter {
	chain input {
		type filter hook input priority filter; policy accept;
		meta l4proto ipv6-icmp accept
		iifname "wan0" ct state != { established, related } drop
		%s
	}
	chain forward {
		type filter hook forward priority filter; policy drop;
		ct state { established, related } accept
		iifname "lan0" accept
		jump miniupnpd
	}
	chain miniupnpd { }
	chain prerouting {
		type nat hook prerouting priority dstnat; policy accept;
		jump prerouting_miniupnpd
	}
	chain postrouting {
		type nat hook postrouting priority srcnat; policy accept;
		oifname "wan0" meta nfproto ipv4 masquerade
		jump postrouting_miniupnpd
	}
	chain prerouting_miniupnpd { }
	chain postrouting_miniupnpd { }
}
`

const daemonConfig = `ext_ifname=wan0
listening_ip=lan0
enable_natpmp=yes
enable_upnp=yes
secure_mode=yes
notify_interval=60
uuid=7c1f2b6e-34a5-4c5e-9d1c-1f0a2a5f3b77
allow 1024-65535 0.0.0.0/0 1024-65535
deny 0-65535 0.0.0.0/0 0-65535
`

// newHome builds a home whose router does not hear what the rule drops.
func newHome(t *testing.T, deaf string) *home {
	natlab.Require(t)
	lab, err := natlab.New(natlab.Config{Name: "portmap"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := lab.Close(); err != nil {
			t.Error(err)
		}
	})
	host := func(name string) *natlab.Host {
		h, err := lab.Host(name)
		if err != nil {
			t.Fatal(err)
		}
		return h
	}
	h := &home{t: t, device: host("device"), router: host("router"), outside: host("outside")}
	all, err := filepath.Glob("/run/netns/*-device")
	if err != nil || len(all) != 1 {
		t.Fatalf("hosts: %v %v", all, err)
	}
	device, outside := all[0], strings.TrimSuffix(all[0], "device")+"outside"
	for _, x := range []*natlab.Host{h.device, h.router, h.outside} {
		h.run(x, "", "ip", "link", "del", "eth0")
	}
	h.run(h.router, fmt.Sprintf(`link add lan0 type veth peer name eth0 netns %s
link add wan0 type veth peer name eth0 netns %s
addr add 192.168.77.1/24 dev lan0
addr add fd00:77::1/64 dev lan0 nodad
addr add 20.0.0.1/24 dev wan0
addr add 2001:db8::1/64 dev wan0 nodad
link set lan0 up
link set wan0 up
`, device, outside), "ip", "-batch", "-")
	h.run(h.device, `addr add 192.168.77.5/24 dev eth0
addr add 192.168.77.6/24 dev eth0
addr add fd00:77::5/64 dev eth0 nodad
link set eth0 up
route add default via 192.168.77.1
route add ::/0 via fd00:77::1
`, "ip", "-batch", "-")
	h.run(h.outside, `addr add 20.0.0.2/24 dev eth0
addr add 2001:db8::2/64 dev eth0 nodad
link set eth0 up
route add fd00:77::/64 via 2001:db8::1
`, "ip", "-batch", "-")
	err = h.router.Do(func() error {
		if err := os.WriteFile("/proc/sys/net/ipv6/conf/all/forwarding", []byte("1"), 0); err != nil {
			return err
		}
		return os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0)
	})
	if err != nil {
		t.Fatal(err)
	}
	h.run(h.router, fmt.Sprintf(routerRules, deaf), "nft", "-f", "-")
	h.startDaemon()
	return h
}

// run runs a program on a host.
func (h *home) run(on *natlab.Host, input, program string, args ...string) string {
	h.t.Helper()
	cmd := on.Command(h.t.Context(), program, args...)
	cmd.Stdin = strings.NewReader(input)
	out, err := cmd.CombinedOutput()
	if err != nil {
		h.t.Fatalf("%s %v: %v: %s", program, args, err, out)
	}
	return string(out)
}

func (h *home) startDaemon() {
	h.t.Helper()
	config := filepath.Join(h.t.TempDir(), "miniupnpd.conf")
	if err := os.WriteFile(config, []byte(daemonConfig), 0o644); err != nil {
		h.t.Fatal(err)
	}
	h.daemon = h.router.Command(h.t.Context(), "miniupnpd", "-d", "-f", config, "-P", config+".pid")
	log, err := os.Create(config + ".log")
	if err != nil {
		h.t.Fatal(err)
	}
	defer log.Close()
	h.daemon.Stdout, h.daemon.Stderr = log, log
	if err := h.daemon.Start(); err != nil {
		h.t.Fatalf("miniupnpd: %v: install package miniupnpd-nftables", err)
	}
	daemon := h.daemon
	h.t.Cleanup(func() {
		daemon.Process.Kill()
		daemon.Wait()
		if h.t.Failed() {
			b, _ := os.ReadFile(log.Name())
			h.t.Logf("miniupnpd said:\n%s", b)
		}
	})
	h.await("miniupnpd hears", func() bool {
		return strings.Contains(h.run(h.router, "", "ss", "-lnu"), ":5351 ")
	})
}

// restartDaemon is what a reboot of the router is to its clients.
func (h *home) restartDaemon() {
	h.t.Helper()
	h.daemon.Process.Kill()
	h.daemon.Wait()
	for _, chain := range []string{"miniupnpd", "prerouting_miniupnpd", "postrouting_miniupnpd"} {
		h.run(h.router, "", "nft", "flush", "chain", "inet", "filter", chain)
	}
	h.startDaemon()
}

// rules are what miniupnpd has set up.
func (h *home) rules() string {
	h.t.Helper()
	return h.run(h.router, "", "nft", "list", "chain", "inet", "filter", "prerouting_miniupnpd")
}

func (h *home) await(what string, ok func() bool) {
	h.t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			h.t.Fatalf("not so in time: %s", what)
		}
	}
}

// config is a device's, whose sockets are opened as they are by default, but on the lab's host.
func (h *home) config(local netip.Addr) Config {
	dial, listen := dialFrom(local), listenOn(local)
	return Config{
		Gateway: homeGateway,
		Log:     slog.New(slog.NewTextHandler(h.t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug})),
		Dial: func(ctx context.Context, network, address string) (c net.Conn, err error) {
			err = h.device.Do(func() error { c, err = dial(ctx, network, address); return err })
			return c, err
		},
		Listen: func(network, address string) (c net.PacketConn, err error) {
			err = h.device.Do(func() error { c, err = listen(network, address); return err })
			return c, err
		},
	}
}

// running is a mapper that runs.
type running struct {
	*Mapper
	h    *home
	news chan []Mapping
	stop context.CancelFunc
	end  chan error
}

func (h *home) start(c Config, want ...Port) *running {
	ctx, stop := context.WithCancel(h.t.Context())
	r := &running{Mapper: New(c), h: h, news: make(chan []Mapping, 64), stop: stop, end: make(chan error, 1)}
	go func() {
		defer close(r.end)
		r.end <- r.Run(ctx, want, func(m []Mapping) { r.news <- m })
	}()
	h.t.Cleanup(func() {
		stop()
		for range r.end { // before the lab goes
		}
	})
	return r
}

// next waits for the news that so many ports are mapped.
func (r *running) next(n int) []Mapping {
	r.h.t.Helper()
	for timeout := time.After(patience); ; {
		select {
		case m := <-r.news:
			if len(m) == n {
				return m
			}
		case err := <-r.end:
			r.h.t.Fatalf("Run ended: %v", err)
		case <-timeout:
			r.h.t.Fatalf("no %d mappings", n)
		}
	}
}

// finish ends Run and returns how long that took.
func (r *running) finish() time.Duration {
	r.h.t.Helper()
	began := time.Now()
	r.stop()
	select {
	case err := <-r.end:
		if err != nil {
			r.h.t.Errorf("Run: %v", err)
		}
	case <-time.After(patience):
		r.h.t.Fatal("Run does not end")
	}
	return time.Since(began)
}
