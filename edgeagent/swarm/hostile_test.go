package swarm

import (
	"math"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"simplebit/wire/peer"
)

// TestPeersThatBreakTheProtocolAreDropped sends each bad input to a node that has the first of its four pieces, beside an
// honest peer, for which everything goes on.
func TestPeersThatBreakTheProtocolAreDropped(t *testing.T) {
	const block = peer.BlockSize
	c := newContent(4*4*block-100, 4*block)
	all, none := simple(peer.TypeHaveAll), simple(peer.TypeHaveNone)
	bits := func(b ...byte) peer.Message { return peer.Message{Type: peer.TypeBitfield, Payload: b} }
	choke, unchoke, interested := simple(peer.TypeChoke), simple(peer.TypeUnchoke), simple(peer.TypeInterested)
	stray := peer.Message{Type: peer.TypePiece, Payload: make([]byte, block)}
	fast, plain := features{name: "x", fast: true, extended: true}, features{name: "x"}

	for _, tt := range []struct {
		name string
		as   features
		send []peer.Message
		raw  []byte // sent after it
		why  string // in the log; "" where the peer must stay
	}{
		{"bitfield too short", plain, []peer.Message{bits()}, nil, "does not fit 4 pieces"},
		{"bitfield too long", plain, []peer.Message{bits(0xf0, 0)}, nil, "does not fit 4 pieces"},
		{"bitfield with a spare bit", plain, []peer.Message{bits(0xf8)}, nil, "does not fit 4 pieces"},
		{"have none after unchoke", fast, []peer.Message{unchoke, none}, nil, "after other messages"},
		{"have none after have all", fast, []peer.Message{all, none}, nil, "after other messages"},
		{"bitfield after the extension handshake", fast, []peer.Message{extensions(peer.Extensions{}), bits(0xf0)}, nil, ""},
		{"have all without the fast extension", plain, []peer.Message{all}, nil, "without the fast extension"},
		{"reject without the fast extension", plain, []peer.Message{request3(peer.TypeReject, 0, 0, block)}, nil, "without the fast extension"},
		{"allowed fast without the fast extension", plain, []peer.Message{simple(peer.TypeAllowedFast, 1)}, nil, "without the fast extension"},
		{"extension handshake without the bit", plain, []peer.Message{extensions(peer.Extensions{})}, nil, "without the extension protocol"},
		{"extension handshake that is none", fast, []peer.Message{{Type: peer.TypeExtended, Payload: []byte("i1e")}}, nil, "bad extension handshake"},
		{"have out of range", plain, []peer.Message{simple(peer.TypeHave, 4)}, nil, "for piece 4 of 4"},
		{"have far out of range", plain, []peer.Message{simple(peer.TypeHave, math.MaxUint32)}, nil, "of 4"},
		{"allowed fast out of range", fast, []peer.Message{simple(peer.TypeAllowedFast, 4)}, nil, "for piece 4 of 4"},
		{"suggest out of range is ignored like any suggest", fast, []peer.Message{simple(peer.TypeSuggest, 9)}, nil, ""},
		{"message of a wrong length", plain, []peer.Message{{Type: 99, Payload: make([]byte, 70<<10)}}, nil, "longer than the limit"},
		{"unknown message", plain, []peer.Message{{Type: 99, Payload: []byte("hello")}}, nil, ""},
		{"request beyond the torrent", fast, []peer.Message{interested, request3(peer.TypeRequest, 4, 0, block)}, nil, "do not exist"},
		{"request beyond the piece", fast, []peer.Message{interested, request3(peer.TypeRequest, 0, 3*block+1, block)}, nil, "do not exist"},
		{"request beyond the last piece", fast, []peer.Message{interested, request3(peer.TypeRequest, 3, 3*block, block)}, nil, "do not exist"},
		{"request that overflows", fast, []peer.Message{interested, request3(peer.TypeRequest, 0, math.MaxUint32, block)}, nil, "do not exist"},
		{"request for nothing", fast, []peer.Message{interested, request3(peer.TypeRequest, 0, 0, 0)}, nil, "do not exist"},
		{"request above 128 KiB", fast, []peer.Message{interested, request3(peer.TypeRequest, 0, 0, 128<<10+1)}, nil, "do not exist"},
		{"request above 16 KiB", plain, []peer.Message{interested, request3(peer.TypeRequest, 0, 0, block+1)}, nil, "asked for a block of"},
		{"request above 16 KiB, fast", fast, []peer.Message{interested, request3(peer.TypeRequest, 0, 0, block+1)}, nil, ""},
		{"a block that was not asked for", plain, []peer.Message{stray}, nil, ""},
		{"a flood of blocks", plain, slices.Repeat([]peer.Message{stray}, 65), nil, "blocks that were not asked for"},
		{"a flood of rejects", fast, slices.Repeat([]peer.Message{request3(peer.TypeReject, 1, 0, block)}, 65), nil, "rejects that were not asked for"},
		{"block longer than 16 KiB", plain, []peer.Message{{Type: peer.TypePiece, Payload: make([]byte, block+1)}}, nil, "longer than the limit"},
		{"a block of 2 GB", fast, nil, []byte{0x7f, 0xff, 0xff, 0xff, byte(peer.TypePiece)}, "longer than the limit"},
		{"a bitfield of 4 GB", fast, nil, []byte{0xff, 0xff, 0xff, 0xff, byte(peer.TypeBitfield)}, "longer than the limit"},
		{"an extended message of 2 GB", fast, nil, []byte{0x80, 0, 0, 0, byte(peer.TypeExtended)}, "longer than the limit"},
		{"an unknown message of 1 GB", fast, nil, []byte{0x40, 0, 0, 0, 200}, "longer than the limit"},
		{"another torrent", features{name: "x", otherHash: true}, nil, nil, "another torrent"},
		{"our own peer id", features{name: "x", selfID: true}, nil, nil, "this client itself"},
		{"choke while choking", plain, []peer.Message{choke, choke, unchoke, unchoke, choke}, nil, ""},
		{"requests while choked", plain, []peer.Message{request3(peer.TypeRequest, 0, 0, block)}, nil, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				onDisk := make([]byte, len(c.data))
				copy(onDisk, c.data[:c.piece])
				n := c.start(t, "node", onDisk, Config{})
				honest := n.connect(t, features{name: "honest"})
				honest.send(interested, simple(peer.TypeHave, 2), unchoke)
				p := n.connect(t, tt.as)
				p.send(tt.send...)
				p.conn.Write(tt.raw)
				synctest.Wait()
				log := n.log.String()
				if closed := p.isClosed(); closed != (tt.why != "") || !strings.Contains(log, tt.why) {
					t.Fatalf("closed: %v, want the reason %q; log:\n%s", closed, tt.why, log)
				}
				if met := tt.as.otherHash || tt.as.selfID; tt.why != "" && !met && !strings.Contains(log, "INFO peer disconnected") {
					t.Errorf("not for people to see:\n%s", log)
				}
				honest.send(request3(peer.TypeRequest, 0, 0, block))
				if got := honest.take(); !strings.Contains(got, "piece 0 0 16384") || !strings.Contains(got, "request 2 0 16384") {
					t.Errorf("the honest peer heard %q", got)
				}
			})
		})
	}
}

