package swarm

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"simplebit/edgeagent/storage"
	"simplebit/wire/dial"
	"simplebit/wire/peer"
)

func TestLeechersServeEachOther(t *testing.T) {
	c := newContent(8<<20, 128<<10)
	seed := c.start(t, "seed", c.data, Config{UploadSlots: 1}).listen(t)
	leechers := make([]*node, 3)
	for i := range leechers {
		leechers[i] = c.start(t, fmt.Sprint(i), nil, Config{}).listen(t)
	}
	for _, n := range leechers {
		all := []netip.AddrPort{seed.addr}
		for _, other := range leechers {
			all = append(all, other.addr) // its own address too
		}
		n.AddCandidates(reachable(all...))
	}
	for _, n := range leechers {
		n.awaitSeeding(t)
		n.stop()
		c.compare(t, n)
	}
	if s := seed.Status(); s.Uploaded >= 3*int64(len(c.data)) {
		t.Errorf("the seed sent %d bytes: the leechers did not share", s.Uploaded)
	}
}

func TestASeedThatLiesIsBannedAndAnotherCompletes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newContent(32*4*block, 4*block)
		n := c.start(t, "node", nil, Config{})
		good := n.connect(t, features{name: "good", fast: true})
		bad := n.connect(t, features{name: "bad", fast: true})
		for _, p := range []*fake{good, bad} {
			p.send(simple(peer.TypeHaveAll), simple(peer.TypeUnchoke))
		}
		bad.serve(c, func(data []byte) { data[0]++ })
		if !bad.isClosed() || good.isClosed() && !n.Status().Seeding {
			t.Fatalf("lying peer closed %v, honest one closed %v; log:\n%s", bad.isClosed(), good.isClosed(), n.log)
		}
		good.serve(c, nil)
		if again := n.connect(t, features{name: "bad", fast: true}); !again.isClosed() {
			t.Errorf("the banned peer was let in again; log:\n%s", n.log)
		}
		if s := n.Status(); !s.Seeding {
			t.Errorf("not complete: %+v", s)
		}
		n.stop()
		c.compare(t, n)
	})
}

// With a piece larger than one peer's queue both peers send parts of it, so a wrong hash alone blames neither.
func TestALiarAmongTwoSendersOfAPieceDoesNotStopTheDownload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newContent(64*block, 64*block)
		n := c.start(t, "node", nil, Config{})
		good := n.connect(t, features{name: "good", fast: true})
		bad := n.connect(t, features{name: "bad", fast: true})
		good.send(simple(peer.TypeHaveAll), simple(peer.TypeUnchoke))
		bad.send(simple(peer.TypeHaveAll), simple(peer.TypeUnchoke))
		for range 1000 {
			if n.Status().Seeding {
				break
			}
			for _, r := range bad.requests() {
				bad.send(c.block(r, func(data []byte) { data[0]++ }))
			}
			for _, r := range good.requests() {
				good.send(c.block(r, nil))
			}
		}
		if s := n.Status(); !s.Seeding {
			t.Errorf("not complete: %+v; log:\n%s", s, n.log)
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

func TestPeersThatDialEachOtherKeepOneConnection(t *testing.T) {
	c := newContent(1<<20, 64<<10)
	a := c.start(t, "a", c.partly(0, 1, 2), Config{}).listen(t)
	b := c.start(t, "b", c.partly(3, 4, 5), Config{}).listen(t)
	for range 3 {
		a.AddCandidates(reachable(b.addr))
		b.AddCandidates(reachable(a.addr))
	}
	exchanged := func(s Status) bool { return s.Have == 6*64<<10 }
	a.await(t, "the exchange", exchanged)
	b.await(t, "the exchange", exchanged)
	for _, n := range []*node{a, b} {
		s := n.await(t, "one peer", func(s Status) bool { return len(s.Peers) == 1 })
		if p := s.Peers[0]; p.Transport != "tcp" || p.Path != "dialled" && p.Path != "accepted" || !strings.HasPrefix(p.Client, "SimpleBit") {
			t.Errorf("peer %+v", p)
		}
	}
}

func TestAClientThatDialsItselfGivesUp(t *testing.T) {
	c := newContent(1<<20, 64<<10)
	n := c.start(t, "a", nil, Config{}).listen(t)
	n.AddCandidates(reachable(n.addr))
	for deadline := time.Now().Add(10 * time.Second); !strings.Contains(n.log.String(), "peer not reached"); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("log:\n%s", n.log)
		}
	}
	if s := n.Status(); len(s.Peers) != 0 {
		t.Errorf("connected to itself: %+v", s)
	}
	n.stop()
	if a := n.book.list[0]; a.failures == 0 && !a.banned {
		t.Errorf("our own address may be dialled again at once: %+v", a)
	}
}

