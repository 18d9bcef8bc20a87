package swarm

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"simplebit/wire/dial"
	"simplebit/wire/peer"
)

const block = peer.BlockSize

// partly returns the content with only the given pieces right.
func (c *content) partly(pieces ...int) []byte {
	b := make([]byte, len(c.data))
	for _, i := range pieces {
		copy(b[i*c.piece:], c.data[i*c.piece:min((i+1)*c.piece, len(c.data))])
	}
	return b
}

// BEP 6: "exactly one of HAVE ALL, HAVE NONE, or BITFIELD must be sent … immediately after the handshake".
func TestFirstMessages(t *testing.T) {
	c := newContent(10*4*block, 4*block)
	fast, plain, extended := features{name: "x", fast: true}, features{name: "x"}, features{name: "x", fast: true, extended: true}
	for _, tt := range []struct {
		name string
		have []byte
		as   features
		want string
	}{
		{"a seed, fast", c.data, fast, "have all"},
		{"a seed, plain", c.data, plain, "bitfield [11111111 11000000]"},
		{"nothing, fast", nil, fast, "have none"},
		{"nothing, plain", nil, plain, ""},
		{"something, fast", c.partly(1, 9), fast, "bitfield [01000000 01000000]"},
		{"something, plain", c.partly(1, 9), plain, "bitfield [01000000 01000000]"},
		{"with extensions", nil, extended, "have none\nextended"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := c.start(t, "node", tt.have, Config{})
				if got := n.connect(t, tt.as).take(); got != tt.want {
					t.Errorf("got %q, want %q", got, tt.want)
				}
			})
		})
	}
}

func TestOurExtensionHandshakeSaysWhatPeersNeed(t *testing.T) {
	c := newContent(block, block)
	for _, seeding := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			var have []byte
			if seeding {
				have = c.data
			}
			n := c.start(t, "node", have, Config{Port: 6882, Software: "SimpleBit test"})
			p := n.connect(t, features{name: "x", extended: true})
			p.mu.Lock()
			defer p.mu.Unlock()
			got, err := peer.ParseExtensions(p.messages[len(p.messages)-1].Payload)
			if err != nil {
				t.Fatal(err)
			}
			if want := (peer.Extensions{ReqQ: ourQueue, Port: 6882, Version: "SimpleBit test", UploadOnly: seeding}); got != want {
				t.Errorf("got %+v, want %+v", got, want)
			}
		})
	}
}

func TestHavesGoToPeersThatLackThePiece(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newContent(2*block, block)
		n := c.start(t, "node", nil, Config{})
		seed := n.connect(t, features{name: "seed", fast: true})
		half := n.connect(t, features{name: "half", fast: true})
		none := n.connect(t, features{name: "none", fast: true})
		none.send(simple(peer.TypeHaveNone))
		half.send(simple(peer.TypeHaveNone), simple(peer.TypeHave, 1))
		seed.send(simple(peer.TypeHaveAll), simple(peer.TypeUnchoke))
		for _, p := range []*fake{none, half, seed} {
			p.take()
		}
		seed.serve(c, nil)
		heard := strings.Split(none.take(), "\n")
		slices.Sort(heard)
		if !slices.Equal(heard, []string{"have 0", "have 1"}) {
			t.Errorf("a peer without pieces heard %q", heard)
		}
		if got := half.take(); got != "have 0\nnot interested" && got != "not interested\nhave 0" {
			t.Errorf("a peer with piece 1 heard %q", got)
		}
		if strings.Contains(seed.take(), "have") || !seed.isClosed() {
			t.Error("a seed heard of our pieces, or was kept when we were done")
		}
	})
}

func TestInterestFollowsWhatThePeerOffers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newContent(4*block, block)
		n := c.start(t, "node", c.partly(0, 1), Config{})
		p := n.connect(t, features{name: "x", fast: true})
		p.take()
		p.send(peer.Message{Type: peer.TypeBitfield, Payload: []byte{0xc0}})
		if got := p.take(); got != "" {
			t.Fatalf("a peer with nothing new heard %q", got)
		}
		p.send(simple(peer.TypeHave, 3))
		if got := p.take(); got != "interested" {
			t.Fatalf("a peer with a new piece heard %q", got)
		}
		p.send(simple(peer.TypeUnchoke))
		p.serve(c, nil)
		if got := p.take(); !strings.HasSuffix(got, "not interested") {
			t.Fatalf("a peer that has given all it had heard %q", got)
		}
	})
}

func TestTwoSeedsPart(t *testing.T) {
	c := newContent(4*block, block)
	all := peer.Message{Type: peer.TypeBitfield, Payload: []byte{0xf0}}
	for name, messages := range map[string][]peer.Message{
		"have all": {simple(peer.TypeHaveAll)},
		"bitfield": {all},
		"haves":    {simple(peer.TypeHaveNone), simple(peer.TypeHave, 0), simple(peer.TypeHave, 1), simple(peer.TypeHave, 2), simple(peer.TypeHave, 3)},
		// aria2 does this as a leecher.
		"late bitfield": {simple(peer.TypeHaveNone), simple(peer.TypeHave, 1), all},
		"late have all": {simple(peer.TypeHaveNone), simple(peer.TypeHave, 1), simple(peer.TypeHaveAll)},
		"upload only":   {simple(peer.TypeHaveNone), extensions(peer.Extensions{UploadOnly: true})},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := c.start(t, "node", c.data, Config{Dialer: &dial.Dialer{TCP: newScriptedNet(t)}})
				p := n.connect(t, features{name: "x", fast: true, extended: true, addr: addr(1)})
				p.send(extensions(peer.Extensions{Port: 6881}))
				p.send(messages[:len(messages)-1]...)
				if p.isClosed() {
					t.Fatal("dropped too early")
				}
				p.send(messages[len(messages)-1])
				if !p.isClosed() {
					t.Errorf("still connected; log:\n%s", n.log)
				}
				n.stop()
				if a := n.book.list[0]; !a.seed {
					t.Errorf("a seed would dial it again: %+v", a)
				}
			})
		})
	}
}

// BEP 21: who needs nothing any more says so; BEP 10 lets a handshake be sent again.
func TestPeersAreToldWhenWeBecomeASeed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newContent(2*block, block)
		n := c.start(t, "node", c.partly(0), Config{})
		p := n.connect(t, features{name: "x", fast: true, extended: true})
		p.send(simple(peer.TypeHaveNone), simple(peer.TypeHave, 1), simple(peer.TypeUnchoke))
		p.take()
		served := p.requests()
		p.send(c.block(served[0], nil))
		if got := p.take(); got != "not interested\nextended" {
			t.Fatalf("heard %q", got)
		}
		last := p.messages[len(p.messages)-1]
		if got, err := peer.ParseExtensions(last.Payload); err != nil || !got.UploadOnly {
			t.Errorf("got %+v, %v", got, err)
		}
	})
}
