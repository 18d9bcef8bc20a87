package swarm

import (
	"hash/maphash"
	"net/netip"
	"slices"
	"time"

	"simplebit/edgeagent/picker"
	"simplebit/wire/peer"
)

const (
	// Of pieces that failed, the sums of so many tries of so many pieces are kept. A block's is 16 bytes.
	maxTries  = 4
	maxFailed = 64
	// maxDeparted bounds the peers that have gone and may yet be found to have lied.
	maxDeparted = 64
)

// suspects finds out who sent corrupt data. Who sent a failed piece alone is to blame. Where several did, what each of them
// sent is compared with the piece once it has come right: that needs a sum of every block, and is done only after the first
// failure, so that an honest swarm costs nothing. The sums are keyed, so that nobody can make data that has the right one.
type suspects struct {
	key      maphash.Seed
	watching bool
	sums     map[int][]testimony   // of the pieces under way, by block
	failed   map[int][][]testimony // the tries of a piece that failed
	gone     []identity            // peers that sent something and left, the newest last
}

// A testimony is who sent a block, and its sum. The zero value is none.
type testimony struct {
	by  picker.ID
	sum uint64
}

// An identity is how a peer may be known again.
type identity struct {
	id      picker.ID
	peerID  [20]byte
	ip      netip.Addr
	dialled *address // nil for one that came to us: where it can be dialled is only what it says
}

// watch begins to take sums.
func (s *suspects) watch() {
	if !s.watching {
		s.key, s.watching = maphash.MakeSeed(), true
		s.sums, s.failed = make(map[int][]testimony), make(map[int][][]testimony)
	}
}

// came records a block of a piece of so many blocks.
func (s *suspects) came(by picker.ID, piece, block, blocks int, data []byte) {
	list := s.sums[piece]
	if len(list) != blocks {
		list = make([]testimony, blocks)
		s.sums[piece] = list
	}
	list[block] = testimony{by, maphash.Bytes(s.key, data)}
}

// wrong records that what came of the piece has the wrong hash.
func (s *suspects) wrong(piece int) {
	if try := s.sums[piece]; try != nil && len(s.failed[piece]) < maxTries && len(s.failed) < maxFailed {
		s.failed[piece] = append(s.failed[piece], try)
	}
	delete(s.sums, piece)
}

// right records that what came of the piece has the right hash. It returns those who sent something else before.
func (s *suspects) right(piece int) (liars []picker.ID) {
	good := s.sums[piece]
	for _, try := range s.failed[piece] {
		for i, a := range try {
			if a.by != 0 && i < len(good) && good[i].by != 0 && a.sum != good[i].sum && !slices.Contains(liars, a.by) {
				liars = append(liars, a.by)
			}
		}
	}
	delete(s.sums, piece)
	delete(s.failed, piece)
	return liars
}

// departed remembers a peer that has gone.
func (s *suspects) departed(p *peerConn) {
	if p.tally.received == 0 {
		return
	}
	if len(s.gone) == maxDeparted {
		s.gone = slices.Delete(s.gone, 0, 1)
	}
	s.gone = append(s.gone, p.identity())
}

func (p *peerConn) identity() identity {
	who := identity{id: p.pick.ID(), peerID: p.conn.Peer.PeerID, ip: p.addr.Addr()}
	if p.conn.Outgoing {
		who.dialled = p.entry
	}
	return who
}

const (
	// maxBanned bounds the peers that are remembered for sending corrupt data.
	maxBanned = 256
	// maxLiars is how many peers of one IP address may lie before none is let in from there. More than one, since a router
	// may hide several people; and this machine is not such an address.
	maxLiars = 5
)

// bans are the peers that sent corrupt data.
type bans struct{ list []identity }

func (b *bans) add(who identity) {
	if len(b.list) == maxBanned {
		b.list = slices.Delete(b.list, 0, 1)
	}
	b.list = append(b.list, who)
}

// has reports whether a peer must not be let in.
func (b *bans) has(p *peerConn) bool {
	liars := 0
	for _, who := range b.list {
		if who.peerID == p.conn.Peer.PeerID {
			return true
		}
		if who.ip == p.addr.Addr() && who.ip.IsValid() && !who.ip.IsLoopback() {
			liars++
		}
	}
	return liars >= maxLiars
}

// corrupt deals with a piece whose hash is wrong.
func (t *Torrent) corrupt(now time.Time, piece int) {
	from := t.pick.Failed(piece)
	t.wakeAll = true
	t.total.wasted += int64(t.sizeOf(piece))
	t.suspects.watch()
	t.suspects.wrong(piece)
	t.log.Warn("piece has the wrong hash and is fetched again", "piece", piece, "peers", len(from))
	if len(from) == 1 {
		t.blame(now, from[0])
	}
}

// blame bans a peer, connected or not.
func (t *Torrent) blame(now time.Time, id picker.ID) {
	for _, p := range t.peers {
		if p.pick.ID() == id {
			t.ban(now, p)
			return
		}
	}
	for _, who := range t.suspects.gone {
		if who.id == id {
			t.outlaw(who)
		}
	}
}

// outlaw makes sure that a peer is not met again: neither dialled, nor let in under the same peer id.
func (t *Torrent) outlaw(who identity) {
	t.bans.add(who)
	if a := who.dialled; a != nil {
		a.banned = true
		t.judge(a.at, Lied)
	}
}

// watchBlock takes the sum of a block that was asked for.
func (t *Torrent) watchBlock(p *peerConn, a arrival) {
	if t.suspects.watching {
		blocks := (t.sizeOf(int(a.index)) + peer.BlockSize - 1) / peer.BlockSize
		t.suspects.came(p.pick.ID(), int(a.index), int(a.begin)/peer.BlockSize, blocks, a.block.Bytes()[:a.block.N])
	}
}
