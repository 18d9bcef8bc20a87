package swarm

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"simplebit/wire/dial"
	"simplebit/wire/peer"
)

// Bytes that trickle in are no message: who sends nothing whole is dropped like a silent peer.
func TestAPeerThatTricklesIsDropped(t *testing.T) {
	for name, tt := range map[string]struct {
		message []byte
		every   time.Duration
		within  time.Duration
		why     string
	}{
		"a have, a byte every 30 s": {simple(peer.TypeHave, 1).Append(nil), 30 * time.Second, idleLimit, "peer sent nothing for 3m0s"},
		"an extension handshake, a byte a second": {
			extensions(peer.Extensions{Version: strings.Repeat("x", 400)}).Append(nil), time.Second, idleLimit, "peer sent nothing for 3m0s",
		},
		"a block, 100 bytes a second": {
			peer.Message{Type: peer.TypePiece, Payload: make([]byte, block)}.Append(nil), 10 * time.Millisecond, blockLimit, "sent none for 1m0s",
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newContent(4*4*block, 4*block)
				n := c.start(t, "node", nil, Config{})
				p := n.connect(t, features{name: "x", fast: true, extended: true})
				if tt.within == blockLimit {
					p.send(simple(peer.TypeHaveAll), simple(peer.TypeUnchoke))
				}
				start := time.Now()
				for _, b := range tt.message {
					if _, err := p.conn.Write([]byte{b}); err != nil {
						break
					}
					time.Sleep(tt.every)
				}
				if took := time.Since(start); !p.isClosed() || took < tt.within || took > tt.within+30*time.Second+quietInterval {
					t.Errorf("closed %v after %v, want %v", p.isClosed(), took, tt.within)
				}
				if log := n.log.String(); !strings.Contains(log, tt.why) {
					t.Errorf("want the reason %q; log:\n%s", tt.why, log)
				}
			})
		})
	}
}

func TestAPeerThatReadsAByteASecondIsDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newContent(1<<20, 64<<10)
		n := c.start(t, "node", c.data, Config{})
		p := n.connect(t, features{name: "x", fast: true, deaf: true})
		go func() {
			one := make([]byte, 1)
			for range 3600 {
				if _, err := p.conn.Read(one); err != nil {
					return
				}
				time.Sleep(time.Second)
			}
		}()
		p.send(simple(peer.TypeInterested))
		for i := range uint32(16) {
			p.send(request3(peer.TypeRequest, i, 0, block))
		}
		honest := n.connect(t, features{name: "y", fast: true})
		honest.send(simple(peer.TypeInterested))
		honest.send(request3(peer.TypeRequest, 0, 0, block)) // unchoked by now
		if got := honest.take(); !strings.Contains(got, "piece") {
			t.Errorf("the honest peer heard %q", got)
		}
		for range 10 {
			time.Sleep(time.Minute)
			honest.send(peer.Message{KeepAlive: true})
		}
		s := n.Status()
		if len(s.Peers) != 1 || !strings.Contains(n.log.String(), "i/o timeout") {
			t.Errorf("%d peers; log:\n%s", len(s.Peers), n.log)
		}
	})
}

func TestAFloodOfPeersThatBreakTheProtocolDoesNotFillTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newContent(1<<20, 64<<10)
		n := c.start(t, "node", nil, Config{})
		for i := range 200 {
			p := n.connect(t, features{name: fmt.Sprint(i)})
			p.send(simple(peer.TypeHave, 1<<20))
			if !p.isClosed() {
				t.Fatal("still connected")
			}
		}
		if got := strings.Count(n.log.String(), "INFO peer disconnected"); got != 1 {
			t.Errorf("%d lines at once, want 1", got)
		}
	})
}

// Who asks for a choke with every message must not keep us busy, nor change what others get.
func TestAPeerThatTogglesItsInterestChangesNothingForOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newContent(1<<20, 64<<10)
		n := c.start(t, "node", c.data, Config{UploadSlots: 1})
		honest := n.connect(t, features{name: "x", fast: true})
		honest.send(simple(peer.TypeInterested))
		p := n.connect(t, features{name: "y", fast: true})
		for range 1000 {
			p.send(simple(peer.TypeInterested), simple(peer.TypeNotInterested))
		}
		if got := honest.take(); got != "have all\nunchoke" {
			t.Errorf("the honest peer heard %q", got)
		}
		if got := p.take(); got != "have all" {
			t.Errorf("the other one heard %q", got)
		}
	})
}

func TestVerdictsOnAddresses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newContent(1<<20, 64<<10)
		world := newScriptedNet(t)
		var said verdicts
		other := newContent(1<<20, 16<<10) // of another number of pieces: its bitfield does not fit
		world.add(addr(1), &scripted{c: other, plain: true, each: time.Second})
		world.add(addr(2), &scripted{c: c, each: 10 * time.Millisecond})
		n := c.start(t, "node", nil, Config{Dialer: &dial.Dialer{TCP: world}, Unusable: said.add})
		n.AddCandidates(reachable(addrs(1, 4)...))
		time.Sleep(time.Minute)
		if got := said.of(Useless); len(got) != 1 || got[0] != addr(1) {
			t.Errorf("useless: %v", got)
		}
		if got := said.of(Unreachable); len(got) != 1 || got[0] != addr(3) {
			t.Errorf("unreachable: %v", got)
		}
		if got := said.of(Lied); len(got) != 0 {
			t.Errorf("lied: %v", got)
		}
	})
}
