//go:build linux

package natlab_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"simplebit/integration/natlab"
)

func TestMain(m *testing.M) {
	if roleEntered() {
		natlab.Enter()
	}
	if role() {
		return
	}
	// Tests wait for the kernel and for programs more than they compute.
	flag.Parse()
	if err := flag.Set("test.parallel", "6"); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

// newLab makes a lab with the named hosts, closed at the end of the test.
func newLab(t *testing.T, names ...string) (*natlab.Lab, []*natlab.Host) {
	t.Helper()
	return newLabOf(t, natlab.Config{}, names...)
}

// newLabOf is newLab with a configuration.
func newLabOf(t *testing.T, c natlab.Config, names ...string) (*natlab.Lab, []*natlab.Host) {
	t.Helper()
	natlab.Require(t)
	lab, err := natlab.New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := lab.Close(); err != nil {
			t.Error(err)
		}
	})
	var hosts []*natlab.Host
	for _, name := range names {
		h, err := lab.Host(name)
		if err != nil {
			t.Fatal(err)
		}
		hosts = append(hosts, h)
	}
	return lab, hosts
}

// listenUDP opens a socket that is told the TTL or hop limit of what it receives.
func listenUDP(t *testing.T, h *natlab.Host, addr netip.Addr) *net.UDPConn {
	t.Helper()
	pc, err := h.ListenPacket("udp", netip.AddrPortFrom(addr, 0).String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { pc.Close() })
	conn := pc.(*net.UDPConn)
	raw, err := conn.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	raw.Control(func(fd uintptr) {
		if addr.Is4() {
			err = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_RECVTTL, 1)
		} else {
			err = unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_RECVHOPLIMIT, 1)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

// receive returns the next datagram's payload and its TTL.
func receive(c *net.UDPConn, wait time.Duration) (payload string, from netip.AddrPort, ttl int, err error) {
	b, oob := make([]byte, 2048), make([]byte, 128)
	c.SetReadDeadline(time.Now().Add(wait))
	n, oobn, _, from, err := c.ReadMsgUDPAddrPort(b, oob)
	if err != nil {
		return "", from, 0, err
	}
	messages, err := unix.ParseSocketControlMessage(oob[:oobn])
	if err != nil || len(messages) != 1 || len(messages[0].Data) < 4 {
		return "", from, 0, fmt.Errorf("control messages %v: %w", messages, err)
	}
	return string(b[:n]), from, int(messages[0].Data[0]), nil
}

func TestHostsReachEachOtherThroughOneRouter(t *testing.T) {
	// Others may be using the machine: one of a few goes has to be fast.
	const inTime = 1500 * time.Millisecond
	var took []time.Duration
	for began := time.Now(); len(took) == 0 || time.Since(began) < patience; {
		took = append(took, greet(t))
		if took[len(took)-1] < inTime {
			return
		}
	}
	t.Errorf("two hosts exchanged packets after %v, want at most %v", took, inTime)
}

// greet makes a lab of two hosts, has packets go from one to the other, and returns how long that took.
func greet(t *testing.T) time.Duration {
	t.Helper()
	began := time.Now()
	_, hosts := newLab(t, "attic", "cellar")
	t.Logf("lab of two hosts after %v", time.Since(began))
	attic, cellar := hosts[0], hosts[1]
	for _, pair := range [][2]netip.Addr{{attic.Addr(), cellar.Addr()}, {attic.Addr6(), cellar.Addr6()}} {
		a, b := listenUDP(t, attic, pair[0]), listenUDP(t, cellar, pair[1])
		to := netip.AddrPortFrom(pair[1], uint16(b.LocalAddr().(*net.UDPAddr).Port))
		if _, err := a.WriteToUDPAddrPort([]byte("hello"), to); err != nil {
			t.Fatal(err)
		}
		payload, from, ttl, err := receive(b, patience)
		if err != nil {
			t.Fatalf("%v to %v: %v", pair[0], pair[1], err)
		}
		if payload != "hello" || from.Addr() != pair[0] {
			t.Errorf("got %q from %v, want hello from %v", payload, from, pair[0])
		}
		if ttl != 63 {
			t.Errorf("%v: TTL %d, want 63: one router decrements it once", pair[1], ttl)
		}
	}
	return time.Since(began)
}

func TestTCPConnectsBetweenHosts(t *testing.T) {
	_, hosts := newLab(t, "attic", "cellar")
	for _, addr := range []netip.Addr{hosts[1].Addr(), hosts[1].Addr6()} {
		ln, err := hosts[1].Listen("tcp", netip.AddrPortFrom(addr, 0).String())
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			c, err := ln.Accept()
			if err == nil {
				fmt.Fprint(c, c.RemoteAddr().(*net.TCPAddr).IP)
				c.Close()
			}
		}()
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		c, err := hosts[0].DialContext(ctx, "tcp", ln.Addr().String())
		cancel()
		if err != nil {
			t.Fatal(err)
		}
		seen, err := io.ReadAll(c)
		if want := hosts[0].Addr().String(); addr.Is4() && string(seen) != want {
			t.Errorf("server saw %q (%v), want %s", seen, err, want)
		}
		if want := hosts[0].Addr6().String(); addr.Is6() && string(seen) != want {
			t.Errorf("server saw %q (%v), want %s", seen, err, want)
		}
		c.Close()
		ln.Close()
	}
}

func TestProcessesSeeOnlyTheirHostsAddresses(t *testing.T) {
	_, hosts := newLab(t, "attic", "cellar")
	for _, h := range hosts {
		out, err := h.Command(t.Context(), "ip", "-brief", "addr").Output()
		if err != nil {
			t.Fatal(err)
		}
		var byCommand []string
		for _, field := range strings.Fields(string(out)) {
			if p, err := netip.ParsePrefix(field); err == nil && !p.Addr().IsLinkLocalUnicast() {
				byCommand = append(byCommand, field)
			}
		}
		want := []string{"127.0.0.1/8", "::1/128", h.Addr().String() + "/24", h.Addr6().String() + "/64"}
		slices.Sort(want)
		slices.Sort(byCommand)
		if !slices.Equal(byCommand, want) {
			t.Errorf("a process on %s sees %v, want %v", h.Name(), byCommand, want)
		}

		var byThread []string
		err = h.Do(func() error {
			addrs, err := net.InterfaceAddrs()
			for _, a := range addrs {
				if p := netip.MustParsePrefix(a.String()); !p.Addr().IsLinkLocalUnicast() {
					byThread = append(byThread, a.String())
				}
			}
			return err
		})
		slices.Sort(byThread)
		if err != nil || !slices.Equal(byThread, want) {
			t.Errorf("a thread on %s sees %v (%v), want %v", h.Name(), byThread, err, want)
		}
	}
	addrs, err := net.InterfaceAddrs()
	if err != nil || len(addrs) != 2 {
		t.Errorf("outside the hosts this process sees %v (%v), want lo only", addrs, err)
	}
}

func TestCutLinkLosesPacketsUntilRestored(t *testing.T) {
	_, hosts := newLab(t, "attic", "cellar")
	for _, pair := range [][2]netip.Addr{{hosts[0].Addr(), hosts[1].Addr()}, {hosts[0].Addr6(), hosts[1].Addr6()}} {
		a, b := listenUDP(t, hosts[0], pair[0]), listenUDP(t, hosts[1], pair[1])
		to := b.LocalAddr().(*net.UDPAddr).AddrPort()
		arrives := func(wait time.Duration) bool {
			a.WriteToUDPAddrPort([]byte("hello"), to)
			_, _, _, err := receive(b, wait)
			return err == nil
		}
		if !arrives(patience) {
			t.Fatalf("%v: nothing arrives before the cut", pair)
		}
		for _, h := range hosts {
			if err := h.Cut(); err != nil {
				t.Fatal(err)
			}
			if arrives(100 * time.Millisecond) {
				t.Errorf("%v: a packet crosses the cut link of %s", pair, h.Name())
			}
			if err := h.Restore(); err != nil {
				t.Fatal(err)
			}
			// Less than the second after which ARP and neighbour discovery ask again.
			if !arrives(900 * time.Millisecond) {
				t.Errorf("%v: nothing arrives at once after restoring the link of %s", pair, h.Name())
			}
		}
	}
}

func TestConnectionSurvivesCutThatIsShort(t *testing.T) {
	_, hosts := newLab(t, "attic", "cellar")
	ln, err := hosts[1].Listen("tcp", ":7000")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	c, err := hosts[0].DialContext(t.Context(), "tcp", hosts[1].Addr().String()+":7000")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	s, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := hosts[0].Cut(); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	if err := hosts[0].Restore(); err != nil {
		t.Fatal(err)
	}
	s.SetReadDeadline(time.Now().Add(patience))
	if _, err := io.ReadFull(s, make([]byte, 5)); err != nil {
		t.Errorf("retransmission after restoring: %v", err)
	}
}

func TestShapedLinkKeepsItsRate(t *testing.T) {
	t.Parallel()
	_, hosts := newLab(t, "attic", "cellar")
	attic, cellar := hosts[0], hosts[1]
	ln, err := cellar.Listen("tcp", ":7000")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			n, _ := io.Copy(io.Discard, c)
			fmt.Fprintln(c, n)
			c.Close()
		}
	}()
	// Sends size bytes from attic to cellar and returns the rate.
	measure := func(size int) float64 {
		c, err := attic.DialContext(t.Context(), "tcp", cellar.Addr().String()+":7000")
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		began := time.Now()
		if _, err := c.Write(make([]byte, size)); err != nil {
			t.Fatal(err)
		}
		c.(*net.TCPConn).CloseWrite()
		if _, err := io.ReadAll(c); err != nil {
			t.Fatal(err)
		}
		return float64(size) / time.Since(began).Seconds()
	}
	const rate = 1 << 20
	for _, c := range []struct {
		what     string
		shape    func() error
		min, max float64
	}{
		{"sender's up", func() error { return attic.Shape(0, rate) }, 0.4 * rate, 1.15 * rate},
		{"receiver's down", func() error { return errors.Join(attic.Shape(0, 0), cellar.Shape(rate, 0)) }, 0.4 * rate, 1.15 * rate},
		{"other directions", func() error { return errors.Join(attic.Shape(rate, 0), cellar.Shape(0, rate)) }, 2 * rate, 1e12},
		{"none", func() error { return errors.Join(attic.Shape(0, 0), cellar.Shape(0, 0)) }, 2 * rate, 1e12},
	} {
		if err := c.shape(); err != nil {
			t.Fatal(err)
		}
		if got := measure(1 << 20); got < c.min || got > c.max {
			t.Errorf("shaped %s: %.0f bytes/s, want %.0f to %.0f", c.what, got, c.min, c.max)
		}
	}
	if err := attic.Shape(-1, 0); err == nil {
		t.Error("a negative rate was accepted")
	}
}

