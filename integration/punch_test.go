//go:build linux

package integration

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"simplebit/edgeagent"
	"simplebit/integration/natlab"
	"simplebit/integration/programs"
	"simplebit/rendezvous/apiclient"
)

// shared is a folder of random files that a device has, and that its surrogate knows to be there.
func (s *scene) shared(device *programs.Agent, name string, lengths ...int) programs.Torrent {
	s.Helper()
	t := s.make(name, programs.MakeConfig{}, lengths)
	s.ok(os.MkdirAll(device.Downloads(), 0o755))
	s.ok(os.CopyFS(filepath.Join(device.Downloads(), name), os.DirFS(s.content(name))))
	meta, err := os.ReadFile(t.File)
	s.ok(err)
	j, err := s.surrogate.API().Add(s.Context(), apiclient.NewJob{Torrent: meta, Target: "device:" + device.Host().Name()})
	s.ok(err)
	s.wait(j.ID, "seed what is there", patience, seeding)
	return t
}

// firstAttempt is how long the first attempt at a path may take: the second one comes after 65 s.
const firstAttempt = 60 * time.Second

// Two devices behind NATs are all there is of the swarm: no tracker, no other client.
func TestDevicesBehindNATsMeetWithoutTheSurrogatesBytes(t *testing.T) {
	for _, c := range []struct {
		a, b   natlab.Kind
		within time.Duration
	}{
		{natlab.PortRestricted, natlab.PortRestricted, firstAttempt},
		{natlab.Bare, natlab.Bare, firstAttempt},
		{natlab.Symmetric, natlab.AddressRestricted, firstAttempt},
		{natlab.Sequential, natlab.PortRestricted, patience},
	} {
		t.Run(string(c.a)+" with "+string(c.b), func(t *testing.T) {
			t.Parallel()
			programs.Require(t, programs.Mktorrent)
			s := newSuburb(t)
			_, a := s.home("a", natlab.RouterConfig{Kind: c.a})
			_, b := s.home("b", natlab.RouterConfig{Kind: c.b}, "--down", "4MiB")
			s.meet(a, b, c.within)
		})
	}
}

const albumSize = 6_000_000

// begin has device b fetch by magnet what device a has, once it is known what they sit behind.
func (s *scene) begin(a, b *programs.Agent) apiclient.Job {
	s.Helper()
	for _, d := range []*programs.Agent{a, b} {
		s.untilKnown(d, "it is known what the device sits behind", func(n edgeagent.NetworkStatus) bool { return n.Mapping != "unknown" })
	}
	torrent := s.shared(a, "album", albumSize, 100_000, 1)
	j, err := s.surrogate.API().Add(s.Context(), apiclient.NewJob{Magnet: torrent.Magnet(), Target: "device:" + b.Host().Name()})
	s.ok(err)
	return j
}

// overPunched says that bytes come over a punched path, and from nobody else.
func overPunched(j apiclient.Job) bool {
	return len(j.Peers) == 1 && j.Peers[0].Path == "punched" && j.Peers[0].Transport == "utp" && j.Peers[0].Down > 0
}

// meet has device b fetch by magnet what device a has, and returns where b was connected to a. It fails if that was not
// over a punched path, or if the surrogate carried any of it.
func (s *scene) meet(a, b *programs.Agent, within time.Duration) (at netip.AddrPort) {
	s.Helper()
	before, err := s.surrogate.Host().Counters()
	s.ok(err)
	j := s.begin(a, b)
	begin := time.Now()
	shown := s.wait(j.ID, "get bytes over a punched path", within, overPunched)
	at, err = netip.ParseAddrPort(shown.Peers[0].Addr)
	s.ok(err)
	s.Logf("bytes come over a punched path to %s after %s", at, time.Since(begin).Round(time.Millisecond))
	s.wait(j.ID, "get the content", patience, seeding)
	s.same(s.content("album"), filepath.Join(b.Downloads(), "album"))
	after, err := s.surrogate.Host().Counters()
	s.ok(err)
	if n := after.TxBytes - before.TxBytes; n > albumSize/10 {
		s.Errorf("the surrogate sent %d bytes", n)
	}
	return at
}

