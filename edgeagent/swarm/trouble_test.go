package swarm

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"

	"simplebit/edgeagent/storage"
	"simplebit/wire/peer"
)

func TestLeechersServeEachOther(t *testing.T) {
	c := newContent(8<<20, 128<<10)
	seed := c.start(t, "seed", c.data, Config{UploadSlots: 1}).listen(t)
	leechers := make([]*node, 3)
	for i := range leechers {
		leechers[i] = c.start(t, fmt.Sprint(i), nil, Config{}).listen(t)
	}
	for _, n := range leechers {
		all := []netip.AddrPort{seed.addr}
		for _, other := range leechers {
			all = append(all, other.addr) // its own address too
		}
		n.AddCandidates(reachable(all...))
	}
	for _, n := range leechers {
		n.awaitSeeding(t)
		n.stop()
		c.compare(t, n)
	}
	if s := seed.Status(); s.Uploaded >= 3*int64(len(c.data)) {
		t.Errorf("the seed sent %d bytes: the leechers did not share", s.Uploaded)
	}
}

func TestADiskThatFailsEndsTheTorrent(t *testing.T) {
	t.Run("writing", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c := newContent(4*block, 4*block)
			n := c.start(t, "node", nil, Config{})
			// Where the file should go is a folder.
			if err := os.MkdirAll(filepath.Join(n.dir, fileName+".part", "x"), 0o755); err != nil {
				t.Fatal(err)
			}
			p := n.connect(t, features{name: "x", fast: true})
			p.send(simple(peer.TypeHaveAll), simple(peer.TypeUnchoke))
			p.serve(c, nil)
			mustFail(t, n)
		})
	})
	t.Run("reading", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c := newContent(4*block, 4*block)
			n := c.start(t, "node", c.data, Config{})
			if err := os.Truncate(filepath.Join(n.dir, fileName), 0); err != nil {
				t.Fatal(err)
			}
			p := n.connect(t, features{name: "x", fast: true})
			p.send(simple(peer.TypeInterested))
			p.send(request3(peer.TypeRequest, 0, 0, block))
			mustFail(t, n)
		})
	})
}

// mustFail waits for Run to end by itself with the disk's error.
func mustFail(t *testing.T, n *node) {
	t.Helper()
	synctest.Wait()
	select {
	case <-n.done:
	default:
		t.Fatalf("Run goes on; log:\n%s", n.log)
	}
	var disk *storage.DiskError
	if err := n.stop(); !errors.As(err, &disk) {
		t.Errorf("Run returned %v", err)
	}
}

func TestConnectionsGivenToATorrentThatHasEndedAreClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newContent(4*block, block)
		n := c.start(t, "node", nil, Config{})
		n.stop()
		if p := n.connect(t, features{name: "x"}); !p.isClosed() {
			t.Error("connection is open")
		}
		n.AddCandidates(reachable(netip.MustParseAddrPort("198.18.0.1:1")))
	})
}
