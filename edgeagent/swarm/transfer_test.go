package swarm

import (
	"net/netip"
	"testing"

	"simplebit/edgeagent/storage"
)

func TestALeecherFetchesEverythingFromASeed(t *testing.T) {
	for _, tt := range []struct {
		name          string
		length, piece int
		pool          int64
	}{
		{"many small pieces", 16<<20 - 12345, 16 << 10, 4 << 20},
		{"pieces of 1 MiB", 32<<20 + 1, 1 << 20, 4 << 20},
		{"pieces larger than the pool", 24 << 20, 8 << 20, 1 << 20},
		{"piece length that is no multiple of blocks", 3<<20 + 7, 50_000, 1 << 20},
		{"one short piece", 5, 16 << 10, 1 << 20},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := newContent(tt.length, tt.piece)
			seed := c.start(t, "seed", c.data, Config{Pool: storage.NewPool(tt.pool)}).listen(t)
			leech := c.start(t, "leech", nil, Config{Pool: storage.NewPool(tt.pool)})
			leech.AddCandidates([]netip.AddrPort{seed.addr})
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
