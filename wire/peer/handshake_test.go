package peer

import (
	"bytes"
	"encoding/hex"
	"errors"
	"testing"
)

const handshakeHex = "13426974546f7272656e742070726f746f636f6c" + // "\x13BitTorrent protocol"
	"0000000000100005" + // BEP 10, BEP 6, DHT
	"000102030405060708090a0b0c0d0e0f10111213" +
	"2d7142343635302d414243444546474849303132" // -qB4650-ABCDEFGHI012

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// "The handshake starts with character nineteen (decimal) followed by the string 'BitTorrent protocol'." (BEP 3)
func TestHandshakeIsReadAndWrittenAsInBEP3(t *testing.T) {
	h, err := ParseHandshake(unhex(t, handshakeHex))
	if err != nil {
		t.Fatal(err)
	}
	if !h.Fast() || !h.Extended() || !h.DHT() {
		t.Errorf("fast %v, extended %v, DHT %v; all three bits are set", h.Fast(), h.Extended(), h.DHT())
	}
	if h.InfoHash[19] != 0x13 || string(h.PeerID[:8]) != "-qB4650-" {
		t.Errorf("info-hash %x, peer id %q", h.InfoHash, h.PeerID)
	}
	if got := hex.EncodeToString(h.AppendMarshal(nil)); got != handshakeHex {
		t.Errorf("written as\n%s, want\n%s", got, handshakeHex)
	}
}

func TestReservedSetsOnlyTheBitsAskedFor(t *testing.T) {
	for _, c := range []struct{ fast, extended bool }{{false, false}, {true, false}, {false, true}, {true, true}} {
		h := Handshake{Reserved: Reserved(c.fast, c.extended)}
		if h.Fast() != c.fast || h.Extended() != c.extended || h.DHT() {
			t.Errorf("Reserved(%v, %v) reads as fast %v, extended %v, DHT %v", c.fast, c.extended, h.Fast(), h.Extended(), h.DHT())
		}
	}
}

func TestEveryTruncatedHandshakeFails(t *testing.T) {
	b := unhex(t, handshakeHex)
	for n := range b {
		if _, err := ParseHandshake(b[:n]); !errors.Is(err, ErrHandshake) {
			t.Errorf("%d bytes: error %v, want ErrHandshake", n, err)
		}
	}
	if _, err := ParseHandshake(append(b, 0)); !errors.Is(err, ErrHandshake) {
		t.Errorf("69 bytes: error %v, want ErrHandshake", err)
	}
}

func TestHandshakeOfAnotherProtocolFails(t *testing.T) {
	b := unhex(t, handshakeHex)
	copy(b, "GET / HTTP/1.1\r\nHost")
	if _, err := ParseHandshake(b); !errors.Is(err, ErrHandshake) {
		t.Errorf("error %v, want ErrHandshake", err)
	}
}

func FuzzHandshake(f *testing.F) {
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := ParseHandshake(b)
		if err != nil {
			return
		}
		if out := h.AppendMarshal(nil); !bytes.Equal(out, b) {
			t.Errorf("%x was written as %x", b, out)
		}
	})
}

func TestBitOfTheDHTLeavesTheOthers(t *testing.T) {
	if got, want := WithDHT(Reserved(true, true)), ([8]byte{5: 0x10, 7: 0x05}); got != want {
		t.Errorf("feature bits %x, want %x", got, want)
	}
}
