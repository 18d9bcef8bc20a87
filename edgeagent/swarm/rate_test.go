package swarm

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"simplebit/wire/dial"
	"simplebit/wire/peer"
)

// link connects two nodes by a pipe. It must run in a synctest bubble.
func link(a, b *node) {
	near, far := net.Pipe()
	b.Accept(&dial.Conn{Conn: counted{far, &b.came}, Peer: a.Handshake(), Transport: dial.TCP})
	a.Accept(&dial.Conn{Conn: counted{near, &a.came}, Peer: b.Handshake(), Transport: dial.TCP})
	synctest.Wait()
}

// counted counts what is read from a connection. The torrent's own count is late: blocks are counted when the loop takes
// them, several at a time, and shown when it publishes a snapshot.
type counted struct {
	net.Conn
	n *atomic.Int64
}

func (c counted) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.n.Add(int64(n))
	return n, err
}

// downloaded is how many bytes have come by the links of the node, the few that are no payload included.
func (n *node) downloaded() int64 { return n.came.Load() }

// windows returns how much the count grew in each of the next seconds.
func windows(seconds int, count func() int64) []int64 {
	list := make([]int64, seconds)
	synctest.Wait()
	before := count()
	for i := range list {
		time.Sleep(time.Second)
		synctest.Wait()
		now := count()
		list[i], before = now-before, now
	}
	return list
}

// mustKeep checks that a rate was kept within a tenth, or a block where that is more.
func mustKeep(t *testing.T, what string, list []int64, perSecond int64) {
	t.Helper()
	room := max(perSecond/10, block)
	var sum int64
	for _, n := range list {
		if n < perSecond-room || n > perSecond+room {
			t.Errorf("%s: %d bytes in a second of %v, want %d", what, n, list, perSecond)
			return
		}
		sum += n
	}
	if mean := sum / int64(len(list)); mean < perSecond*97/100 || mean > perSecond*103/100+block/int64(len(list)) {
		t.Errorf("%s: %d bytes/s on average, want %d", what, mean, perSecond)
	}
	t.Logf("%s: %v bytes/s", what, list)
}

func TestRatesAreKept(t *testing.T) {
	for _, limit := range []int64{100 << 10, 1 << 20, 10 << 20} {
		c := newContent(int(limit)*8, 128<<10)
		device := func() *Shared { return NewShared(SharedConfig{Down: limit, Up: limit}) }
		for name, conf := range map[string]func() (seed, leech Config){
			"down of the torrent": func() (seed, leech Config) { return Config{}, Config{Policy: Policy{Down: limit}} },
			"down of the device":  func() (seed, leech Config) { return Config{}, Config{Shared: device()} },
			"up of the torrent":   func() (seed, leech Config) { return Config{Policy: Policy{Up: limit}}, Config{} },
			"up of the device":    func() (seed, leech Config) { return Config{Shared: device()}, Config{} },
			"the lower one counts": func() (seed, leech Config) {
				return Config{Shared: device(), Policy: Policy{Up: 3 * limit}}, Config{Policy: Policy{Down: 2 * limit}}
			},
		} {
			t.Run(fmt.Sprintf("%d KiB/s, %s", limit>>10, name), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					ofSeed, ofLeech := conf()
					seed, leech := c.start(t, "seed", c.data, ofSeed), c.start(t, "leech", nil, ofLeech)
					link(leech, seed)
					mustKeep(t, name, windows(6, leech.downloaded), limit)
				})
			})
		}
	}
}

func TestTwoTorrentsShareTheDevicesLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const limit = 1 << 20
		c := newContent(8*limit, 128<<10)
		device := NewShared(SharedConfig{Down: limit})
		var leeches []*node
		for range 2 {
			seed, leech := c.start(t, "seed", c.data, Config{}), c.start(t, "leech", nil, Config{Shared: device})
			link(leech, seed)
			leeches = append(leeches, leech)
		}
		one := windows(3, leeches[0].downloaded)
		both := windows(5, func() int64 { return leeches[0].downloaded() + leeches[1].downloaded() })
		mustKeep(t, "both", both, limit)
		mustKeep(t, "one of them", one, limit/2)
	})
}

func TestALimitThatChangesCountsAtOnce(t *testing.T) {
	for _, way := range []string{"down", "up"} {
		t.Run(way, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newContent(32<<20, 128<<10)
				slow := Config{Policy: Policy{Down: 1, Up: 1}}
				var seed, leech, limited *node
				if way == "up" {
					seed, leech = c.start(t, "seed", c.data, slow), c.start(t, "leech", nil, Config{})
					limited = seed
				} else {
					seed, leech = c.start(t, "seed", c.data, Config{}), c.start(t, "leech", nil, slow)
					limited = leech
				}
				link(leech, seed)
				time.Sleep(30 * time.Second) // a byte a second: the next block would take four hours
				limited.SetPolicy(Policy{Down: 1 << 20, Up: 1 << 20})
				mustKeep(t, "raised", windows(3, leech.downloaded), 1<<20)
				limited.SetPolicy(Policy{Down: 200 << 10, Up: 200 << 10})
				synctest.Wait()
				mustKeep(t, "lowered", windows(3, leech.downloaded), 200<<10)
				limited.SetPolicy(Policy{})
				time.Sleep(time.Second)
				if s := leech.Status(); !s.Seeding {
					t.Errorf("only %d bytes without a limit", s.Downloaded)
				}
			})
		})
	}
}

