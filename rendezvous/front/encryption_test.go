package front

import (
	"io"
	"net"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"simplebit/wire/mse"
	"simplebit/wire/peer"
)

// insisting is a peer that takes RC4 streams only. It tells what it is sent.
func insisting(hash [20]byte, told func(string), then func(net.Conn)) func(net.Conn) {
	return func(c net.Conn) {
		start := make([]byte, len(peer.Greeting))
		if _, err := io.ReadFull(c, start); err != nil {
			return
		}
		if string(start) == peer.Greeting {
			told("plaintext")
			return
		}
		told("encryption")
		find := func(req2 [20]byte) ([20]byte, bool) { return hash, req2 == mse.ReqHash(hash) }
		if e, err := mse.Accept(c, start, find, mse.Require); err == nil {
			then(e)
		}
	}
}

func TestMetadataComesFromAPeerThatInsistsOnEncryption(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		info, hash := metadata(100_000)
		s := newSwarm(insisting(hash, func(string) {}, honest(info, time.Millisecond)))
		mustFetch(t, s, info, hash, time.Second)
	})
}

func TestPeerThatInsistsOnEncryptionIsDialledWithItTheNextTime(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		_, hash := metadata(1)
		var told []string
		s := newSwarm(insisting(hash, func(how string) { told = append(told, how) }, bare))
		p := s.enter(t, Torrent{InfoHash: hash, InfoSize: 1})
		p.Add(addrs(0, 1), SourceTracker)
		p.Hungry(true)
		time.Sleep(2 * freshFor)
		p.Leave()
		s.wg.Wait()
		if want := []string{"plaintext", "encryption", "encryption"}; len(told) < 3 || !slices.Equal(told[:3], want) || slices.Contains(told[3:], "plaintext") {
			t.Errorf("it was sent %q, want %q and no more plaintext", told, want)
		}
	})
}

func TestGuestMaySpeakEncryption(t *testing.T) {
	for _, provide := range []mse.Method{mse.RC4, mse.Plaintext | mse.RC4} {
		inBubble(t, func(t *testing.T) {
			h := hostTorrent(t, Config{}, Torrent{InfoHash: [20]byte{1}, InfoSize: 1234})
			if _, err := h.front.Enter(Torrent{InfoHash: [20]byte{2}, InfoSize: 1}); err != nil {
				t.Fatal(err)
			}
			ours := peer.Handshake{Reserved: peer.Reserved(false, true), InfoHash: [20]byte{1}, PeerID: [20]byte{'g'}}
			e, err := mse.Dial(h.dial(addr(7)), [20]byte{1}, provide, ours.AppendMarshal(nil))
			if err != nil {
				t.Fatal(err)
			}
			var b [peer.HandshakeSize]byte
			if _, err := io.ReadFull(e, b[:]); err != nil {
				t.Fatal(err)
			}
			f := &fake{Conn: e, r: peer.NewReader(e)}
			if m, err := f.next(); err != nil || m.Type != peer.TypeExtended || m.ExtID != peer.ExtHandshake {
				t.Errorf("first message %+v, %v", m, err)
			}
			f.Close()
			h.front.find([20]byte{2}).Leave()
			h.leave()
			if len(h.front.veiled) != 0 {
				t.Errorf("%d torrents are still found when all have been left", len(h.front.veiled))
			}
		})
	}
}

func TestEncryptedGuestOfATorrentThatWasLeftIsSentAway(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		h := hostTorrent(t, Config{}, Torrent{InfoHash: [20]byte{1}, InfoSize: 1234})
		h.p.Leave()
		start := time.Now()
		if _, err := mse.Dial(h.dial(addr(7)), [20]byte{1}, mse.RC4, nil); err == nil || time.Since(start) != 0 {
			t.Errorf("error %v after %v", err, time.Since(start))
		}
		synctest.Wait()
		h.leave()
	})
}
