package swarm

import (
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"simplebit/wire/dial"
	"simplebit/wire/peer"
)

// verdicts collects what a torrent says of addresses.
type verdicts struct {
	mu   sync.Mutex
	list []Verdict
}

func (v *verdicts) add(list []Verdict) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.list = append(v.list, list...)
}

// of returns the addresses of which the torrent said so.
func (v *verdicts) of(reason VerdictReason) []netip.AddrPort {
	v.mu.Lock()
	defer v.mu.Unlock()
	var list []netip.AddrPort
	for _, x := range v.list {
		if x.Reason == reason && !slices.Contains(list, x.Addr) {
			list = append(list, x.Addr)
		}
	}
	slices.SortFunc(list, netip.AddrPort.Compare)
	return list
}

// Three of ten peers send corrupt blocks, in different ways. Each is found out and banned, no honest one is, and no more is
// fetched again than the pieces that the liars had a part in.
func TestThreeLiarsAmongTenPeersCostThePiecesTheyTouched(t *testing.T) {
	every := func(uint32, uint32, int) bool { return true }
	for name, tt := range map[string]struct {
		piece int // blocks
		lies  [3]func(piece, begin uint32, nth int) bool
	}{
		"in every block":     {16, [3]func(uint32, uint32, int) bool{every, every, every}},
		"one block a piece":  {4, [3]func(uint32, uint32, int) bool{every, every, every}},
		"pieces of 4 MiB":    {256, [3]func(uint32, uint32, int) bool{every, every, every}},
		"in the first block": {16, [3]func(uint32, uint32, int) bool{onlyFirst, onlyFirst, onlyFirst}},
		"in different ways": {16, [3]func(uint32, uint32, int) bool{
			every,
			func(_, begin uint32, _ int) bool { return begin/block%4 == 1 },
			func(_, _ uint32, nth int) bool { return nth%20 == 19 },
		}},
		"in 1 of 20, large pieces": {64, [3]func(uint32, uint32, int) bool{oneOf20, oneOf20, oneOf20}},
	} {
		for _, each := range []string{"equal", "unequal"} {
			t.Run(name+", "+each, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					c := newContent(3072*block, tt.piece*block)
					var said verdicts
					world := newScriptedNet(t)
					n := c.start(t, "node", nil, Config{Dialer: &dial.Dialer{TCP: world}, Unusable: said.add})
					var all, liars []netip.AddrPort
					for i := range 10 {
						p := &scripted{c: c, each: 10 * time.Millisecond}
						if each == "unequal" {
							p.each = time.Duration(5+7*i) * time.Millisecond
						}
						if i%3 == 1 {
							p.lie = tt.lies[i/3]
							liars = append(liars, addr(i+1))
						}
						world.add(addr(i+1), p)
						all = append(all, addr(i+1))
					}
					n.AddCandidates(reachable(all...))
					for range 1000 {
						if time.Sleep(time.Second); n.Status().Seeding {
							break
						}
					}
					s := n.Status()
					n.stop()
					world.running.Wait()
					touched, corrupt := 0, 0
					for at, p := range world.peers {
						touched += p.touched()
						corrupt += p.lies
						if p.lie != nil && world.dialled(at) != 1 {
							t.Errorf("liar %v was dialled %d times", at, world.dialled(at))
						}
					}
					if got := said.of(Lied); !s.Seeding || !slices.Equal(got, liars) {
						t.Errorf("complete %v; banned %v, want %v; log:\n%s", s.Seeding, got, liars, n.log)
					}
					again, most := s.Downloaded-int64(len(c.data)), int64(touched*c.piece)
					t.Logf("%d corrupt blocks in %d pieces of %d KiB; %d KiB fetched again; %d KiB wasted, with the endgame",
						corrupt, touched, c.piece>>10, again>>10, s.Wasted>>10)
					// In the endgame each peer may be sending a block that another was faster with.
					if again > most || s.Wasted > most+int64(3*len(all)*block) {
						t.Errorf("%d bytes fetched again and %d wasted, want at most %d", again, s.Wasted, most)
					}
					c.compare(t, n)
				})
			})
		}
	}
}

func onlyFirst(_, begin uint32, _ int) bool { return begin == 0 }
func oneOf20(_, _ uint32, nth int) bool     { return nth%20 == 7 }

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
