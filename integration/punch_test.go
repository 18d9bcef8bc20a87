//go:build linux

package integration

import (
	"os"
	"path/filepath"
	"slices"
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
	s.wait(j.ID, "seed what is there", 30*time.Second, seeding)
	return t
}

// Two devices behind NATs are all there is of the swarm: no tracker, no other client.
func TestDevicesBehindNATsMeetWithoutTheSurrogatesBytes(t *testing.T) {
	for _, c := range []struct {
		a, b   natlab.Kind
		within time.Duration
	}{
		{natlab.PortRestricted, natlab.PortRestricted, 20 * time.Second},
		{natlab.Bare, natlab.Bare, 20 * time.Second},
		{natlab.Symmetric, natlab.AddressRestricted, 20 * time.Second},
	} {
		t.Run(string(c.a)+" with "+string(c.b), func(t *testing.T) {
			t.Parallel()
			programs.Require(t, programs.Mktorrent)
			s := newSuburb(t)
			_, a := s.home("a", natlab.RouterConfig{Kind: c.a})
			_, b := s.home("b", natlab.RouterConfig{Kind: c.b}, "--down", "4MiB")
			for _, d := range []*programs.Agent{a, b} {
				s.untilKnown(d, "it is known what the device sits behind", func(n edgeagent.NetworkStatus) bool { return n.Mapping != "unknown" })
			}
			const size = 6_000_000
			torrent := s.shared(a, "album", size, 100_000, 1)
			before, err := s.surrogate.Host().Counters()
			s.ok(err)
			begin := time.Now()
			j, err := s.surrogate.API().Add(s.Context(), apiclient.NewJob{Magnet: torrent.Magnet(), Target: "device:" + b.Host().Name()})
			s.ok(err)
			punched := func(j apiclient.Job) bool {
				return slices.ContainsFunc(j.Peers, func(p apiclient.Peer) bool {
					return p.Path == "punched" && p.Transport == "utp" && p.Down > 0
				})
			}
			s.wait(j.ID, "get bytes over a punched path", c.within, punched)
			t.Logf("bytes come over a punched path after %s", time.Since(begin).Round(time.Millisecond))
			s.wait(j.ID, "get the content", 30*time.Second, seeding)
			s.same(s.content("album"), filepath.Join(b.Downloads(), "album"))
			after, err := s.surrogate.Host().Counters()
			s.ok(err)
			if n := after.TxBytes - before.TxBytes; n > size/10 {
				t.Errorf("the surrogate sent %d bytes", n)
			}
		})
	}
}
