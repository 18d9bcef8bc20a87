package swarm

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"simplebit/edgeagent/storage"
	"simplebit/wire/peer"
)

func TestAPeersRequestQueueIsNeverOverfilled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newContent(64*4*block, 4*block)
		n := c.start(t, "node", nil, Config{})
		p := n.connect(t, features{name: "x", fast: true, extended: true})
		p.send(extensions(peer.Extensions{ReqQ: 10}), simple(peer.TypeHaveAll), simple(peer.TypeUnchoke))
		var open []peer.Message
		most := 0
		for range 200 {
			open = append(open, p.requests()...)
			most = max(most, len(open))
			p.send(c.block(open[0], nil))
			open = open[1:]
		}
		if most != 10 {
			t.Errorf("%d requests at a time at most, want the 10 that the peer queues", most)
		}
	})
}

func TestRequestsInFlightAreBoundedByThePool(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newContent(2048*block, 4*block)
		n := c.start(t, "node", nil, Config{Pool: storage.NewPool(1 << 20)})
		peers := make([]*fake, 3)
		for i := range peers {
			peers[i] = n.connect(t, features{name: fmt.Sprint(i), fast: true})
			peers[i].send(simple(peer.TypeHaveAll), simple(peer.TypeUnchoke))
		}
		open, most := make([][]peer.Message, len(peers)), 0
		for range 30 {
			sum := 0
			for i, p := range peers {
				open[i] = append(open[i], p.requests()...)
				sum += len(open[i])
			}
			most = max(most, sum)
			// Each block served makes the queue longer (slow start).
			for i, p := range peers {
				served := len(open[i]) / 2
				for _, r := range open[i][:served] {
					p.send(c.block(r, nil))
				}
				open[i] = open[i][served:]
			}
		}
		if most > 64*aheadOfMemory+2*pipelineFloor || most < 64*aheadOfMemory/2 {
			t.Errorf("%d blocks in flight at most with a pool of 64", most)
		}
	})
}

// BEP 6: choke rejects nothing by itself, and allowed-fast pieces are served all the same.
func TestAChokeWithTheFastExtension(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newContent(8*4*block, 4*block)
		n := c.start(t, "node", nil, Config{})
		p := n.connect(t, features{name: "x", fast: true})
		p.send(simple(peer.TypeHaveAll), simple(peer.TypeUnchoke))
		requests := p.requests()
		p.send(simple(peer.TypeChoke), c.block(requests[0], nil))
		for _, r := range requests[1:] {
			r.Type = peer.TypeReject
			p.send(r)
		}
		if s := n.Status(); len(p.requests()) != 0 || s.Downloaded != 0 && s.Downloaded != block {
			t.Fatalf("requests went to a peer that chokes; status %+v", s)
		}
		other := uint32(7)
		if requests[0].Index == other {
			other = 6
		}
		time.Sleep(rejectPause)
		p.send(simple(peer.TypeAllowedFast, other))
		got := p.requests()
		if len(got) == 0 || slices.ContainsFunc(got, func(m peer.Message) bool { return m.Index != other }) {
			t.Fatalf("requests after piece %d was allowed: %v", other, got)
		}
		time.Sleep(time.Second)
		if s := n.Status(); s.Downloaded != block {
			t.Errorf("downloaded %d bytes: the block in flight at the choke was lost", s.Downloaded)
		}
	})
}

func TestAChokeWithoutTheFastExtensionGivesTheBlocksToOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newContent(2*4*block, 4*block)
		n := c.start(t, "node", nil, Config{})
		p := n.connect(t, features{name: "plain"})
		p.send(peer.Message{Type: peer.TypeBitfield, Payload: []byte{0x80}}, simple(peer.TypeUnchoke))
		q, r := twoOfOnePiece(t, n)
		if a, b := len(p.requests()), len(q.requests())+len(r.requests()); a != 4 || b != 0 {
			t.Fatalf("%d and %d requests", a, b)
		}
		p.send(simple(peer.TypeChoke))
		if got := len(q.requests()) + len(r.requests()); got != 4 {
			t.Fatalf("%d requests to others, want 4", got)
		}
	})
}

func TestWhatAPeerRejectsIsAskedOfAnotherAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newContent(2*4*block, 4*block)
		n := c.start(t, "node", nil, Config{})
		p, q := twoOfOnePiece(t, n)
		r := p.requests()[1]
		r.Type = peer.TypeReject
		p.send(r)
		if got := q.take(); got != fmt.Sprintf("have none\ninterested\nrequest 0 %d %d", block, block) {
			t.Errorf("the other peer heard %q", got)
		}
	})
}

