package mse

import (
	"bytes"
	"errors"
	"math"
	"testing"
)

func TestHeadIsReadAndWrittenAsSpecified(t *testing.T) {
	for _, c := range []struct {
		hex string
		h   head
	}{
		{"0000000000000000" + "00000003" + "0000", head{3, 0}},
		{"0000000000000000" + "00000002" + "0003" + "000000", head{2, 3}},
		{"0000000000000000" + "ffffffff" + "0001" + "00", head{math.MaxUint32, 1}},
	} {
		b := unhex(t, c.hex)
		if h, err := parseHead(b[:headSize]); err != nil || h != c.h {
			t.Errorf("%s is read as %v, %v, want %v", c.hex, h, err, c.h)
		}
		if got := c.h.appendMarshal(nil); !bytes.Equal(got, b) {
			t.Errorf("%v is written as %x, want %s", c.h, got, c.hex)
		}
	}
}

func TestHeadThatIsNoneFails(t *testing.T) {
	for name, b := range map[string][]byte{
		"a bit in VC":      append([]byte{7: 1}, 0, 0, 0, 2, 0, 0),
		"another bit":      append([]byte{0x80, 7: 0}, 0, 0, 0, 2, 0, 0),
		"pad of 513 bytes": append(make([]byte, 8), 0, 0, 0, 2, 2, 1),
		"a byte too many":  make([]byte, headSize+1),
	} {
		if _, err := parseHead(b); !errors.Is(err, ErrHandshake) {
			t.Errorf("%s: %v, want ErrHandshake", name, err)
		}
	}
	for n := range headSize {
		if _, err := parseHead(make([]byte, n)); !errors.Is(err, ErrHandshake) {
			t.Errorf("%d bytes: %v, want ErrHandshake", n, err)
		}
	}
}

// "PadC, PadD: 0..512 bytes"; PadA and PadB likewise.
func TestPadLengthsCoverTheirRange(t *testing.T) {
	seen := make(map[int]bool)
	for i := range 1 << 16 {
		n, err := padLength(bytes.NewReader([]byte{byte(i >> 8), byte(i)}))
		if err != nil || n < 0 || n > 512 {
			t.Fatalf("%d, %v", n, err)
		}
		seen[n] = true
	}
	if len(seen) != 513 {
		t.Errorf("%d lengths of 513", len(seen))
	}
}

func FuzzHead(f *testing.F) {
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := parseHead(b)
		if err != nil {
			return
		}
		if out := h.appendMarshal(nil); !bytes.Equal(out[:headSize], b) || len(out) != headSize+h.pad {
			t.Errorf("%x was written as %x", b, out)
		}
	})
}
