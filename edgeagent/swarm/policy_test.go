package swarm

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"simplebit/edgeagent/picker"
	"simplebit/wire/dial"
	"simplebit/wire/peer"
)

const skip = picker.Skip

// wants says what the newest extension handshake that a peer got says of us (BEP 21).
func (p *fake) uploadOnly() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	only := false
	for _, m := range p.messages {
		if m.Type == peer.TypeExtended && !m.KeepAlive {
			if e, err := peer.ParseExtensions(m.Payload); err == nil {
				only = e.UploadOnly
			}
		}
	}
	return only
}

// BEP 21: "a partial seed is a peer that is incomplete without downloading anything more".
func TestWhoHasAllThatIsWantedIsAPartialSeed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newContent(4*4*block, 4*block)
		n := c.start(t, "node", nil, Config{Policy: Policy{Priorities: []picker.Priority{0, skip, 0, skip}}})
		if s := n.Status(); s.Seeding || s.WantedLeft != 8*block {
			t.Errorf("at the start: %+v", s)
		}
		p := n.connect(t, features{name: "x", fast: true, extended: true})
		if p.uploadOnly() {
			t.Error("upload_only while pieces are wanted")
		}
		p.send(simple(peer.TypeHaveNone), simple(peer.TypeHave, 1))
		if got := p.take(); strings.Contains(got, "interested") {
			t.Errorf("a peer with a skipped piece only heard %q", got)
		}
		p.send(simple(peer.TypeHave, 0), simple(peer.TypeHave, 2), simple(peer.TypeUnchoke))
		if got := p.serve(c, nil); got != 8 {
			t.Errorf("%d blocks were asked for, want the 8 of the wanted pieces", got)
		}
		time.Sleep(time.Second)
		if s := n.Status(); !s.Seeding || s.Complete || s.WantedLeft != 0 || s.Have != 8*block {
			t.Errorf("with all that is wanted: %+v", s)
		}
		if got := p.take(); !strings.Contains(got, "not interested") || p.isClosed() {
			t.Errorf("the peer, which lacks a piece, heard %q, closed %v", got, p.isClosed())
		}
		q := n.connect(t, features{name: "y", fast: true, extended: true})
		if got := q.take(); got != "bitfield [10100000]\nextended" || !q.uploadOnly() {
			t.Errorf("a new peer heard %q, upload_only %v", got, q.uploadOnly())
		}
		q.send(simple(peer.TypeHaveAll))
		if !q.isClosed() {
			t.Error("a seed was kept though nothing is wanted of it")
		}
	})
}

func TestAPolicyThatChangesCountsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newContent(4*4*block, 4*block)
		n := c.start(t, "node", nil, Config{Policy: Policy{Priorities: []picker.Priority{0, skip, skip, skip}}})
		p := n.connect(t, features{name: "x", fast: true})
		p.send(simple(peer.TypeHaveNone), simple(peer.TypeHave, 0), simple(peer.TypeHave, 1), simple(peer.TypeUnchoke))
		open := p.requests()
		if len(open) != 4 || open[0].Index != 0 {
			t.Fatalf("requests %v", open)
		}
		p.take()
		n.SetPolicy(Policy{Priorities: []picker.Priority{skip, 0, skip, skip}})
		if got := p.take(); strings.Count(got, "cancel") != 4 || strings.Count(got, "request 1 ") != 4 {
			t.Errorf("when piece 1 was wanted instead of piece 0, the peer heard %q", got)
		}
		for _, r := range open {
			p.send(c.block(r, nil)) // crossed with our cancels
		}
		if p.isClosed() {
			t.Error("the peer was dropped for it")
		}
		n.SetPolicy(Policy{})
		time.Sleep(time.Second)
		if s := n.Status(); s.WantedLeft != 16*block {
			t.Errorf("wanted %d bytes, want all", s.WantedLeft)
		}
		n.SetPolicy(Policy{Priorities: []picker.Priority{skip, skip, skip, skip}})
		time.Sleep(time.Second)
		if s := n.Status(); !s.Seeding || s.Complete {
			t.Errorf("when nothing is wanted: %+v", s)
		}
		n.SetPolicy(Policy{MaxPeers: 1})
		if time.Sleep(time.Second); n.Status().Seeding {
			t.Error("nothing is wanted still")
		}
		if q := n.connect(t, features{name: "y"}); !q.isClosed() {
			t.Error("a second peer when one is allowed")
		}
	})
}

func TestPiecesComeInOrderWhenTheyShall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newContent(32*block, block)
		n := c.start(t, "node", nil, Config{Policy: Policy{Sequential: true}})
		p := n.connect(t, features{name: "x", fast: true})
		p.send(simple(peer.TypeHaveAll), simple(peer.TypeUnchoke))
		last := -1
		for open := p.requests(); len(open) > 0; open = append(open[1:], p.requests()...) {
			if int(open[0].Index) != last+1 {
				t.Fatalf("piece %d after piece %d", open[0].Index, last)
			}
			last++
			p.send(c.block(open[0], nil))
		}
		if last != 31 {
			t.Errorf("the last piece was %d", last)
		}
	})
}

func TestFewerPeersAreKeptWhenFewerAreWanted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newContent(4<<20, 64<<10)
		world := newScriptedNet(t)
		n := c.start(t, "node", nil, Config{Dialer: &dial.Dialer{TCP: world}})
		for i := range 6 {
			world.add(addr(1+i), &scripted{c: c, each: time.Second, mute: i%2 == 0})
		}
		n.AddCandidates(reachable(addrs(1, 7)...))
		time.Sleep(3 * time.Second)
		n.SetPolicy(Policy{MaxPeers: 3})
		time.Sleep(time.Second)
		s := n.Status()
		if len(s.Peers) != 3 {
			t.Fatalf("%d peers", len(s.Peers))
		}
		for _, p := range s.Peers {
			if p.Down == 0 {
				t.Errorf("a peer that sends nothing was kept: %+v", s.Peers)
			}
		}
	})
}
