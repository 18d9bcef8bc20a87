package swarm

import (
	"log/slog"
	"net"
	"runtime"
	"testing"

	"simplebit/edgeagent/storage"
	"simplebit/wire/dial"
	"simplebit/wire/peer"
)

func TestALeecherFetchesEverythingFromASeed(t *testing.T) {
	for _, tt := range []struct {
		name          string
		length, piece int
		pool          int64
	}{
		{"many small pieces", 6<<20 - 12345, 16 << 10, 4 << 20},
		{"pieces of 1 MiB", 12<<20 + 1, 1 << 20, 4 << 20},
		{"pieces larger than the pool", 10 << 20, 4 << 20, 1 << 20},
		{"piece length that is no multiple of blocks", 3<<20 + 7, 50_000, 1 << 20},
		{"one short piece", 5, 16 << 10, 1 << 20},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := newContent(tt.length, tt.piece)
			seed := c.start(t, "seed", c.data, Config{Pool: storage.NewPool(tt.pool)}).listen(t)
			leech := c.start(t, "leech", nil, Config{Pool: storage.NewPool(tt.pool)})
			leech.AddCandidates(reachable(seed.addr))
			s := leech.awaitSeeding(t)
			if s.Have != int64(tt.length) || s.Downloaded != int64(tt.length) {
				t.Errorf("have %d bytes after downloading %d, want %d", s.Have, s.Downloaded, tt.length)
			}
			seed.await(t, "parting of two seeds", func(s Status) bool { return len(s.Peers) == 0 && s.Uploaded == int64(tt.length) })
			if err := leech.stop(); err != nil {
				t.Error(err)
			}
			c.compare(t, leech)
		})
	}
}

// TestNothingIsAllocatedPerBlock counts what both ends of a transfer allocate from dialling to the last piece: with their
// connections, pools and pieces it comes to a fraction of the number of blocks.
func TestNothingIsAllocatedPerBlock(t *testing.T) {
	const blocks = 4096
	c := newContent(blocks*block, 1<<20)
	quiet := slog.New(slog.DiscardHandler)
	seed := c.start(t, "seed", c.data, Config{Log: quiet}).listen(t)
	leech := c.start(t, "leech", nil, Config{Log: quiet})
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	leech.AddCandidates(reachable(seed.addr))
	leech.awaitSeeding(t)
	runtime.ReadMemStats(&after)
	per := float64(after.Mallocs-before.Mallocs) / blocks
	if t.Logf("%.2f allocations a block", per); per > 0.5 {
		t.Errorf("%.2f allocations a block, want fewer than one for two", per)
	}
}

func TestAnIdlePeerCostsLittleMemory(t *testing.T) {
	const peers = 200
	c := newContent(1<<20, 16<<10)
	n := c.start(t, "node", nil, Config{Shared: NewShared(SharedConfig{MaxPeers: peers}), Log: slog.New(slog.DiscardHandler)})
	inUse := func() int64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC() // what has a finalizer goes with the second
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc + m.StackInuse)
	}
	before := inUse()
	for i := range peers {
		ours, theirs := net.Pipe()
		defer theirs.Close()
		from := located{ours, net.TCPAddrFromAddrPort(addr(i))}
		n.Accept(&dial.Conn{Conn: from, Peer: peer.Handshake{InfoHash: testHash, PeerID: [20]byte{byte(i), 1}}})
	}
	n.await(t, "connecting", func(s Status) bool { return len(s.Peers) == peers })
	each := (inUse() - before) / peers
	if t.Logf("%d bytes a peer", each); each > 32<<10 {
		t.Errorf("an idle peer takes %d bytes", each)
	}
}
