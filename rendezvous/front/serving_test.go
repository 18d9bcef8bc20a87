package front

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"simplebit/wire/peer"
)

// magnet is a guest that asks for metadata.
type magnet struct{ *fake }

func (h *hosting) magnet(t *testing.T, i int, hash [20]byte) magnet {
	t.Helper()
	f, _, err := h.visit(addr(i), hash)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.next(); err != nil {
		t.Fatal(err)
	}
	f.hello(0)
	return magnet{f}
}

// ask asks for a piece and returns the answer.
func (m magnet) ask(i uint32) (peer.MetadataMessage, error) {
	if err := m.say(peer.MetadataMessage{Piece: i}); err != nil {
		return peer.MetadataMessage{}, err
	}
	for {
		got, err := m.next()
		if err != nil {
			return peer.MetadataMessage{}, err
		}
		if got.Type == peer.TypeExtended && got.ExtID == theirID {
			msg, err := peer.ParseMetadataMessage(got.Payload)
			msg.Data = bytes.Clone(msg.Data)
			return msg, err
		}
	}
}

func TestMetadataIsServedWhole(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		info, hash := metadata(5*peer.MetadataPieceSize + 77)
		loads := 0
		h := hostTorrent(t, Config{}, Torrent{InfoHash: hash, InfoSize: len(info), Info: func(context.Context) ([]byte, error) {
			loads++
			time.Sleep(time.Second)
			return info, nil
		}})
		for guest := range 3 {
			m := h.magnet(t, guest, hash)
			var got []byte
			for i := range uint32(6) {
				msg, err := m.ask(i)
				if err != nil || msg.Type != peer.MetadataData || msg.Piece != i || msg.TotalSize != int64(len(info)) {
					t.Fatalf("guest %d, piece %d: %+v, %v", guest, i, msg.Type, err)
				}
				got = append(got, msg.Data...)
			}
			if !bytes.Equal(got, info) {
				t.Error("the pieces are not the metadata")
			}
			go io.Copy(io.Discard, m)
		}
		if loads != 1 || h.front.cached.Load() != int64(len(info)) {
			t.Errorf("loaded %d times, %d bytes in memory", loads, h.front.cached.Load())
		}
		time.Sleep(cachedFor + time.Second)
		if h.front.cached.Load() != 0 {
			t.Errorf("%d bytes in memory though nobody asks", h.front.cached.Load())
		}
		h.leave()
	})
}

func TestMetadataIsRefusedWhereItMayNotBeServed(t *testing.T) {
	info, hash := metadata(20_000)
	load := func(context.Context) ([]byte, error) { return info, nil }
	for _, c := range []struct {
		name    string
		torrent Torrent
		piece   uint32
		log     string
	}{
		{"unknown as yet", Torrent{InfoHash: hash}, 0, ""},
		{"beyond the end", Torrent{InfoHash: hash, InfoSize: len(info), Info: load}, 2, ""},
		{"far beyond the end", Torrent{InfoHash: hash, InfoSize: len(info), Info: load}, 1<<32 - 1, ""},
		{"the store fails", Torrent{InfoHash: hash, InfoSize: len(info), Info: func(context.Context) ([]byte, error) { return nil, errors.New("disk on fire") }}, 0, "disk on fire"},
		{"the store has nothing", Torrent{InfoHash: hash, InfoSize: len(info), Info: func(context.Context) ([]byte, error) { return nil, nil }}, 0, "empty"},
		{"the store has less", Torrent{InfoHash: hash, InfoSize: len(info), Info: func(context.Context) ([]byte, error) { return info[:100], nil }}, 1, ""},
		{"nowhere to load it from", Torrent{InfoHash: hash, InfoSize: len(info)}, 1, "nothing to load it from"},
		{"more than memory for all", Torrent{InfoHash: hash, InfoSize: maxCached + 1, Info: load}, 1, "too much metadata"},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				h := hostTorrent(t, Config{}, c.torrent)
				m := h.magnet(t, 1, hash)
				got, err := m.ask(c.piece)
				if err != nil || got.Type != peer.MetadataReject || got.Piece != c.piece {
					t.Errorf("answered %+v, %v", got, err)
				}
				synctest.Wait()
				if !strings.Contains(h.logged(), c.log) {
					t.Errorf("the log has %q, want %q", h.logged(), c.log)
				}
				if n := len(h.p.cache.pending); n != 0 {
					t.Errorf("%d requests wait for ever", n)
				}
				h.leave()
			})
		})
	}
}