// sharedHome adds a home with agents on two devices.
func (s *scene) sharedHome(c natlab.RouterConfig) (a, b *programs.Agent) {
	s.Helper()
	home, a := s.home("a", c)
	h, err := home.Host("b-pc")
	s.ok(err)
	b, err = programs.StartAgent(s.Context(), programs.OursConfig{
		Host: h, Bin: bin(s.T), Dir: filepath.Join(s.dir, "b"), Home: s.surrogate, Args: []string{"--down", "4MiB"},
	})
	s.ok(err)
	return a, b
}

func TestDevicesInOneHomeMeetWithinIt(t *testing.T) {
	t.Parallel()
	programs.Require(t, programs.Mktorrent)
	s := newSuburb(t)
	a, b := s.sharedHome(natlab.RouterConfig{})
	if at := s.meet(a, b, firstAttempt); at.Addr() != a.Host().Addr() {
		t.Errorf("connected to %s, want %s", at, a.Host().Addr())
	}
}

func TestDevicesInOneHomeMeetWithinItWhereNoUDPLeavesIt(t *testing.T) {
	t.Parallel()
	s := newRelayingSuburb(t, "1MiB")
	a, b := s.sharedHome(natlab.RouterConfig{Kind: natlab.UDPBlocked})
	s.until("the surrogate shows that UDP is blocked", patience, func() bool {
		x, y := s.device(a).Network, s.device(b).Network
		return x != nil && x.Blocked && y != nil && y.Blocked
	})
	torrent := s.shared(a, "album", albumSize, 100_000, 1)
	j, err := s.surrogate.API().Add(t.Context(), apiclient.NewJob{Magnet: torrent.Magnet(), Target: "device:b-pc"})
	s.ok(err)
	shown := s.wait(j.ID, "get bytes over a punched path", patience, overPunched)
	if at := shown.Peers[0].Addr; at != a.Addr().String() {
		t.Errorf("connected to %s, want %s", at, a.Addr())
	}
	if done := s.wait(j.ID, "get the content", patience, seeding); done.Relayed.Down > 0 {
		t.Errorf("%d bytes were relayed", done.Relayed.Down)
	}
	s.same(s.content("album"), filepath.Join(b.Downloads(), "album"))
}

// Firewalls of IPv6 are punched as NATs are.
func TestDevicesWithIPv6MeetByIt(t *testing.T) {
	t.Parallel()
	programs.Require(t, programs.Mktorrent)
	s := newSuburb(t)
	_, a := s.home("a", natlab.RouterConfig{Kind: natlab.DualStack})
	_, b := s.home("b", natlab.RouterConfig{Kind: natlab.DualStack}, "--down", "4MiB")
	if at := s.meet(a, b, firstAttempt); at.Addr() != a.Host().Addr6() {
		t.Errorf("connected to %s, want %s", at, a.Host().Addr6())
	}
}

func TestHomesBehindCarriersMeet(t *testing.T) {
	for _, one := range []bool{true, false} {
		t.Run(fmt.Sprintf("one carrier: %v", one), func(t *testing.T) {
			t.Parallel()
			programs.Require(t, programs.Mktorrent)
			s := newSuburb(t)
			carrier, err := s.lab.Carrier("carrier", natlab.CarrierConfig{Hairpin: true})
			s.ok(err)
			other := carrier
			if !one {
				other, err = s.lab.Carrier("other", natlab.CarrierConfig{})
				s.ok(err)
			}
			_, a := s.home("a", natlab.RouterConfig{Carrier: carrier})
			_, b := s.home("b", natlab.RouterConfig{Carrier: other}, "--down", "4MiB")
			s.meet(a, b, firstAttempt)
		})
	}
}

// A home whose provider gives it another address has to be found again.
func TestAPathThatIsLostIsMadeAnew(t *testing.T) {
	t.Parallel()
	programs.Require(t, programs.Mktorrent)
	s := newSuburb(t)
	home, a := s.home("a", natlab.RouterConfig{})
	_, b := s.home("b", natlab.RouterConfig{}, "--down", "400KiB")
	j := s.begin(a, b)
	s.wait(j.ID, "get bytes over a punched path", firstAttempt, overPunched)
	was := home.External()
	s.ok(home.Renumber())
	begin := time.Now()
	s.wait(j.ID, "get bytes from the new address", patience, func(j apiclient.Job) bool {
		return overPunched(j) && !strings.HasPrefix(j.Peers[0].Addr, was.String())
	})
	t.Logf("bytes come again after %s", time.Since(begin).Round(time.Millisecond))
}
