package front

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/netip"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"simplebit/wire/peer"
)

// inBubble runs f under virtual time.
func inBubble(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, f)
}

// mustFetch fetches from the swarm and checks the result and the time that it took.
func mustFetch(t *testing.T, s *swarm, info []byte, hash [20]byte, within time.Duration) {
	t.Helper()
	start := time.Now()
	if got := s.fetch(t, hash); !bytes.Equal(got, info) {
		t.Fatalf("got %d bytes of %d", len(got), len(info))
	}
	if took := time.Since(start); took > within {
		t.Errorf("took %v, want at most %v", took, within)
	}
}

func TestMetadataComesFromSeveralPeersAtOnce(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		info, hash := metadata(40*peer.MetadataPieceSize - 5)
		var served [4]atomic.Int32
		var peers []func(net.Conn)
		for p := range served {
			peers = append(peers, serve(int64(len(info)), func(i uint32) *peer.MetadataMessage {
				time.Sleep(time.Second)
				served[p].Add(1)
				m := data(info, i)
				return &m
			}))
		}
		// Forty seconds of work for one.
		mustFetch(t, newSwarm(peers...), info, hash, 16*time.Second)
		for p := range served {
			if served[p].Load() < 8 {
				t.Errorf("peer %d served %d pieces of 40", p, served[p].Load())
			}
		}
	})
}

func TestMetadataOfAnySizeIsWhole(t *testing.T) {
	for _, n := range []int{1, 100, peer.MetadataPieceSize - 1, peer.MetadataPieceSize, peer.MetadataPieceSize + 1, 3 << 20} {
		inBubble(t, func(t *testing.T) {
			info, hash := metadata(n)
			mustFetch(t, newSwarm(honest(info, 0)), info, hash, time.Second)
		})
	}
}

func TestPieceThatDoesNotComeIsAskedForElsewhere(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		info, hash := metadata(100_000)
		mustFetch(t, newSwarm(silent(len(info)), silent(len(info)), honest(info, 10*time.Millisecond)), info, hash, 5*time.Second)
	})
}

func TestHonestPeerBehindManySilentOnesIsAskedWithinSeconds(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		info, hash := metadata(100)
		var peers []func(net.Conn)
		for range DefaultMaxLinks - 1 {
			peers = append(peers, silent(len(info)))
		}
		mustFetch(t, newSwarm(append(peers, honest(info, 0))...), info, hash, DefaultMaxLinks*tick)
	})
}

// oneAtATime is a peer that falls silent for ever when it is asked for a piece while it owes another, as rTorrent does.
func oneAtATime(info []byte, v string) func(net.Conn) {
	return func(c net.Conn) {
		f, err := greet(c)
		if err != nil || f.hello(int64(len(info)), v) != nil {
			return
		}
		for {
			i, err := f.request()
			if err != nil {
				return
			}
			c.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
			if _, err := f.request(); err == nil {
				c.SetReadDeadline(time.Time{})
				io.Copy(io.Discard, c)
				return
			}
			c.SetReadDeadline(time.Time{})
			f = &fake{Conn: c, r: peer.NewReader(c)}
			f.say(data(info, i))
		}
	}
}

func TestRTorrentIsAskedForOnePieceAtATime(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		info, hash := metadata(20 * peer.MetadataPieceSize)
		mustFetch(t, newSwarm(oneAtATime(info, "libTorrent 0.13.8")), info, hash, 3*time.Second)
	})
}

func TestPeerThatFallsSilentOverSeveralRequestsIsAskedForOneAtATimeLater(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		info, hash := metadata(20 * peer.MetadataPieceSize)
		mustFetch(t, newSwarm(oneAtATime(info, "Other 1.0")), info, hash, patience+redialAfter+3*time.Second)
	})
}

func TestPeerThatAnswersInBatchesIsAskedForMany(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		info, hash := metadata(64 * peer.MetadataPieceSize)
		mustFetch(t, newSwarm(func(c net.Conn) {
			f, err := greet(c)
			if err != nil || f.hello(int64(len(info))) != nil {
				return
			}
			asked := make(chan uint32, 64)
			gone := make(chan error, 1)
			go func() {
				for {
					i, err := f.request()
					if err != nil {
						gone <- err
						return
					}
					asked <- i
				}
			}()
			for len(gone) == 0 {
				time.Sleep(3 * time.Second)
				for range len(asked) {
					f.say(data(info, <-asked))
				}
			}
		}), info, hash, 12*time.Second)
	})
}

func TestRejectedPieceIsAskedForElsewhere(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		info, hash := metadata(100_000)
		rejects := serve(int64(len(info)), func(i uint32) *peer.MetadataMessage {
			return &peer.MetadataMessage{Type: peer.MetadataReject, Piece: i}
		})
		mustFetch(t, newSwarm(rejects, honest(info, 10*time.Millisecond), rejects), info, hash, 2*time.Second)
	})
}

