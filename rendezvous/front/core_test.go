package front

import (
	"errors"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"simplebit/wire/dial"
	"simplebit/wire/peer"
)

// Whatever happens in whatever order, the core keeps within its limits and its books balance.
func TestCoreKeepsItsLimitsWhateverHappens(t *testing.T) {
	for seed := range uint64(40) {
		rnd := rand.New(rand.NewPCG(seed, 3))
		c := newCore(Torrent{InfoHash: [20]byte{1}, InfoSize: []int{0, 50_000}[rnd.IntN(2)]}, 5, func(a netip.AddrPort) bool { return a.Port() != 22 }, rnd)
		now := epoch
		any := func() uint64 { return rnd.Uint64N(c.lastID + 2) }
		told := map[netip.AddrPort]time.Time{}
		var trickled time.Time
		for range 3000 {
			now = now.Add(time.Duration(rnd.Int64N(int64(4 * time.Second))))
			switch rnd.IntN(14) {
			case 0, 1:
				c.add(now, []netip.AddrPort{addr(rnd.IntN(3000))}, Source(rnd.IntN(int(numSources))), 1)
			case 2:
				c.accepted(now, addr(rnd.IntN(100)), peer.Handshake{Reserved: peer.Reserved(true, rnd.IntN(4) > 0)})
			case 3, 4:
				c.connected(now, any(), peer.Handshake{Reserved: peer.Reserved(true, rnd.IntN(4) > 0)}, dial.Way{})
			case 5:
				c.failed(now, any(), errors.New("no answer"))
			case 6:
				c.extended(now, any(), peer.Extensions{MetadataID: uint8(rnd.IntN(3)), PexID: uint8(rnd.IntN(3)), MetadataSize: rnd.Int64N(60_000), Port: uint16(rnd.IntN(3))})
			case 7:
				c.message(now, any(), peer.MetadataMessage{Type: peer.MetadataType(rnd.IntN(3)), Piece: uint32(rnd.IntN(5)), Data: make([]byte, peer.MetadataPieceSize)})
			case 8:
				c.exchanged(now, any(), peer.Pex{Added: []peer.PexPeer{{Addr: addr(rnd.IntN(3000))}}})
			case 9:
				c.gone(now, any(), []error{errors.New("closed"), peer.ErrLength}[rnd.IntN(2)])
			case 10:
				c.unusable(now, addr(rnd.IntN(3000)), rnd.IntN(2) == 0)
			case 11:
				c.hungry = rnd.IntN(2) == 0
				c.served(any())
			case 12:
				c.seeds(any())
				c.node(any(), uint16(rnd.IntN(2)))
			case 13:
				if rnd.IntN(300) == 0 {
					c.known(now, 50_000, rnd.IntN(2) == 0)
				}
			}
			steps, handshakes, wake := c.poll(now)
			if !wake.After(now) {
				t.Fatalf("seed %d: wants to come back %v ago", seed, now.Sub(wake))
			}
			for range min(handshakes, 2) {
				if _, a, _, ok := c.dial(now); !ok || a.Addr.Port() == 22 {
					t.Fatalf("seed %d: dials %v, %v", seed, a, ok)
				}
			}
			for _, found := range steps.reachable {
				a := found.Addr
				if last, ok := told[a]; ok && now.Sub(last) < reportAgain && c.book.shun[a].IsZero() && c.book.len() < maxKnown {
					if e := c.book.byAddr[a]; e != nil && !e.added.After(last) {
						t.Fatalf("seed %d: told of %v again after %v", seed, a, now.Sub(last))
					}
				}
				told[a] = now
			}
			if steps.unverified.IsValid() {
				if now.Sub(trickled) < trickleEvery || !c.hungry {
					t.Fatalf("seed %d: unverified addresses within %v, hungry is %v", seed, now.Sub(trickled), c.hungry)
				}
				trickled = now
			}
			dialled, guests := len(c.closing), 0
			for _, k := range c.links {
				if k.guest {
					guests++
				} else {
					dialled++
				}
			}
			if dialled > 5 || guests > 5 || c.book.len() > maxKnown || c.private && len(c.links) > guests {
				t.Fatalf("seed %d: %d dialled, %d guests, %d known", seed, dialled, guests, c.book.len())
			}
			if rnd.IntN(3) == 0 {
				clear(c.closing)
			}
		}
		busy, visits := 0, 0
		for _, e := range c.book.order {
			if e.busy {
				busy++
			}
			visits += e.guests
		}
		held, homes := len(c.dialling), 0
		for _, k := range c.links {
			if !k.guest && c.book.byAddr[k.entry.addr] == k.entry {
				held++
			}
			if k.guest && k.home != nil {
				homes++
			}
		}
		if busy > held || visits > homes {
			t.Errorf("seed %d: %d addresses are busy with %d connections, %d have %d guests", seed, busy, held, visits, homes)
		}
	}
}
