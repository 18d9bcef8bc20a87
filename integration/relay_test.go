//go:build linux

package integration

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"simplebit/edgeagent"
	"simplebit/integration/natlab"
	"simplebit/integration/programs"
	"simplebit/rendezvous/apiclient"
)

// newRelayingSuburb is a suburb whose surrogate relays fast, and takes control over TCP as well.
func newRelayingSuburb(t *testing.T, rate string) *scene {
	t.Helper()
	programs.Require(t, programs.Mktorrent)
	return newSuburb(t, "--relay-rate", rate, "--control-tcp", ":443")
}

// overRelay returns a condition: bytes come over the surrogate, which reaches the device by the transport.
func overRelay(transport string) func(apiclient.Job) bool {
	return func(j apiclient.Job) bool {
		return len(j.Peers) == 1 && j.Peers[0].Path == "relayed" && j.Peers[0].Transport == transport && j.Peers[0].Down > 0
	}
}

func TestDevicesWithoutAnyPathAreRelayed(t *testing.T) {
	t.Parallel()
	s := newRelayingSuburb(t, "1MiB")
	_, a := s.home("a", natlab.RouterConfig{Kind: natlab.Symmetric})
	_, b := s.home("b", natlab.RouterConfig{Kind: natlab.Symmetric})
	j := s.begin(a, b)
	begin := time.Now()
	s.wait(j.ID, "get bytes over the surrogate", patience, overRelay("quic"))
	t.Logf("bytes come over the surrogate after %s", time.Since(begin).Round(time.Millisecond))
	if out, err := s.surrogate.Simplebit(t.Context(), "show", j.ID); err != nil || !strings.Contains(out.Stdout, "random port") {
		t.Errorf("show does not say why it is relayed: %v\n%s", err, out.Stdout)
	}
	s.wait(j.ID, "get the content", patience, seeding)
	s.same(s.content("album"), filepath.Join(b.Downloads(), "album"))

	done, err := s.surrogate.API().Job(t.Context(), j.ID)
	s.ok(err)
	if n := done.Relayed.Down; n < albumSize || n > albumSize*11/10 {
		t.Errorf("%d bytes are said to have been relayed to the device, of a content of %d", n, albumSize)
	}
	bytes, err := s.surrogate.API().Metric(t.Context(), "simplebit_relay_bytes_total")
	s.ok(err)
	if int64(bytes) < done.Relayed.Down {
		t.Errorf("the metrics know of %.0f bytes, the job of %d", bytes, done.Relayed.Down)
	}
}

// A device that no UDP reaches is controlled and relayed over TCP, and moves to QUIC and to a path of its own once UDP works, in
// the middle of a download.
func TestADeviceWithoutUDPIsServedOverTCPUntilUDPWorks(t *testing.T) {
	t.Parallel()
	s := newRelayingSuburb(t, "64KiB")
	_, a := s.home("a", natlab.RouterConfig{})
	home, err := s.lab.Router("b", natlab.RouterConfig{})
	s.ok(err)
	pc, err := home.Host("b-pc")
	s.ok(err)
	do := func(name string, args ...string) {
		t.Helper()
		if out, err := pc.Command(t.Context(), name, args...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	do("nft", "add table inet cut; add chain inet cut in { type filter hook input priority 0; }; add rule inet cut in meta l4proto udp drop")
	b, err := programs.StartAgent(t.Context(), programs.OursConfig{
		Host: pc, Bin: bin(t), Dir: filepath.Join(s.dir, "b"), Home: s.surrogate, Args: []string{"--down", "400KiB"},
	})
	s.ok(err)
	begin := time.Now()
	s.until("the device is there by TCP", patience, func() bool { return s.device(b).Control == "tcp" })
	t.Logf("connected by TCP after %s", time.Since(begin).Round(time.Millisecond))
	s.until("the surrogate shows that UDP is blocked", patience, func() bool {
		n := s.device(b).Network
		return n != nil && n.Blocked
	})
	if out, err := s.surrogate.Simplebit(t.Context(), "devices", "show", "b-pc"); err != nil || !strings.Contains(out.Stdout, "UDP") {
		t.Errorf("devices show does not say that UDP is blocked: %v\n%s", err, out.Stdout)
	}
	s.untilKnown(a, "it is known what the device sits behind", known)

	torrent := s.shared(a, "album", albumSize, 100_000, 1)
	j, err := s.surrogate.API().Add(t.Context(), apiclient.NewJob{Magnet: torrent.Magnet(), Target: "device:b-pc"})
	s.ok(err)
	begin = time.Now()
	s.wait(j.ID, "get bytes over the surrogate", patience, overRelay("tcp"))
	t.Logf("bytes come over the surrogate after %s", time.Since(begin).Round(time.Millisecond))

	do("nft", "delete table inet cut")
	do("ip", "address", "add", "127.0.0.5/8", "dev", "lo") // a notice of the kernel, upon which the agent looks at its network
	begin = time.Now()
	s.until("the device is there by QUIC", patience, func() bool { return s.device(b).Control == "quic" })
	t.Logf("connected by QUIC after %s", time.Since(begin).Round(time.Millisecond))
	s.wait(j.ID, "get bytes over a punched path", patience, overPunched)
	t.Logf("on a path of its own after %s", time.Since(begin).Round(time.Millisecond))
	s.wait(j.ID, "get the content", patience, seeding)
	s.same(s.content("album"), filepath.Join(b.Downloads(), "album"))
	done, err := s.surrogate.API().Job(t.Context(), j.ID)
	s.ok(err)
	if n := done.Relayed.Down; n == 0 || n > albumSize*3/4 {
		t.Errorf("%d bytes are said to have been relayed to the device", n)
	}
}

func TestADeviceWithoutUDPConnectsToAPublicOneByTCP(t *testing.T) {
	t.Parallel()
	s := newRelayingSuburb(t, "1MiB")
	_, a := s.home("a", natlab.RouterConfig{Kind: natlab.None})
	_, b := s.home("b", natlab.RouterConfig{Kind: natlab.UDPBlocked})
	s.until("the device is there by TCP", patience, func() bool { return s.device(b).Control == "tcp" })
	s.untilKnown(a, "the device knows that its address is public", func(n edgeagent.NetworkStatus) bool { return n.Public == "yes" })

	torrent := s.shared(a, "album", albumSize, 100_000, 1)
	j, err := s.surrogate.API().Add(t.Context(), apiclient.NewJob{Magnet: torrent.Magnet(), Target: "device:b-pc"})
	s.ok(err)
	done := s.wait(j.ID, "get the content", patience, seeding)
	s.same(s.content("album"), filepath.Join(b.Downloads(), "album"))
	if done.Relayed.Down > 0 {
		t.Errorf("%d bytes were relayed", done.Relayed.Down)
	}
}
