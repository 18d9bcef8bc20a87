package control

import (
	"bytes"
	"errors"
	"io"
	"net/netip"
	"testing"
	"testing/iotest"
)

func TestAHeaderIsReadAndNothingBehindIt(t *testing.T) {
	want := Relay{Torrent: [20]byte{1}, Device: "00ff", Peer: "attic", Addr: netip.MustParseAddrPort("192.0.2.1:7"), Dials: true}
	var b bytes.Buffer
	if err := WriteMessage(&b, want); err != nil {
		t.Fatal(err)
	}
	sent := bytes.Clone(b.Bytes())
	b.WriteString("raw bytes")
	m, frame, err := ReadHeader(&b)
	if err != nil || m != want || !bytes.Equal(frame, sent) {
		t.Errorf("%#v, % x, %v; want %#v, % x", m, frame, err, want, sent)
	}
	if b.String() != "raw bytes" {
		t.Errorf("%q is left", b.String())
	}
	for n := range sent {
		want := io.ErrUnexpectedEOF
		if n == 0 {
			want = io.EOF
		}
		if _, _, err := ReadHeader(iotest.OneByteReader(bytes.NewReader(sent[:n]))); err != want {
			t.Errorf("of %d bytes: %v, want %v", n, err, want)
		}
	}
}

func TestWhatIsNoHeaderIsNotRead(t *testing.T) {
	for name, c := range map[string]struct {
		sent string
		want error
	}{
		"too large":    {"\xff\xff\xff\x01", ErrFrameTooLarge},
		"not shortest": {"\x81\x00", ErrMalformed},
		"empty":        {"\x00", ErrMalformed},
		"no message":   {"\x01\xa0", ErrMalformed},
		"unknown":      {"\x04\xa1\x00\x18\xff", ErrUnknownType},
	} {
		if m, _, err := ReadHeader(bytes.NewReader([]byte(c.sent))); !errors.Is(err, c.want) {
			t.Errorf("%s: %#v, %v; want %v", name, m, err, c.want)
		}
	}
}