func TestCountersCountWhatCrossesTheLink(t *testing.T) {
	_, hosts := newLab(t, "attic", "cellar", "bystander")
	a, b := listenUDP(t, hosts[0], hosts[0].Addr()), listenUDP(t, hosts[1], hosts[1].Addr())
	var before [3]natlab.Counters
	for i, h := range hosts {
		var err error
		if before[i], err = h.Counters(); err != nil {
			t.Fatal(err)
		}
	}
	const packets, size = 50, 1000
	for range packets {
		a.WriteToUDPAddrPort(make([]byte, size), b.LocalAddr().(*net.UDPAddr).AddrPort())
		if _, _, _, err := receive(b, patience); err != nil {
			t.Fatal(err)
		}
	}
	var grown [3]natlab.Counters
	for i, h := range hosts {
		c, err := h.Counters()
		if err != nil {
			t.Fatal(err)
		}
		grown[i] = natlab.Counters{RxPackets: c.RxPackets - before[i].RxPackets, RxBytes: c.RxBytes - before[i].RxBytes,
			TxPackets: c.TxPackets - before[i].TxPackets, TxBytes: c.TxBytes - before[i].TxBytes}
	}
	// 14 bytes of Ethernet, 20 of IP and 8 of UDP header a packet, and a few packets of ARP and IPv6 multicast.
	const bytes, noise = packets * (size + 42), 10
	within := func(what string, gotPackets, gotBytes int64, wantPackets, wantBytes int64) {
		t.Helper()
		if gotPackets < wantPackets || gotPackets > wantPackets+noise || gotBytes < wantBytes || gotBytes > wantBytes+noise*100 {
			t.Errorf("%s: %d packets, %d bytes, want about %d, %d", what, gotPackets, gotBytes, wantPackets, wantBytes)
		}
	}
	within("sender sent", grown[0].TxPackets, grown[0].TxBytes, packets, bytes)
	within("sender received", grown[0].RxPackets, grown[0].RxBytes, 0, 0)
	within("receiver received", grown[1].RxPackets, grown[1].RxBytes, packets, bytes)
	within("receiver sent", grown[1].TxPackets, grown[1].TxBytes, 0, 0)
	within("bystander received", grown[2].RxPackets, grown[2].RxBytes, 0, 0)
}