func TestOnlyPeerThatRejectsAtFirstIsAskedAgain(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		info, hash := metadata(100_000)
		busy := 5
		mustFetch(t, newSwarm(serve(int64(len(info)), func(i uint32) *peer.MetadataMessage {
			m := data(info, i)
			if busy > 0 {
				busy--
				m = peer.MetadataMessage{Type: peer.MetadataReject, Piece: i}
			}
			return &m
		})), info, hash, refusalLasts+time.Second)
	})
}

func TestPeerThatLeavesInTheMiddleIsReplaced(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		info, hash := metadata(20 * peer.MetadataPieceSize)
		leaves := func(c net.Conn) {
			f, err := greet(c)
			if err != nil || f.hello(int64(len(info))) != nil {
				return
			}
			if i, err := f.request(); err == nil {
				f.say(data(info, i))
			}
		}
		mustFetch(t, newSwarm(leaves, honest(info, 10*time.Millisecond), leaves), info, hash, 2*time.Second)
	})
}

func TestOnlyPeerThatLeavesAgainAndAgainServesItAllInTheEnd(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		info, hash := metadata(5 * peer.MetadataPieceSize)
		s := newSwarm(func(c net.Conn) {
			f, err := greet(c)
			if err != nil || f.hello(int64(len(info))) != nil {
				return
			}
			if i, err := f.request(); err == nil {
				f.say(data(info, i))
			}
		})
		mustFetch(t, s, info, hash, 5*redialAfter)
		if n := len(s.dialled(addr(0))); n != 5 {
			t.Errorf("dialled %d times, want once for each piece", n)
		}
	})
}

func TestPeersThatDisagreeAboutTheSizeAreTriedSeparately(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		info, hash := metadata(100_000)
		mustFetch(t, newSwarm(
			liar(99_999), liar(99_999), liar(1), silent(MaxMetadata), silent(MaxMetadata), silent(MaxMetadata),
			honest(info, 50*time.Millisecond),
		), info, hash, 5*time.Second)
	})
}

func TestLiarCannotBlockTheFetch(t *testing.T) {
	for _, liars := range []int{1, 3, 19} {
		inBubble(t, func(t *testing.T) {
			info, hash := metadata(10 * peer.MetadataPieceSize)
			peers := []func(net.Conn){honest(info, 20*time.Millisecond)}
			for range liars {
				peers = append(peers, liar(len(info)))
			}
			s := newSwarm(peers...)
			mustFetch(t, s, info, hash, 5*time.Second)
		})
	}
}

func TestLiarsThatTakeAllPlacesLoseThem(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		info, hash := metadata(10 * peer.MetadataPieceSize)
		s := newSwarm()
		for i := range 100 {
			s.peers[addr(i)] = liar(len(info))
		}
		s.peers[addr(100)] = honest(info, 20*time.Millisecond)
		mustFetch(t, s, info, hash, 3*time.Minute)
	})
}

func TestPeerThatAloneSentTheWrongMetadataIsNeverDialledAgain(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		_, hash := metadata(100_000)
		s := newSwarm(liar(100_000))
		if got := s.fetch(t, hash); got != nil {
			t.Errorf("got %d bytes", len(got))
		}
		if n := len(s.dialled(addr(0))); n != 1 {
			t.Errorf("dialled %d times within an hour, want once", n)
		}
	})
}

func TestWhatPeersSayOfTheirPiecesIsPassedOver(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		info, hash := metadata(100_000)
		mustFetch(t, newSwarm(func(c net.Conn) {
			f, err := greet(c)
			if err != nil {
				return
			}
			for _, m := range []peer.Message{
				{Type: peer.TypeBitfield, Payload: make([]byte, 100_000)}, {Type: peer.TypeHave, Index: 7}, {KeepAlive: true},
				{Type: peer.TypeHaveAll}, {Type: peer.TypePort, Port: 1}, {Type: peer.TypeUnchoke}, {Type: peer.TypeAllowedFast, Index: 1},
				{Type: peer.TypePiece, Payload: make([]byte, 16384)}, {Type: 77, Payload: []byte("?")}, {Type: peer.TypeExtended, ExtID: 200},
			} {
				f.Write(m.Append(nil))
			}
			// First a handshake without size, as from a peer that is fetching the metadata itself; later it has it.
			f.hello(0)
			time.Sleep(3 * time.Second)
			f.extended(0, []byte("d13:metadata_sizei100000ee"))
			for {
				i, err := f.request()
				if err != nil {
					return
				}
				f.Write(peer.Message{KeepAlive: true}.Append(nil))
				f.say(peer.MetadataMessage{Type: 7, Piece: i}) // unknown kinds are ignored (BEP 9)
				f.say(data(info, i))
			}
		}), info, hash, 4*time.Second)
	})
}