func TestANewPieceOfAnIdlePeerIsAskedForAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newContent(2*block, block)
		n := c.start(t, "node", nil, Config{})
		p := n.connect(t, features{name: "x"})
		p.send(simple(peer.TypeHave, 0), simple(peer.TypeUnchoke))
		p.take()
		p.send(simple(peer.TypeHave, 1))
		if got := p.take(); got != "request 1 0 16384" {
			t.Errorf("heard %q", got)
		}
	})
}

func TestAPeerThatVanishesInMidPieceCostsOnlyWhatItHadNotSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newContent(4*block, 4*block)
		n := c.start(t, "node", nil, Config{})
		first := n.connect(t, features{name: "x", fast: true})
		first.send(simple(peer.TypeHaveAll), simple(peer.TypeUnchoke))
		requests := first.requests()
		first.send(c.block(requests[0], nil), c.block(requests[1], nil))
		half := c.block(requests[2], nil).Append(nil)[:5000]
		first.conn.Write(half)
		first.conn.Close()
		second := n.connect(t, features{name: "y", fast: true})
		second.send(simple(peer.TypeHaveAll), simple(peer.TypeUnchoke))
		if got := second.serve(c, nil); got != 2 {
			t.Errorf("the second peer was asked for %d blocks, want the 2 that had not come", got)
		}
		if s := n.Status(); !s.Seeding {
			t.Errorf("not complete: %+v", s)
		}
	})
}

func TestBlocksOfAPeerThatVanishesGoToOthersAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newContent(2*4*block, 4*block)
		n := c.start(t, "node", nil, Config{})
		p, q := twoOfOnePiece(t, n)
		if a, b := len(p.requests()), len(q.requests()); a != 4 || b != 0 {
			t.Fatalf("%d and %d requests", a, b)
		}
		p.conn.Close()
		if got := len(q.requests()); got != 4 {
			t.Errorf("%d requests to the peer that is left, want 4", got)
		}
	})
}

// twoOfOnePiece connects two peers that have the first of two pieces and unchoke, and one that has the other and does not:
// so there is something left to ask for, and no endgame.
func twoOfOnePiece(t *testing.T, n *node) (p, q *fake) {
	other := n.connect(t, features{name: "other"})
	other.send(simple(peer.TypeHave, 1))
	p, q = n.connect(t, features{name: "x", fast: true}), n.connect(t, features{name: "y", fast: true})
	for _, f := range []*fake{p, q} {
		f.send(simple(peer.TypeHaveNone), simple(peer.TypeHave, 0), simple(peer.TypeUnchoke))
	}
	return p, q
}

// growQueue serves blocks until the peer has at least so many requests outstanding, and returns these.
func growQueue(p *fake, c *content, want int) []peer.Message {
	open := p.requests()
	for len(open) < want {
		p.send(c.block(open[0], nil))
		open = append(open[1:], p.requests()...)
	}
	return open
}

// The reader tells the loop of several blocks at once; the last ones must not wait for more that never come.
func TestBlocksAreNotHeldBackWhenNoMoreCome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newContent(1024*block, 16*block)
		n := c.start(t, "node", nil, Config{})
		p := n.connect(t, features{name: "x", fast: true})
		p.send(simple(peer.TypeHaveAll), simple(peer.TypeUnchoke))
		open := growQueue(p, c, 40)
		time.Sleep(2 * time.Second)
		before := n.Status().Downloaded
		p.send(c.block(open[0], nil), c.block(open[1], nil))
		time.Sleep(2 * tickInterval)
		if got := n.Status().Downloaded - before; got != 2*block {
			t.Errorf("%d bytes counted of 2 blocks", got)
		}
	})
}

func TestBlocksAreNotHeldBackWhenThePoolIsEmpty(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newContent(1024*block, 64*block)
		pool := storage.NewPool(1 << 20)
		n := c.start(t, "node", nil, Config{Pool: pool})
		p := n.connect(t, features{name: "x", fast: true})
		p.send(simple(peer.TypeHaveAll), simple(peer.TypeUnchoke))
		open := growQueue(p, c, 70)
		var taken []*storage.Block
		for b := pool.TryGet(); b != nil; b = pool.TryGet() {
			taken = append(taken, b)
		}
		for _, b := range taken[:2] {
			b.Release()
		}
		before := n.storage.Partial()
		p.send(c.block(open[0], nil), c.block(open[1], nil), c.block(open[2], nil))
		if got := n.storage.Partial() - before; got < 2*block {
			t.Errorf("the storage got %d bytes of 3 blocks with room for 2", got)
		}
		for _, b := range taken[2:] {
			b.Release()
		}
	})
}