func TestLabsAreIsolatedAndCloseKillsTheirProcesses(t *testing.T) {
	lab, hosts := newLab(t, "attic")
	other, others := newLab(t, "attic")
	if hosts[0].Addr() != others[0].Addr() {
		t.Errorf("first hosts have %v and %v, want the same address", hosts[0].Addr(), others[0].Addr())
	}
	token := sleepToken()
	// A shell that leaves an orphan behind, in a session of its own.
	start := func(h *natlab.Host) *exec.Cmd {
		cmd := h.Command(t.Context(), "sh", "-c", "setsid sleep $0 & exec sleep 1000", token)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		return cmd
	}
	doomed, kept := start(hosts[0]), start(others[0])
	waitFor(t, "two orphans", func() bool { return countProcesses("sleep\x00"+token) == 2 })
	if err := lab.Close(); err != nil {
		t.Fatal(err)
	}
	if err := doomed.Wait(); err == nil {
		t.Error("the closed lab's process ended by itself")
	}
	if n := countProcesses("sleep\x00" + token); n != 1 {
		t.Errorf("%d orphans after closing one of two labs, want 1", n)
	}
	if err := kept.Process.Signal(unix.Signal(0)); err != nil {
		t.Errorf("the other lab's process: %v", err)
	}
	if _, err := others[0].Counters(); err != nil {
		t.Errorf("the other lab's host: %v", err)
	}
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
	kept.Wait()
	waitFor(t, "no process left, not even a zombie", func() bool { return countProcesses("sleep\x00"+token) == 0 && zombies() == 0 })
}

