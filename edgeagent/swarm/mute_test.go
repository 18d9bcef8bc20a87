package swarm

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"simplebit/wire/peer"
)

func TestWhatAMutePeerOwesIsAskedOfOthersAfterSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newContent(2*4*block, 4*block)
		n := c.start(t, "node", nil, Config{})
		mute, other := twoOfOnePiece(t, n)
		if a, b := len(mute.requests()), len(other.requests()); a != 4 || b != 0 {
			t.Fatalf("%d and %d requests", a, b)
		}
		time.Sleep(9 * time.Second)
		if got := len(other.requests()); got != 0 {
			t.Fatalf("%d blocks were asked for twice too early", got)
		}
		time.Sleep(2 * time.Second)
		open := other.requests()
		if len(open) != 4 {
			t.Fatalf("%d requests to another peer after 11 s, want 4", len(open))
		}
		mute.take()
		for _, r := range open {
			other.send(c.block(r, nil))
		}
		if got := strings.Count(mute.take(), "cancel"); got != 4 {
			t.Errorf("%d requests were cancelled, want 4", got)
		}
		time.Sleep(time.Second)
		if s := n.Status(); s.Have != 4*block || s.Wasted != 0 {
			t.Errorf("status %+v", s)
		}
	})
}

// Blocks that cross with our cancels are no fault of the peer.
func TestAPeerThatWakesUpIsAskedAgainAndForgiven(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newContent(2*256*block, 256*block)
		n := c.start(t, "node", nil, Config{})
		slow, other := twoOfOnePiece(t, n)
		late := growQueue(slow, c, 70)
		time.Sleep(11 * time.Second)
		for got := 0; got < 2; got++ {
			other.serve(c, nil)
		}
		for _, r := range late {
			slow.send(c.block(r, nil))
		}
		if slow.isClosed() {
			t.Fatalf("a peer was dropped for blocks that we had cancelled; log:\n%s", n.log)
		}
		time.Sleep(time.Second)
		if s := n.Status(); s.Have != 256*block || s.Wasted == 0 || s.Wasted > int64(len(late)*block) {
			t.Errorf("have %d, wasted %d", s.Have, s.Wasted)
		}
	})
}

// While it owes blocks, a snubbed peer is asked for no more than one; when it sends again, for as many as before.
func TestASnubbedPeerIsAskedForOneBlockAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newContent(64*4*block, 4*block)
		n := c.start(t, "node", nil, Config{})
		p := n.connect(t, features{name: "x", fast: true})
		p.send(simple(peer.TypeHaveAll), simple(peer.TypeUnchoke))
		first := p.requests()
		time.Sleep(12 * time.Second)
		for _, r := range first[:3] {
			r.Type = peer.TypeReject
			p.send(r)
		}
		time.Sleep(rejectPause + tickInterval)
		if got := len(p.requests()); got != 0 {
			t.Errorf("a snubbed peer that owes a block got %d more requests", got)
		}
		p.send(c.block(first[3], nil))
		if got := len(p.requests()); got < 2 {
			t.Errorf("a peer that sends again got %d requests", got)
		}
	})
}

func TestAPeerThatOwesBlocksForAMinuteIsDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newContent(64<<10, 64<<10)
		n := c.start(t, "node", nil, Config{})
		p := n.connect(t, features{name: "x", fast: true})
		p.send(simple(peer.TypeHaveAll), simple(peer.TypeUnchoke))
		if got := len(p.requests()); got != 4 {
			t.Fatalf("%d requests, want 4", got)
		}
		for range 6 {
			time.Sleep(11 * time.Second)
			p.send(peer.Message{KeepAlive: true}) // talking is not sending
		}
		if !p.isClosed() || !strings.Contains(n.log.String(), "owes us 4 blocks and sent none for 1m0s") {
			t.Errorf("the peer that sends nothing: closed %v; log:\n%s", p.isClosed(), n.log)
		}
	})
}

// When nothing is left to ask for, a block may be asked of two peers; whoever comes second is told that it is too late.
func TestTheLastBlocksAreAskedOfTwoPeers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newContent(4*block, 4*block)
		n := c.start(t, "node", nil, Config{})
		mute, quick, third := n.connect(t, features{name: "x", fast: true}), n.connect(t, features{name: "y", fast: true}), n.connect(t, features{name: "z", fast: true})
		for _, p := range []*fake{mute, quick, third} {
			p.send(simple(peer.TypeHaveAll), simple(peer.TypeUnchoke))
		}
		if a, b, c := len(mute.requests()), len(quick.requests()), len(third.requests()); a != 4 || b != 4 || c != 0 {
			t.Fatalf("%d, %d and %d requests", a, b, c)
		}
		mute.take()
		r := request3(peer.TypeRequest, 0, 3*block, block)
		quick.send(c.block(r, nil))
		if got := mute.take(); got != "cancel" {
			t.Errorf("the other peer heard %q", got)
		}
		r.Type = peer.TypeReject
		mute.send(r)
		for i := range uint32(3) {
			quick.send(c.block(request3(peer.TypeRequest, 0, i*block, block), nil))
		}
		if s := n.Status(); !s.Seeding || s.Wasted != 0 {
			t.Errorf("status %+v", s)
		}
	})
}