func TestADiskThatFailsEndsTheTorrent(t *testing.T) {
	t.Run("writing", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c := newContent(4*block, 4*block)
			n := c.start(t, "node", nil, Config{})
			// Where the file should go is a folder.
			if err := os.MkdirAll(filepath.Join(n.dir, fileName+".part", "x"), 0o755); err != nil {
				t.Fatal(err)
			}
			p := n.connect(t, features{name: "x", fast: true})
			p.send(simple(peer.TypeHaveAll), simple(peer.TypeUnchoke))
			p.serve(c, nil)
			mustFail(t, n)
		})
	})
	t.Run("reading", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c := newContent(4*block, 4*block)
			n := c.start(t, "node", c.data, Config{})
			if err := os.Truncate(filepath.Join(n.dir, fileName), 0); err != nil {
				t.Fatal(err)
			}
			p := n.connect(t, features{name: "x", fast: true})
			p.send(simple(peer.TypeInterested))
			p.send(request3(peer.TypeRequest, 0, 0, block))
			mustFail(t, n)
		})
	})
}

// mustFail waits for Run to end by itself with the disk's error.
func mustFail(t *testing.T, n *node) {
	t.Helper()
	synctest.Wait()
	select {
	case <-n.done:
	default:
		t.Fatalf("Run goes on; log:\n%s", n.log)
	}
	var disk *storage.DiskError
	if err := n.stop(); !errors.As(err, &disk) {
		t.Errorf("Run returned %v", err)
	}
}

func TestConnectionsGivenToATorrentThatHasEndedAreClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newContent(4*block, block)
		n := c.start(t, "node", nil, Config{})
		n.stop()
		if p := n.connect(t, features{name: "x"}); !p.isClosed() {
			t.Error("connection is open")
		}
		n.AddCandidates(reachable(netip.MustParseAddrPort("198.18.0.1:1")))
	})
}

// slowNet is a network in which nobody ever answers.
type slowNet struct{ now, most, total atomic.Int32 }

func (s *slowNet) DialContext(ctx context.Context, _, _ string) (net.Conn, error) {
	s.total.Add(1)
	s.most.Store(max(s.most.Load(), s.now.Add(1)))
	<-ctx.Done()
	s.now.Add(-1)
	return nil, ctx.Err()
}

func TestNoMoreAreDialledThanMayConnect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newContent(4*block, block)
		var slow slowNet
		n := c.start(t, "node", nil, Config{Policy: Policy{MaxPeers: 3}, Dialer: &dial.Dialer{Net: &slow}})
		n.connect(t, features{name: "x"})
		n.AddCandidates(reachable(addr(1), addr(2), addr(3), addr(4)))
		time.Sleep(time.Second)
		if got := slow.most.Load(); got != 2 {
			t.Errorf("%d dials at once next to one peer of three, want 2", got)
		}
	})
}

// An accepted peer says in its extension handshake where it listens.
func TestAnAcceptedPeerIsDialledBackOnlyWhenItIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newContent(4*block, block)
		var slow slowNet
		n := c.start(t, "node", nil, Config{Dialer: &dial.Dialer{Net: &slow}})
		from := netip.MustParseAddrPort("198.18.3.4:50000")
		p := n.connect(t, features{name: "x", extended: true, addr: from})
		if s := n.Status(); s.Known != 0 {
			t.Errorf("%d addresses known of a peer that has told none", s.Known)
		}
		p.send(extensions(peer.Extensions{Port: 7777, Version: "Test 1"}))
		time.Sleep(time.Minute)
		if s := n.Status(); s.Known != 1 || len(s.Peers) != 1 || s.Peers[0].Addr != from || s.Peers[0].Client != "Test 1" || s.Peers[0].Path != "accepted" {
			t.Errorf("status %+v", s)
		}
		if got := slow.total.Load(); got != 0 {
			t.Fatalf("%d dials to a peer that is connected", got)
		}
		p.conn.Close()
		time.Sleep(time.Minute)
		if got := slow.total.Load(); got == 0 || n.book.list[0].at != netip.MustParseAddrPort("198.18.3.4:7777") {
			t.Errorf("%d dials after the peer has gone, to %v", got, n.book.list[0].at)
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