func TestCancelledCommandIsKilledWithItsGroup(t *testing.T) {
	_, hosts := newLab(t, "attic")
	token := sleepToken()
	ctx, cancel := context.WithCancel(t.Context())
	cmd := hosts[0].Command(ctx, "sh", "-c", "sleep $0 & sleep $0", token)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "two sleeps", func() bool { return countProcesses("sleep\x00"+token) == 2 })
	cancel()
	if err := cmd.Wait(); !errors.Is(err, context.Canceled) && err == nil {
		t.Errorf("Wait: %v, want an error", err)
	}
	waitFor(t, "no sleep", func() bool { return countProcesses("sleep\x00"+token) == 0 })
}

func TestBadNamesAndMissingProgramsAreClearErrors(t *testing.T) {
	lab, hosts := newLab(t, "attic")
	for _, name := range []string{"", "attic", "Attic", "-attic", "a/b", "..", "thirteenchars", "two words", "semi;colon"} {
		if _, err := lab.Host(name); err == nil {
			t.Errorf("host %q was accepted", name)
		}
	}
	if _, err := natlab.New(natlab.Config{Name: "no good"}); err == nil {
		t.Error("a lab's bad name was accepted")
	}
	if err := hosts[0].Command(t.Context(), "no-such-program").Run(); !errors.Is(err, exec.ErrNotFound) {
		t.Errorf("running a missing program: %v, want exec.ErrNotFound", err)
	}
	if _, err := hosts[0].DialContext(t.Context(), "tcp", "example.org:80"); err == nil {
		t.Error("dialling by name was accepted")
	}
	if _, err := lab.Host("cellar"); err != nil {
		t.Errorf("a good host after bad ones: %v", err)
	}
}
