package swarm

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"simplebit/wire/peer"
)

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

// While we download, whoever sends us blocks keeps a slot; those who only take share the one that is left to chance.
func TestWhoGivesUsBlocksIsServed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newContent(256*4*block, 4*block)
		n := c.start(t, "node", c.partly(0), Config{UploadSlots: 2})
		giver := n.connect(t, features{name: "giver", fast: true})
		takers := []*fake{n.connect(t, features{name: "a", fast: true}), n.connect(t, features{name: "b", fast: true}), n.connect(t, features{name: "c", fast: true})}
		for _, p := range takers {
			p.send(simple(peer.TypeHaveNone), simple(peer.TypeInterested))
		}
		bits := make([]byte, 32)
		for i := range bits {
			bits[i] = 0xff
		}
		bits[0] = 0x7f // all but the piece that we have
		giver.send(peer.Message{Type: peer.TypeBitfield, Payload: bits}, simple(peer.TypeInterested), simple(peer.TypeUnchoke))
		open := giver.requests()
		for range 20 {
			time.Sleep(time.Second)
			giver.send(c.block(open[0], nil))
			open = append(open[1:], giver.requests()...)
		}
		if got := giver.take(); strings.Count(got, "unchoke") != 1 {
			t.Fatalf("the peer that gives heard %q", got)
		}
		unchokes := make([]int, len(takers))
		for range 180 {
			time.Sleep(time.Second)
			giver.send(c.block(open[0], nil))
			open = append(open[1:], giver.requests()...)
			for i, p := range takers {
				p.send(peer.Message{KeepAlive: true})
				unchokes[i] += strings.Count(p.take(), "unchoke")
			}
		}
		if got := giver.take(); strings.Contains(got, "choke") {
			t.Errorf("the peer that gives heard %q", got)
		}
		// Turns of 30 s in 200 s, and those they had before.
		if sum := unchokes[0] + unchokes[1] + unchokes[2]; sum < 4 || slices.Contains(unchokes, 0) {
			t.Errorf("the others were unchoked %v times", unchokes)
		}
	})
}