func TestPrivateTorrentShowsNothing(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		h := hostTorrent(t, Config{DHTPort: 1}, Torrent{InfoHash: [20]byte{1}, InfoSize: 100, Private: true})
		f, theirs, err := h.visit(addr(1), [20]byte{1})
		if err != nil || theirs.DHT() {
			t.Fatalf("%+v, %v", theirs, err)
		}
		m, err := f.next()
		if err != nil {
			t.Fatal(err)
		}
		if e, _ := peer.ParseExtensions(m.Payload); e.PexID != 0 || e.MetadataSize != 0 {
			t.Errorf("it says %+v", e)
		}
		f.extended(0, peer.Extensions{PexID: 4, MetadataID: 5, Port: 99}.AppendMarshal(nil))
		if _, err := f.next(); err == nil {
			t.Error("the guest may stay")
		}
		time.Sleep(guestRest)
		synctest.Wait()
		if want := netip.AddrPortFrom(addr(1).Addr(), 99); len(h.swarm.dialled(want)) != 1 {
			t.Errorf("its address is not verified: %v", h.swarm.dials)
		}
		h.leave()
	})
}

func TestFloodOfRequestsForMetadataIsRejectedAndThenEnds(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		info, hash := metadata(2 * peer.MetadataPieceSize)
		h := hostTorrent(t, Config{}, Torrent{InfoHash: hash, InfoSize: len(info), Info: func(context.Context) ([]byte, error) { return info, nil }})
		m := h.magnet(t, 1, hash)
		given, rejected := 0, 0
		for {
			got, err := m.ask(1)
			if err != nil {
				break
			}
			if got.Type == peer.MetadataData {
				given++
			} else {
				rejected++
			}
		}
		if given != 2*servedBurst || rejected != maxStray {
			t.Errorf("%d pieces given, %d rejected; want %d and %d", given, rejected, 2*servedBurst, maxStray)
		}
		h.leave()
	})
}

func TestGuestThatDoesNotReadHoldsNothingUp(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		info, hash := metadata(60 * peer.MetadataPieceSize)
		h := hostTorrent(t, Config{}, Torrent{InfoHash: hash, InfoSize: len(info), Info: func(context.Context) ([]byte, error) { return info, nil }})
		deaf := h.magnet(t, 1, hash)
		for i := range uint32(200) {
			if deaf.say(peer.MetadataMessage{Piece: i % 60}) != nil {
				break
			}
		}
		m := h.magnet(t, 2, hash)
		if got, err := m.ask(3); err != nil || got.Type != peer.MetadataData {
			t.Errorf("another is answered %+v, %v", got.Type, err)
		}
		go io.Copy(io.Discard, m)
		time.Sleep(silence + writeTimeout)
		h.leave()
	})
}

func TestServingKeepsWithinItsRate(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		info, hash := metadata(64 * peer.MetadataPieceSize) // 1 MiB
		h := hostTorrent(t, Config{}, Torrent{InfoHash: hash, InfoSize: len(info), Info: func(context.Context) ([]byte, error) { return info, nil }})
		start := time.Now()
		done := make(chan error)
		for guest := range 10 {
			m := h.magnet(t, guest, hash)
			go func() {
				for i := range uint32(64) {
					if got, err := m.ask(i); err != nil || got.Type != peer.MetadataData {
						done <- errors.New("no data")
						return
					}
				}
				done <- nil
				io.Copy(io.Discard, m)
			}()
		}
		for range 10 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		if took := time.Since(start); took < 9*time.Second || took > 11*time.Second {
			t.Errorf("10 MiB took %v, want 10s", took)
		}
		h.leave()
	})
}

func TestGuestLearnsOfMetadataThatComesLater(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		info, hash := metadata(20_000)
		h := hostTorrent(t, Config{}, Torrent{InfoHash: hash, Info: func(context.Context) ([]byte, error) { return info, nil }})
		m := h.magnet(t, 1, hash)
		if got, err := m.ask(0); err != nil || got.Type != peer.MetadataReject {
			t.Fatalf("answered %+v, %v", got, err)
		}
		h.p.Known(len(info), false)
		got, err := m.next()
		if err != nil || got.ExtID != peer.ExtHandshake {
			t.Fatalf("%+v, %v", got, err)
		}
		if e, _ := peer.ParseExtensions(got.Payload); e.MetadataSize != int64(len(info)) {
			t.Errorf("told of %d bytes", e.MetadataSize)
		}
		if got, err := m.ask(1); err != nil || !bytes.Equal(got.Data, info[peer.MetadataPieceSize:]) {
			t.Errorf("answered %+v, %v", got.Type, err)
		}
		h.leave()
	})
}