// BEP 6: a request that is not served is rejected; BEP 3: silence.
func TestRequestsThatAreNotServedAreRejectedOrIgnored(t *testing.T) {
	const block = peer.BlockSize
	c := newContent(4*4*block, 4*block)
	for _, fast := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			onDisk := make([]byte, len(c.data))
			copy(onDisk, c.data[:c.piece])
			n := c.start(t, "node", onDisk, Config{})
			p := n.connect(t, features{name: "x", fast: fast})
			p.take()
			p.send(request3(peer.TypeRequest, 0, 0, block))
			if got := p.take(); fast && got != "reject 0 0 16384" || !fast && got != "" {
				t.Fatalf("fast %v: answer to a request while choked: %q", fast, got)
			}
			p.send(simple(peer.TypeInterested))
			if got := p.take(); got != "unchoke" {
				t.Fatalf("answer to interested: %q", got)
			}
			p.send(request3(peer.TypeRequest, 1, 0, block), request3(peer.TypeRequest, 0, block, block))
			want := "piece 0 16384 16384"
			if fast {
				want = "reject 1 0 16384\n" + want
			}
			if got := p.take(); got != want {
				t.Fatalf("fast %v: got %q, want %q", fast, got, want)
			}
			if p.isClosed() {
				t.Error("peer was dropped")
			}
		})
	}
}

