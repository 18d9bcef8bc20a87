package front

import (
	"slices"
	"time"

	"simplebit/wire/peer"
)

const (
	// hedge is the time after which a piece that was asked for is asked for elsewhere too; of a peer that has nothing to
	// do it is asked sooner.
	hedge     = 2 * time.Second
	hedgeIdle = 250 * time.Millisecond
	// askTimeout is the time after which a request no longer counts, so that its peer may be asked for something again.
	askTimeout = 10 * time.Second
	// refusalLasts is the time for which a peer that rejected a piece is not asked for it. Clients reject what exceeds
	// their limit of requests (BEP 9), so that a reject need not be the last word.
	refusalLasts = 15 * time.Second
)

// assembly is an info dictionary of one claimed size on its way to being whole.
type assembly struct {
	size   int64
	solo   *entry // the only contributor; nil where all that claim this size and are not suspected contribute
	pieces []piece
	have   int
}

type piece struct {
	data  []byte
	from  *entry
	asked time.Time // last
	asks  int
}

func newAssembly(size int64, solo *entry) *assembly {
	n := (size + peer.MetadataPieceSize - 1) / peer.MetadataPieceSize
	return &assembly{size: size, solo: solo, pieces: make([]piece, n)}
}

// length returns the length of piece i, in bytes.
func (a *assembly) length(i uint32) int {
	return int(min(a.size-int64(i)*peer.MetadataPieceSize, peer.MetadataPieceSize))
}

// put keeps a piece of the right length and reports whether the assembly is whole.
func (a *assembly) put(i uint32, data []byte, from *entry) bool {
	if p := &a.pieces[i]; p.data == nil {
		p.data, p.from = data, from
		a.have++
	}
	return a.have == len(a.pieces)
}

// join returns the whole.
func (a *assembly) join() []byte {
	b := make([]byte, 0, a.size)
	for _, p := range a.pieces {
		b = append(b, p.data...)
	}
	return b
}

// contributors returns those whose pieces are in the assembly.
func (a *assembly) contributors() []*entry {
	var all []*entry
	for _, p := range a.pieces {
		if p.from != nil && !slices.Contains(all, p.from) {
			all = append(all, p.from)
		}
	}
	return all
}

// choose returns the piece to ask c for: of those missing, and last asked for at least after ago, the one asked for least
// often.
func (a *assembly) choose(now time.Time, c *conn, after time.Duration) (uint32, bool) {
	best := -1
	for i := range a.pieces {
		p := &a.pieces[i]
		if p.data != nil || now.Sub(p.asked) < after || c.refused[uint32(i)].After(now) || c.awaits(now, uint32(i)) {
			continue
		}
		if best < 0 || p.asks < a.pieces[best].asks {
			best = i
		}
		if p.asks == 0 {
			break
		}
	}
	return uint32(max(best, 0)), best >= 0
}
