//go:build linux

package integration

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"simplebit/integration/programs"
	"simplebit/rendezvous/apiclient"
)

const (
	plainDHTNodes = 12
	foundAgain    = time.Minute
)

// TestADownloadThatOnlyTheDHTKnows has no tracker at all. The first node, the only one that anybody is told of, is gone when
// the surrogate comes back.
func TestADownloadThatOnlyTheDHTKnows(t *testing.T) {
	t.Parallel()
	s := newScene(t, programs.QBittorrentNox, programs.TransmissionDaemon)
	first, nodes := s.dht(plainDHTNodes)
	stopFirst := sync.OnceFunc(first.Stop)
	s.Cleanup(stopFirst)
	s.restartSurrogate("--dht-bootstrap", first.Addr().String())
	before := s.nodeTable()
	agent := s.agent("attic")

	known := []netip.AddrPort{first.Addr()}
	_, err := programs.StartTransmission(t.Context(), programs.Config{
		Host: s.host("bystander"), Dir: filepath.Join(s.dir, "bystander"), DHT: true, Bootstrap: known,
	})
	s.ok(err)
	seeder, err := programs.StartQBittorrent(t.Context(), programs.Config{
		Host: s.host("seeder"), Dir: filepath.Join(s.dir, "seeder"), DHT: true, Bootstrap: known,
	})
	s.ok(err)
	one, two := s.trackerless("one", 3<<20, 70_000), s.trackerless("two", 5<<20)
	for _, torrent := range []programs.Torrent{one, two} {
		s.ok(seeder.Seed(t.Context(), torrent.File, filepath.Join(s.dir, "content")))
		s.until("the seeder announces "+torrent.Name, patience, func() bool {
			return slices.ContainsFunc(nodes, func(n *programs.DHTNode) bool {
				return slices.Contains(n.Announced(torrent.InfoHash), seeder.Addr())
			})
		})
	}

	id, metadata, complete := s.find(one)
	s.same(s.content("one"), filepath.Join(agent.Downloads(), "one"))
	j := s.show(id)
	t.Logf("of %d nodes %d are known; the metadata came after %v, everything after %v", len(nodes)+3, j.DHT.Nodes, metadata, complete)
	if len(j.Trackers) != 0 || j.DHT.Peers == 0 {
		t.Errorf("trackers %v, DHT %+v: the peers should be the DHT's", j.Trackers, j.DHT)
	}

	s.until("the surrogate saves its node table, which it does after a minute", patience, func() bool { return s.nodeTable() != before })
	s.ok(s.surrogate.Kill())
	stopFirst()
	restarted := time.Now()
	s.ok(s.surrogate.Restart(t.Context()))
	_, metadata, complete = s.find(two)
	s.same(s.content("two"), filepath.Join(agent.Downloads(), "two"))
	again := time.Since(restarted) - complete + metadata
	t.Logf("after the restart a peer gave the metadata of another torrent after %v, everything came %v later", again.Round(time.Millisecond), complete-metadata)
	if again > foundAgain {
		t.Errorf("peers were found %v after the restart, want %v at most", again, foundAgain)
	}
}

// nodeTable is what the surrogate has on disk of its node table.
func (s *scene) nodeTable() (stored string) {
	s.Helper()
	files, err := filepath.Glob(filepath.Join(s.surrogate.Data(), "store", "jetstream", "*", "streams", "KV_dht", "msgs", "*.blk"))
	s.ok(err)
	if len(files) == 0 {
		s.Fatal("the surrogate has no file for its node table")
	}
	for _, name := range files {
		b, err := os.ReadFile(name)
		s.ok(err)
		stored += string(b)
	}
	return stored
}

// find adds a magnet that names no tracker and waits until the device has everything.
func (s *scene) find(torrent programs.Torrent) (id string, metadata, complete time.Duration) {
	s.Helper()
	began := time.Now()
	j, err := s.surrogate.API().Add(s.Context(), apiclient.NewJob{Magnet: torrent.Magnet(), Target: "device:attic"})
	s.ok(err)
	s.wait(j.ID, "get the metadata", patience, func(j apiclient.Job) bool { return j.State != apiclient.StateMetadata })
	metadata = time.Since(began)
	s.wait(j.ID, "download", patience, seeding)
	return j.ID, metadata.Round(time.Millisecond), time.Since(began).Round(time.Millisecond)
}

// dht makes a distributed hash table of plain nodes, each on a host and /24 of its own, that know of each other by the
// first. That one is not among nodes.
func (s *scene) dht(n int) (first *programs.DHTNode, nodes []*programs.DHTNode) {
	s.Helper()
	var known []netip.AddrPort
	for i := range n + 1 {
		node, err := programs.StartDHTNode(s.Context(), programs.DHTConfig{Host: s.host(fmt.Sprint("node", i)), Bootstrap: known})
		s.ok(err)
		if first == nil {
			first, known = node, []netip.AddrPort{node.Addr()}
			continue
		}
		s.Cleanup(node.Stop)
		nodes = append(nodes, node)
	}
	return first, nodes
}

// trackerless makes a torrent that names no tracker.
func (s *scene) trackerless(name string, lengths ...int) programs.Torrent {
	s.Helper()
	s.torrent(name, 64<<10, lengths...) // writes the content
	t, err := programs.MakeTorrent(s.Context(), programs.MakeConfig{
		Content: s.content(name), File: filepath.Join(s.dir, name+"-bare.torrent"), PieceLength: 64 << 10,
	})
	s.ok(err)
	return t
}

// restartSurrogate starts the surrogate again with further flags.
func (s *scene) restartSurrogate(args ...string) {
	s.Helper()
	s.ok(s.surrogate.Stop())
	var err error
	s.surrogate, err = programs.StartSurrogate(s.Context(), programs.OursConfig{
		Host: s.surrogate.Host(), Bin: bin(s.T), Dir: s.surrogate.Data(), Args: args,
	})
	s.ok(err)
}