func TestPeerThatChangesItsSizeStartsAnew(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		info, hash := metadata(100_000)
		mustFetch(t, newSwarm(func(c net.Conn) {
			f, err := greet(c)
			if err != nil || f.hello(10_000_000) != nil {
				return
			}
			f.request()
			f.hello(int64(len(info)))
			for {
				i, err := f.request()
				if err != nil {
					return
				}
				// Requests for the former size are still on their way.
				if m := data(info, i); len(m.Data) > 0 {
					f.say(m)
				}
			}
		}), info, hash, 30*time.Second)
	})
}

func TestConnectionsAreBounded(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		info, hash := metadata(100_000)
		var peers []func(net.Conn)
		for range 50 {
			peers = append(peers, silent(len(info)))
		}
		s := newSwarm(peers...)
		s.peers[addr(50)] = honest(info, 0)
		var dead []netip.AddrPort
		for i := range 50 {
			dead = append(dead, addr(1000+i))
		}
		if got := s.fetch(t, hash, dead...); !bytes.Equal(got, info) {
			t.Errorf("got %d bytes", len(got))
		}
		if want := DefaultMaxLinks + DefaultMaxDials; s.most > want {
			t.Errorf("%d connections at once, want at most %d", s.most, want)
		}
	})
}

func TestAddressesThatRepeatAreDialledOnce(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		info, hash := metadata(100_000)
		s := newSwarm(honest(info, time.Second))
		mapped := netip.AddrPortFrom(netip.AddrFrom16(addr(0).Addr().As16()), addr(0).Port())
		if s.fetch(t, hash, addr(0), addr(0), mapped) == nil {
			t.Error("nothing came")
		}
		if n := len(s.dialled(addr(0))); n != 1 {
			t.Errorf("dialled %d times, want once", n)
		}
	})
}

func TestPresenceEndsWhenItIsLeft(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		info, hash := metadata(100_000)
		s := newSwarm(silent(len(info)), silent(len(info)))
		f := s.front()
		p, err := f.Enter(Torrent{InfoHash: hash})
		if err != nil {
			t.Fatal(err)
		}
		p.Add([]netip.AddrPort{addr(0), addr(1), addr(99)}, SourceTracker) // nobody is at the last
		time.Sleep(time.Second)
		want := Status{Metadata: MetadataStatus{Peers: 2, Pieces: 7}, Known: 3, Reachable: 2, Links: 2}
		if got := p.Status(); got != want {
			t.Errorf("status %+v, want %+v", got, want)
		}
		if _, err := f.Enter(Torrent{InfoHash: hash}); !errors.Is(err, ErrEntered) {
			t.Errorf("entered twice: error %v, want ErrEntered", err)
		}
		start := time.Now()
		p.Leave()
		if took := time.Since(start); took != 0 {
			t.Errorf("left after %v", took)
		}
		p.Add([]netip.AddrPort{addr(2)}, SourceTracker)
		p.Hungry(true)
		p.Known(5, true)
		p.Unusable(addr(0), true)
		if got, list := p.Status(), p.Reachable(); got != (Status{}) || list != nil {
			t.Errorf("after the end: status %+v, reachable %v", got, list)
		}
		p.Leave()
		s.wg.Wait()
		if again, err := f.Enter(Torrent{InfoHash: hash}); err != nil {
			t.Errorf("entered again: %v", err)
		} else {
			again.Leave()
		}
	})
}

func TestProgressCanBeWatched(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		info, hash := metadata(10 * peer.MetadataPieceSize)
		s := newSwarm(honest(info, time.Second))
		p := s.enter(t, Torrent{InfoHash: hash})
		p.Add([]netip.AddrPort{addr(0)}, SourceTracker)
		var seen []MetadataStatus
		for range 3 {
			time.Sleep(2*time.Second + time.Millisecond)
			seen = append(seen, p.Status().Metadata)
		}
		want := []MetadataStatus{{1, 10, 2}, {1, 10, 4}, {1, 10, 6}}
		if !slices.Equal(seen, want) {
			t.Errorf("seen %v, want %v", seen, want)
		}
		p.Leave()
		s.wg.Wait()
	})
}

func TestMetadataIsFetchedOverTCPByADefaultFront(t *testing.T) {
	info, hash := metadata(1 << 20)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				honest(info, 0)(c)
			}()
		}
	}()
	learned := make(chan []byte, 1)
	p, err := New(Config{Software: "SimpleBit/test"}).Enter(Torrent{InfoHash: hash, Learned: func(b []byte) { learned <- b }})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Leave()
	p.Add([]netip.AddrPort{ln.Addr().(*net.TCPAddr).AddrPort()}, SourceMagnet)
	select {
	case got := <-learned:
		if !bytes.Equal(got, info) {
			t.Errorf("got %d bytes", len(got))
		}
	case <-time.After(time.Minute): // however slow the machine is
		t.Error("nothing came")
	}
}
