package swarm

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"simplebit/edgeagent/storage"
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

func TestRequestsBeyondOurQueueAreRejected(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newContent(1<<20, 64<<10)
		n := c.start(t, "node", c.data, Config{})
		p := n.connect(t, features{name: "x", fast: true, extended: true, deaf: true})
		p.send(simple(peer.TypeInterested))
		const sent = 2 * ourQueue
		for i := range uint32(sent) {
			p.send(request3(peer.TypeRequest, i%16, 0, block))
		}
		go p.listen()
		time.Sleep(time.Second)
		heard := p.take()
		pieces, rejects := strings.Count(heard, "piece"), strings.Count(heard, "reject")
		if pieces+rejects != sent || pieces < ourQueue || pieces > ourQueue+2*mostHanded/block {
			t.Errorf("%d pieces and %d rejects in answer to %d requests", pieces, rejects, sent)
		}
	})
}

// Without the fast extension there are no rejects: a request that was taken must be served, as rtorrent relies on.
func TestRequestsOfAPeerWithoutTheFastExtensionAreServedHoweverMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newContent(1<<20, 64<<10)
		n := c.start(t, "node", c.data, Config{})
		p := n.connect(t, features{name: "x", deaf: true})
		p.send(simple(peer.TypeInterested))
		const sent = 3 * ourQueue
		for i := range uint32(sent) {
			p.send(request3(peer.TypeRequest, i%16, 0, block))
		}
		go p.listen()
		time.Sleep(time.Second)
		if got := strings.Count(p.take(), "piece"); got != sent {
			t.Errorf("%d of %d requests were served", got, sent)
		}
		q := n.connect(t, features{name: "y", deaf: true})
		q.send(simple(peer.TypeInterested))
		for range muteQueue + 2*mostHanded/block {
			q.conn.Write(request3(peer.TypeRequest, 0, 0, block).Append(nil))
		}
		synctest.Wait()
		if log := n.log.String(); !strings.Contains(log, "asked for 8192 blocks and more") {
			t.Errorf("the queue has no end; log:\n%s", log)
		}
	})
}

// BEP 6: a cancelled request is answered, here by a reject.
func TestACancelledRequestIsNotServed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newContent(1<<20, 64<<10)
		n := c.start(t, "node", c.data, Config{})
		p := n.connect(t, features{name: "x", fast: true, deaf: true})
		p.send(simple(peer.TypeInterested))
		for i := range uint32(16) {
			p.send(request3(peer.TypeRequest, i, 0, block))
		}
		p.send(request3(peer.TypeCancel, 15, 0, block), request3(peer.TypeCancel, 15, 0, block))
		go p.listen()
		time.Sleep(time.Second)
		heard := p.take()
		if strings.Contains(heard, "piece 15") || strings.Count(heard, "reject 15 0 16384") != 1 || !strings.Contains(heard, "piece 14") {
			t.Errorf("heard:\n%s", heard)
		}
	})
}

func TestAChokedPeersRequestsAreRejected(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newContent(1<<20, 64<<10)
		n := c.start(t, "node", c.data, Config{UploadSlots: 1})
		p := n.connect(t, features{name: "x", fast: true, deaf: true})
		p.send(simple(peer.TypeInterested))
		for i := range uint32(16) {
			p.send(request3(peer.TypeRequest, i, 0, block))
		}
		q := n.connect(t, features{name: "y", fast: true})
		q.send(simple(peer.TypeInterested))
		q.take()
		time.Sleep(25 * time.Second)
		if got := q.take(); got != "unchoke" {
			t.Fatalf("a peer that waits for the only slot of a seed heard %q", got)
		}
		go p.listen()
		time.Sleep(time.Second)
		heard := strings.Split(p.take(), "\n")
		choke := slices.Index(heard, "choke")
		if choke < 0 {
			t.Fatalf("no choke in %q", heard)
		}
		answers := 0
		for i, line := range heard {
			switch {
			case strings.HasPrefix(line, "piece") && i > choke:
				t.Errorf("%s after the choke", line)
			case strings.HasPrefix(line, "reject") && i < choke:
				t.Errorf("%s before the choke", line)
			case strings.HasPrefix(line, "piece"), strings.HasPrefix(line, "reject"):
				answers++
			}
		}
		if answers != 16 {
			t.Errorf("%d answers to 16 requests", answers)
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
		"upload only":   {simple(peer.TypeHaveNone), extensions(peer.Extensions{UploadOnly: true})},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := c.start(t, "node", c.data, Config{Dialer: &dial.Dialer{Net: &slowNet{}}})
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
