//go:build linux

package integration

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"simplebit/integration/natlab"
	"simplebit/integration/programs"
	"simplebit/rendezvous/apiclient"
)

const (
	deadAddresses = 1950
	liveSeeds     = 50
	// The device's budget over the whole download.
	maxDeviceDials = 70
	// The surrogate's, for all torrents.
	maxSurrogateDials = 200 // in progress, and begun in a second
	// A few tenths of a second where nothing else runs. A dead address is given up after 3 s.
	firstBlockWithin = 6 * time.Second
)

func TestDeadAddressesCostTheDeviceNothing(t *testing.T) {
	t.Parallel()
	s := newScene(t, programs.Aria2c, programs.QBittorrentNox)
	dead := s.deadAddresses(deadAddresses)
	torrent, live := s.seeds(liveSeeds)
	peers := slices.Concat(dead, live)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rand.New(rand.NewPCG(seed, 0)).Shuffle(len(peers), func(i, j int) { peers[i], peers[j] = peers[j], peers[i] })
	isDead := func(a netip.AddrPort) bool { return slices.Contains(dead, a) }
	isPeer := func(a netip.AddrPort) bool { return slices.Contains(peers, a) }

	known := make(chan time.Time, 1)
	url := s.web("fake", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case known <- time.Now():
		default:
		}
		w.Write(reply(peers...))
	})) + "/announce"

	agent := s.agent("attic")
	attic := agent.Host()
	// The download shall last until the surrogate has tried all addresses, at some 60 a second.
	s.ok(attic.Shape(900_000, 0))
	device, surrogate := s.sniff(attic), s.sniff(s.surrogate.Host())
	waiting := s.watchDials(s.surrogate.Host())

	metainfo, err := os.ReadFile(torrent.File)
	s.ok(err)
	metainfo = bytes.Replace(metainfo, []byte("d"), fmt.Appendf(nil, "d8:announce%d:%s", len(url), url), 1)
	added := time.Now()
	j, err := s.surrogate.API().Add(t.Context(), apiclient.NewJob{Torrent: metainfo, Target: "device:attic"})
	s.ok(err)
	s.wait(j.ID, "download", patience, seeding)
	took := time.Since(added)
	s.same(s.content("album"), filepath.Join(agent.Downloads(), "album"))

	theirs := surrogate.dialled(isPeer)
	ours := device.dialled(func(netip.AddrPort) bool { return true })
	tried := map[netip.AddrPort]bool{}
	for _, d := range theirs {
		tried[d.to] = true
	}
	first := device.content().Sub(<-known)
	t.Logf("first block %v after the tracker's answer; everything after %v; the device opened %d connections, %d of them to dead addresses; the surrogate %d to %d addresses, at most %d in a second, %d waiting at once",
		first.Round(time.Millisecond), took.Round(100*time.Millisecond), len(ours), len(device.dialled(isDead)), len(theirs), len(tried), busiest(theirs), waiting())
	if device.content().IsZero() || first > firstBlockWithin {
		t.Errorf("the first block came %v after the tracker's answer, want %v at most", first, firstBlockWithin)
	}
	if len(ours) > maxDeviceDials {
		t.Errorf("the device opened %d connections, want %d at most", len(ours), maxDeviceDials)
	}
	// Seen from outside, attempts may be some milliseconds closer together than they were begun.
	if n := busiest(theirs); n > maxSurrogateDials+maxSurrogateDials/20 {
		t.Errorf("the surrogate opened %d connections in a second, want %d at most", n, maxSurrogateDials)
	}
	if n := waiting(); n > maxSurrogateDials {
		t.Errorf("%d connections of the surrogate waited for an answer at once, want %d at most", n, maxSurrogateDials)
	}
	if loud := append(surrogate.refused(), device.refused()...); slices.ContainsFunc(loud, isDead) {
		t.Errorf("the dead addresses are not silent: ICMP told of %v", loud)
	}
	if len(tried) < len(peers)*9/10 {
		t.Errorf("the surrogate tried %d of %d addresses while the device downloaded", len(tried), len(peers))
	}
}

