//go:build linux

package matrix

import (
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"simplebit/integration/natlab"
)

func TestMain(m *testing.M) {
	natlab.Enter()
	code := m.Run()
	if left, err := filepath.Glob("/run/m*"); err != nil || len(left) > 0 {
		fmt.Fprintf(os.Stderr, "%v stays behind, %v\n", left, err)
		code = 1
	}
	os.Exit(code)
}

// echo answers every datagram that comes to port 7 of a host.
func echo(t *testing.T, host *natlab.Host) {
	t.Helper()
	pc, err := host.ListenPacket("udp", ":7")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { pc.Close() })
	go func() {
		for b := make([]byte, 64); ; {
			n, from, err := pc.ReadFrom(b)
			if err != nil {
				return
			}
			pc.WriteTo(b[:n], from)
		}
	}()
}

// tolerance is how much longer than documented the shortest round trip may take.
const tolerance = 5 * time.Millisecond

// roundTrip is the shortest of some round trips from a host to port 7 of an address, of more while that is not as wanted: a busy
// machine is late.
func roundTrip(t *testing.T, host *natlab.Host, to netip.Addr, want time.Duration) time.Duration {
	t.Helper()
	c, err := host.DialContext(t.Context(), "udp", netip.AddrPortFrom(to, 7).String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	shortest := time.Hour
	for n, first := 0, time.Now(); n < 4 || shortest > want+tolerance && time.Since(first) < time.Minute; n++ {
		began := time.Now()
		c.SetDeadline(began.Add(time.Minute))
		if _, err := c.Write([]byte("ping")); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Read(make([]byte, 64)); err != nil {
			t.Fatal(err)
		}
		shortest = min(shortest, time.Since(began))
	}
	return shortest
}

func TestRoundTripsTakeAsLongAsIsDocumented(t *testing.T) {
	natlab.Require(t)
	t.Parallel()
	s, err := newLab(t.Context(), t.TempDir())
	t.Cleanup(func() { s.close() })
	if err != nil {
		t.Fatal(err)
	}
	echo(t, s.surrogate)
	for _, text := range []string{"none:port-restricted", "none:cgnat", "none:same-home"} {
		p := pair(t, text)
		h, err := s.move(p, rand.NewChaCha8([32]byte{}))
		if err != nil {
			t.Fatal(err)
		}
		near := func(what string, got, want time.Duration) {
			t.Helper()
			t.Logf("%s, %s: %v", text, what, got.Round(10*time.Microsecond))
			if got < want || got > want+tolerance {
				t.Errorf("%s: a round trip %s takes %v, want %v", text, what, got, want)
			}
		}
		echo(t, h.devices[0])
		for _, device := range h.devices {
			near("to the surrogate", roundTrip(t, device, s.surrogate.Addr(), SurrogateRTT), SurrogateRTT)
		}
		between := HomesRTT
		if p.Shared == sharedHome {
			between = 0
		}
		near("between devices", roundTrip(t, h.devices[1], h.devices[0].Addr(), between), between)
	}
}

// What a try finds in its lab says nothing about the one before.
func TestHomesAreNewForEachTry(t *testing.T) {
	natlab.Require(t)
	t.Parallel()
	s, err := newLab(t.Context(), t.TempDir())
	t.Cleanup(func() { s.close() })
	if err != nil {
		t.Fatal(err)
	}
	random, seen := rand.NewChaCha8([32]byte{}), map[netip.Addr]bool{}
	for range 3 {
		h, err := s.move(pair(t, "cgnat:cgnat"), random)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range h.devices {
			at := seenAt(t, s.surrogate, d)
			if seen[at] {
				t.Errorf("%v was somebody's before", at)
			}
			seen[at] = true
		}
	}
	h, err := s.move(pair(t, "cgnat:same-carrier"), random)
	if err != nil {
		t.Fatal(err)
	}
	if a, b := seenAt(t, s.surrogate, h.devices[0]), seenAt(t, s.surrogate, h.devices[1]); a != b {
		t.Errorf("the homes of one carrier are at %v and %v", a, b)
	}
}

// seenAt is the address at which one host sees another.
func seenAt(t *testing.T, host, device *natlab.Host) netip.Addr {
	t.Helper()
	pc, err := host.ListenPacket("udp4", ":0")
	if err != nil {
		t.Fatal(err)
	}
	defer pc.Close()
	c, err := device.DialContext(t.Context(), "udp", netip.AddrPortFrom(host.Addr(), pc.LocalAddr().(*net.UDPAddr).AddrPort().Port()).String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write([]byte("here")); err != nil {
		t.Fatal(err)
	}
	pc.SetDeadline(time.Now().Add(time.Minute))
	_, from, err := pc.ReadFrom(make([]byte, 64))
	if err != nil {
		t.Fatal(err)
	}
	return from.(*net.UDPAddr).AddrPort().Addr().Unmap()
}
