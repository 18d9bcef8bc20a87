package front

import (
	"io"
	"net"
	"testing"
	"time"

	"simplebit/wire/peer"
)

func TestPeersOfNoUseAreLeftAloneAndDisturbNobody(t *testing.T) {
	info, hash := metadata(100_000)
	after := func(f func(f *fake)) func(net.Conn) {
		return func(c net.Conn) {
			if fake, err := greet(c); err == nil {
				f(fake)
				io.Copy(io.Discard, c)
			}
		}
	}
	size := int64(len(info))
	for _, c := range []struct {
		name  string
		peer  func(net.Conn)
		dials int // within five minutes: one where there is no hope, else pauses of 0:30, 1:00, 2:00; a first one of 0:05 after a hang-up
	}{
		{"no extension protocol", func(c net.Conn) {
			io.ReadFull(c, make([]byte, peer.HandshakeSize))
			c.Write(peer.Handshake{InfoHash: hash, PeerID: [20]byte{'p'}}.AppendMarshal(nil))
			io.Copy(io.Discard, c)
		}, 1},
		{"another torrent", func(c net.Conn) {
			io.ReadFull(c, make([]byte, peer.HandshakeSize))
			c.Write(peer.Handshake{PeerID: [20]byte{'p'}}.AppendMarshal(nil))
		}, 1},
		{"ourselves", func(c net.Conn) {
			io.ReadFull(c, make([]byte, peer.HandshakeSize))
			c.Write(peer.Handshake{Reserved: peer.Reserved(false, true), InfoHash: hash, PeerID: [20]byte{'f'}}.AppendMarshal(nil))
		}, 1},
		{"hangs up", func(net.Conn) {}, 2 * 6}, // each time once more with encryption
		{"silence before the handshake", func(c net.Conn) { io.Copy(io.Discard, c) }, 4},
		{"silence after the handshake", after(func(*fake) {}), 3},
		{"no ut_metadata", after(func(f *fake) { f.extended(0, []byte("d1:md6:ut_pexi1eee")) }), 4},
		{"no metadata yet", after(func(f *fake) { f.hello(0) }), 3},
		{"more than 32 MiB", after(func(f *fake) { f.hello(MaxMetadata + 1) }), 1},
		{"2^63-1 bytes", after(func(f *fake) { f.hello(1<<63 - 1) }), 1},
		{"a length prefix of 2 GB", after(func(f *fake) { f.Write([]byte{0x7f, 0xff, 0xff, 0xff, 20, 0}) }), 1},
		{"a malformed extension handshake", after(func(f *fake) { f.extended(0, []byte("d1:m")) }), 1},
		{"a malformed metadata message", after(func(f *fake) { f.extended(metadataID, []byte("i1e")) }), 1},
		{"pieces unasked for", after(func(f *fake) {
			f.hello(size)
			for range 10_000 {
				if f.say(data([]byte("abc"), 4_000_000_000)) != nil {
					return
				}
			}
		}), 1},
		{"endless chatter", after(func(f *fake) {
			f.hello(size)
			b := peer.Message{Type: peer.TypeBitfield, Payload: make([]byte, 100_000)}.Append(nil)
			for range 10_000 {
				if _, err := f.Write(b); err != nil {
					return
				}
			}
		}), 1},
		{"a short piece", serve(size, func(i uint32) *peer.MetadataMessage {
			m := data(info, i)
			m.Data = m.Data[1:]
			return &m
		}), 1},
		{"a total_size other than claimed", serve(size, func(i uint32) *peer.MetadataMessage {
			m := data(info, i)
			m.TotalSize++
			return &m
		}), 1},
		{"a byte a second", after(func(f *fake) {
			for {
				for _, b := range (peer.Message{Type: peer.TypeExtended, Payload: []byte("d1:md11:ut_metadatai9eee")}).Append(nil) {
					if _, err := f.Write([]byte{b}); err != nil {
						return
					}
					time.Sleep(time.Second)
				}
			}
		}), 3},
		{"never reads", func(c net.Conn) {
			if f, err := greet(c); err == nil && f.hello(size) == nil {
				for err == nil {
					time.Sleep(time.Second)
					_, err = c.Write(peer.Message{KeepAlive: true}.Append(nil))
				}
			}
		}, 3},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				s := newSwarm(c.peer, honest(info, 50*time.Millisecond))
				mustFetch(t, s, info, hash, 5*time.Second)
			})
			inBubble(t, func(t *testing.T) {
				s := newSwarm(c.peer)
				if got := s.fetchFor(t, 5*time.Minute-time.Second, hash); got != nil {
					t.Errorf("got %d bytes", len(got))
				}
				if n := len(s.dialled(addr(0))); n != c.dials {
					t.Errorf("dialled %d times within five minutes, want %d: %v", n, c.dials, s.dialled(addr(0)))
				}
			})
		})
	}
}
