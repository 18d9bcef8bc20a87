package picker

import (
	"cmp"
	"math/bits"
	"slices"
)

// maxAllowed bounds the allowed-fast pieces kept for a peer; BEP 6 suggests sets of 10.
const maxAllowed = 32

// ID names a peer for as long as the Picker lives: unlike a *Peer it is never used again for another.
type ID uint32

// Peer is what the picker knows of one connected peer.
type Peer struct {
	id       ID
	all      bool // has every piece; bits, wanted and fresh are not kept then
	snubbed  bool
	bits     []byte       // BEP 3 bitfield
	count    int          // pieces it has
	wanted   int          // of these, how many we want and lack
	fresh    [classes]int // of these, how many nobody has begun
	requests int
	current  *partial
	allowed  []int32
	pace     uint32 // as of epoch; see Picker.pace
	epoch    uint32
}

// ID returns the name under which Failed reports the peer.
func (p *Peer) ID() ID { return p.id }

// Requests returns the number of blocks asked of the peer and not received, rejected or released.
func (p *Peer) Requests() int { return p.requests }

// Has reports whether the peer has the piece, which must be within the torrent.
func (p *Peer) Has(piece int) bool { return p.all || has(p.bits, piece) }

// Add makes a peer known that has nothing so far.
func (k *Picker) Add() *Peer {
	k.lastID++
	p := &Peer{id: k.lastID}
	k.peers = append(k.peers, p)
	return p
}

// Remove forgets a peer that is gone; what was asked of it can be asked of others.
func (k *Picker) Remove(p *Peer) {
	i := slices.Index(k.peers, p)
	if i < 0 {
		return
	}
	k.Choked(p, false)
	k.uncount(p)
	if p.all {
		k.seeds--
	}
	k.peers = slices.Delete(k.peers, i, i+1)
	k.cancels = slices.DeleteFunc(k.cancels, func(c Cancel) bool { return c.Peer == p })
}

// HasAll records that the peer has every piece.
func (k *Picker) HasAll(p *Peer) {
	if p.all {
		return
	}
	k.uncount(p)
	k.seeds++
	p.all, p.bits = true, nil
}

// uncount lowers the availability of what the peer has.
func (k *Picker) uncount(p *Peer) {
	for i := range k.state {
		if has(p.bits, i) {
			k.lower(i)
		}
	}
}

// peer returns the connected peer of that name, or nil.
func (k *Picker) peer(id ID) *Peer {
	at, ok := slices.BinarySearchFunc(k.peers, id, func(p *Peer, id ID) int { return cmp.Compare(p.id, id) })
	if !ok {
		return nil
	}
	return k.peers[at]
}

// HasSome records a peer's whole BEP 3 bitfield, which must be of the right length with no spare bits set. The picker
// keeps the slice. It may be called once for a peer that has nothing so far.
func (k *Picker) HasSome(p *Peer, bitfield []byte) {
	ones := 0
	for _, b := range bitfield {
		ones += bits.OnesCount8(b)
	}
	if ones == k.pieces() {
		k.HasAll(p)
		return
	}
	p.bits = bitfield
	for i := range k.pieces() {
		if has(bitfield, i) {
			k.count(p, i)
		}
	}
}

// HasPiece records that the peer has one more piece, which must be within the torrent.
func (k *Picker) HasPiece(p *Peer, piece int) {
	if p.Has(piece) {
		return
	}
	if p.bits == nil {
		p.bits = make([]byte, (k.pieces()+7)/8)
	}
	p.bits[piece>>3] |= 0x80 >> (piece & 7)
	k.count(p, piece)
	if p.count == k.pieces() {
		k.HasAll(p)
	}
}

func (k *Picker) count(p *Peer, piece int) {
	p.count++
	if k.missing == 0 {
		return
	}
	k.raise(piece)
	c := k.class(piece)
	if k.state[piece] != had && c != unwanted {
		p.wanted++
	}
	if k.state[piece] >= 0 {
		p.fresh[c]++
	}
}

// Complete reports whether the peer has every piece.
func (k *Picker) Complete(p *Peer) bool { return p.all }

// Interesting reports whether the peer has a wanted piece.
func (k *Picker) Interesting(p *Peer) bool {
	return k.wanted > 0 && (p.all || p.wanted > 0)
}

// Allow records a piece that the peer serves even while it chokes us (BEP 6, allowed fast). Those beyond the 32nd are
// ignored.
func (k *Picker) Allow(p *Peer, piece int) {
	if len(p.allowed) < maxAllowed && !slices.Contains(p.allowed, int32(piece)) {
		p.allowed = append(p.allowed, int32(piece))
	}
}

// freshFor returns how many fresh pieces of the class the peer offers.
func (k *Picker) freshFor(p *Peer, c class) int {
	if p.all {
		return len(k.orders[c].pieces)
	}
	return p.fresh[c]
}