// While uploads wait for their turn, what we ask of the same peer and tell it does not.
func TestOurRequestsDoNotWaitBehindLimitedUploads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newContent(64*4*block, 4*block)
		n := c.start(t, "node", c.partly(0, 1), Config{Policy: Policy{Up: 1 << 10}})
		p := n.connect(t, features{name: "x", fast: true})
		p.send(simple(peer.TypeHaveNone), simple(peer.TypeInterested))
		for i := range uint32(4) {
			p.send(request3(peer.TypeRequest, 0, i*block, block))
		}
		time.Sleep(2 * time.Second)
		p.take()
		p.send(simple(peer.TypeHave, 5), simple(peer.TypeUnchoke))
		if got := p.take(); got != "interested\nrequest 5 0 16384\nrequest 5 16384 16384\nrequest 5 32768 16384\nrequest 5 49152 16384" {
			t.Errorf("heard %q", got)
		}
	})
}

// A peer whose requests come and go must not use up what others could have.
func TestAPeerThatAsksAndCancelsCostsOthersLittle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newContent(16<<20, 128<<10)
		n := c.start(t, "node", c.data, Config{Policy: Policy{Up: 1 << 20}})
		bad := n.connect(t, features{name: "x", fast: true})
		bad.send(simple(peer.TypeHaveNone), simple(peer.TypeInterested))
		leech := c.start(t, "leech", nil, Config{})
		link(leech, n)
		done := make(chan struct{})
		go func() {
			defer close(done)
			for range 3000 {
				bad.conn.Write(slices.Concat(
					request3(peer.TypeRequest, 0, 0, block).Append(nil), request3(peer.TypeCancel, 0, 0, block).Append(nil),
				))
				time.Sleep(time.Millisecond)
			}
		}()
		list := windows(3, leech.downloaded)
		<-done
		for _, n := range list {
			if n < 1<<19-block {
				t.Errorf("%v bytes/s beside a peer that wants nothing, want half of 1 MiB/s at least", list)
			}
		}
		t.Log(list)
	})
}

func TestReadersThatWaitForALimitEndWithTheirConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newContent(4<<20, 128<<10)
		seed, leech := c.start(t, "seed", c.data, Config{}), c.start(t, "leech", nil, Config{Policy: Policy{Down: 1}})
		link(leech, seed)
		time.Sleep(10 * time.Second)
		leech.stop()
	})
}

// Those who stop waiting cost the others nothing, in whatever order they stop.
func TestReadersThatGiveUpWaitingLeaveTheLimitToOthers(t *testing.T) {
	for _, way := range []string{"the torrent is stopped", "the connection ends"} {
		t.Run(way, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const perSecond = 10 << 10
				var l limit
				l.set(perSecond)
				ctx, cancel := context.WithCancel(t.Context())
				gone := make(chan struct{})
				for range 40 {
					go l.wait(ctx, gone, block)
				}
				time.Sleep(time.Second) // the first has its block, the second waits for its own
				wait := make(chan error, 1)
				go func() { wait <- l.wait(t.Context(), nil, block) }() // behind them all
				synctest.Wait()
				if way == "the torrent is stopped" {
					cancel()
				} else {
					close(gone)
				}
				began := time.Now()
				for range 3 {
					if err := <-wait; err != nil {
						t.Fatal(err)
					}
					go func() { wait <- l.wait(t.Context(), nil, block) }()
				}
				cancel()
				took, want := time.Since(began)+time.Second, 3*block*time.Second/perSecond
				if took < want-time.Millisecond || took > want+time.Millisecond {
					t.Errorf("three blocks came within %v of the first, want %v", took, want)
				}
				<-wait
			})
		})
	}
}

// Likewise for peers that are served.
func TestGrantsThatAreGivenUpLeaveTheLimitToOthers(t *testing.T) {
	var own, device limit
	device.set(10 << 10)
	r, now := rates{&device, &own}, time.Now()
	var grants []*grant
	for range 40 {
		grants = append(grants, r.ask(now, block))
	}
	for _, g := range grants[1:] { // the first is sent
		g.giveUp()
	}
	want := block * time.Second / (10 << 10)
	if due := r.ask(now, block).due.Sub(now); due != want {
		t.Errorf("the next block is due after %v, want %v", due, want)
	}
}

// A torrent's readers wait until it has ended.
func TestATorrentThatStopsLeavesTheDevicesLimitToOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const perSecond = 10 << 10
		c := newContent(4<<20, 128<<10)
		device := NewShared(SharedConfig{Down: perSecond})
		stops := c.start(t, "stops", nil, Config{Shared: device})
		for i := range 20 {
			link(stops, c.start(t, fmt.Sprintf("seed %02d", i), c.data, Config{}))
		}
		time.Sleep(10 * time.Second)
		stops.stop()
		goesOn := c.start(t, "goes on", nil, Config{Shared: device})
		link(goesOn, c.start(t, "another", c.data, Config{}))
		time.Sleep(32 * time.Second)
		synctest.Wait()
		// A block may have been taken by the one that stopped just before it did, and one is on the way.
		if n := goesOn.downloaded(); n < 30*perSecond-block {
			t.Errorf("%d bytes in 32 s after another torrent stopped, want %d", n, 32*perSecond)
		}
	})
}

// Who waits for us is no mute peer.
func TestPeersThatOurOwnLimitHoldsUpAreNotSnubbed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newContent(4<<20, 128<<10)
		seed, leech := c.start(t, "seed", c.data, Config{}), c.start(t, "leech", nil, Config{Policy: Policy{Down: 500}})
		link(leech, seed)
		time.Sleep(10 * time.Minute)
		s := leech.Status()
		if len(s.Peers) != 1 || s.Downloaded < 500*500 || s.Downloaded > 500*600+2*block {
			t.Errorf("%d peers, %d bytes in ten minutes at 500 bytes/s; log:\n%s", len(s.Peers), s.Downloaded, leech.log)
		}
		if log := leech.log.String(); strings.Contains(log, "owes us") {
			t.Error(log)
		}
	})
}