// deadAddresses are addresses where packets arrive and nothing comes back, on hosts that have many and no way out.
func (s *scene) deadAddresses(n int) (all []netip.AddrPort) {
	s.Helper()
	// Few enough IP addresses for the kernel's table of neighbours, which says so by ICMP when it is full.
	const lowest, highest = 64, 254 // of a host's /24
	const ports = 6                 // of each address
	for h := 0; len(all) < n; h++ {
		host := s.host(fmt.Sprint("dead", h))
		at := host.Addr().As4()
		for _, args := range [][]string{
			{"route", "add", "local", fmt.Sprintf("%d.%d.%d.64/26", at[0], at[1], at[2]), "dev", "lo"},
			{"route", "add", "local", fmt.Sprintf("%d.%d.%d.128/25", at[0], at[1], at[2]), "dev", "lo"},
			{"route", "del", "default"},
		} {
			out, err := host.Command(s.Context(), "ip", args...).CombinedOutput()
			if err != nil {
				s.Fatalf("ip %v: %v: %s", args, err, out)
			}
		}
		for last := lowest; last <= highest && len(all) < n; last++ {
			at[3] = byte(last)
			for port := range uint16(ports) {
				all = append(all, netip.AddrPortFrom(netip.AddrFrom4(at), 51413+port))
			}
		}
	}
	return all[:n]
}

// seeds are real seeders of a torrent that names no tracker, each on a host of its own.
func (s *scene) seeds(n int) (programs.Torrent, []netip.AddrPort) {
	s.Helper()
	s.torrent("album", 256<<10, 20<<20, 12<<20) // writes the content
	torrent, err := programs.MakeTorrent(s.Context(), programs.MakeConfig{Content: s.content("album"), File: filepath.Join(s.dir, "bare.torrent")})
	s.ok(err)
	var all []netip.AddrPort
	var starting errgroup.Group
	starting.SetLimit(4)
	for i := range n {
		name := fmt.Sprint("live", i)
		c := programs.Config{Host: s.host(name), Dir: filepath.Join(s.dir, name)}
		all = append(all, netip.AddrPortFrom(c.Host.Addr(), 51413))
		starting.Go(func() error {
			var seeder client
			var err error
			if i%10 == 0 {
				seeder, err = programs.StartQBittorrent(s.Context(), c)
			} else {
				seeder, err = programs.StartAria2(s.Context(), c)
			}
			if err != nil {
				return err
			}
			return seeder.Seed(s.Context(), torrent.File, filepath.Join(s.dir, "content"))
		})
	}
	s.ok(starting.Wait())
	return torrent, all
}

// watchDials counts, until the test ends, how many TCP connections of a host wait for an answer; the most at once is
// returned.
func (s *scene) watchDials(h *natlab.Host) func() int {
	s.Helper()
	var mu sync.Mutex
	var failed error
	most := 0
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		err := h.Do(func() error {
			var before map[string]bool
			for {
				table, err := os.ReadFile("/proc/thread-self/net/tcp")
				if err != nil {
					return err
				}
				// The kernel hands the table out in parts, between which some end and others begin. Those that it has
				// twice in a row did wait at the same time.
				now, both := waiting(table), 0
				for inode := range now {
					if before[inode] {
						both++
					}
				}
				before = now
				mu.Lock()
				most = max(most, both)
				mu.Unlock()
				select {
				case <-stop:
					return nil
				case <-time.After(20 * time.Millisecond):
				}
			}
		})
		mu.Lock()
		defer mu.Unlock()
		failed = err
	}()
	s.Cleanup(func() {
		close(stop)
		<-stopped
	})
	return func() int {
		mu.Lock()
		defer mu.Unlock()
		s.ok(failed)
		return most
	}
}

// waiting lists the sockets of a table of TCP connections that wait for an answer, by their inodes.
func waiting(table []byte) map[string]bool {
	const state, inode, synSent = 3, 9, "02"
	all := map[string]bool{}
	for line := range bytes.Lines(table) {
		if f := bytes.Fields(line); len(f) > inode && string(f[state]) == synSent {
			all[string(f[inode])] = true
		}
	}
	return all
}