func TestAPeerThatSendsNothingIsDroppedAfterThreeMinutes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newContent(1<<20, 16<<10)
		n := c.start(t, "node", nil, Config{})
		p := n.connect(t, features{name: "x"})
		q := n.connect(t, features{name: "y"})
		time.Sleep(170 * time.Second)
		if p.isClosed() {
			t.Fatal("dropped too early")
		}
		if got := p.take(); got != "keepalive" {
			t.Errorf("idle peer got %q, want one keepalive", got)
		}
		q.send(peer.Message{KeepAlive: true})
		time.Sleep(20 * time.Second)
		if !p.isClosed() || q.isClosed() {
			t.Errorf("silent peer closed: %v, the other: %v; log:\n%s", p.isClosed(), q.isClosed(), n.log)
		}
	})
}

func TestAPeerThatDoesNotReadIsDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newContent(1<<20, 16<<10)
		n := c.start(t, "node", c.data, Config{})
		p := n.connect(t, features{name: "x", fast: true, deaf: true})
		p.send(simple(peer.TypeInterested))
		for range 10 {
			p.send(request3(peer.TypeRequest, 0, 0, 16<<10))
			time.Sleep(20 * time.Second)
		}
		if got := len(n.Status().Peers); got != 0 {
			t.Errorf("the deaf peer is still there; log:\n%s", n.log)
		}
	})
}

func TestAPeerThatRejectsEverythingIsNotAskedInALoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newContent(1<<20, 64<<10)
		n := c.start(t, "node", nil, Config{})
		p := n.connect(t, features{name: "x", fast: true})
		p.send(simple(peer.TypeHaveAll), simple(peer.TypeUnchoke))
		asked := 0
		for range 100 {
			for _, r := range p.requests() {
				r.Type = peer.TypeReject
				p.send(r)
				asked++
			}
			time.Sleep(100 * time.Millisecond)
		}
		if asked == 0 || asked > 40 {
			t.Errorf("%d requests in 10 s of rejects", asked)
		}
	})
}

func TestAnUnwantedSecondConnectionIsClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newContent(1<<20, 64<<10)
		n := c.start(t, "node", nil, Config{Policy: Policy{MaxPeers: 2}})
		first := n.connect(t, features{name: "x"})
		second := n.connect(t, features{name: "x"})
		if first.isClosed() || !second.isClosed() {
			t.Errorf("same peer twice: first closed %v, second closed %v", first.isClosed(), second.isClosed())
		}
		other := n.connect(t, features{name: "y"})
		third := n.connect(t, features{name: "z"})
		if other.isClosed() || !third.isClosed() {
			t.Errorf("two at most: second peer closed %v, third closed %v", other.isClosed(), third.isClosed())
		}
	})
}

// When two peers dial each other at once, both ends must keep the same one of the two connections.
func TestOfCrossingConnectionsBothEndsKeepTheOneOfTheGreaterPeerID(t *testing.T) {
	for id, keepOutgoing := range map[string]bool{"-AA0000-": true, "-ZZ0000-": false} {
		synctest.Test(t, func(t *testing.T) {
			c := newContent(1<<20, 64<<10)
			n := c.start(t, "node", nil, Config{}) // its id begins with -SB
			in := n.connectAs(t, features{}, id)
			out := n.connectAs(t, features{outgoing: true}, id)
			if in.isClosed() != keepOutgoing || out.isClosed() == keepOutgoing {
				t.Errorf("peer id %s: incoming closed %v, outgoing closed %v", id, in.isClosed(), out.isClosed())
			}
		})
	}
}
