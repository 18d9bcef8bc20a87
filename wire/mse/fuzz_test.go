package mse

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"slices"
	"testing"
)

// The fuzz targets are the other end of a handshake. With known they are a peer that has the keys and says body under
// them after a pad; without they just say body.

func FuzzAccept(f *testing.F) {
	f.Fuzz(func(t *testing.T, known bool, policy uint8, pad, body []byte) {
		p := Policy(policy % 3)
		said := body
		var want []byte
		works := false
		if known {
			encrypted := newSpecRC4("keyA", testS, testSkey[:]).crypt(body)
			said = slices.Concat(yA, pad, specRequest(encrypted))
			if want, works = specAccept(body, encrypted, p); len(pad) > 512 {
				works = false
			}
		}
		wire := &script{chunks: [][]byte{slices.Clone(said)}}
		c, err := accept(dice(xB, nil, 0), wire, nil, findTest, p, nil)
		checkFuzzed(t, c, err, works, want)
		if !known && wire.read > 628 {
			t.Errorf("%d bytes were read of a stranger", wire.read)
		}
	})
}

// specAccept is what the responder must make of an encrypted part, body in the clear: the stream that follows, or failure.
func specAccept(body, encrypted []byte, p Policy) (stream []byte, ok bool) {
	methods, at, ok := specParseHead(body)
	if !ok || len(body) < at+2 {
		return nil, false
	}
	ia := int(binary.BigEndian.Uint16(body[at:]))
	at += 2
	switch {
	case p == Off, ia <= 1024 && len(body) < at+ia:
		return nil, false
	case p == Prefer && methods&1 != 0:
		end := min(len(body), at+ia)
		return slices.Concat(body[at:end], encrypted[end:]), true
	}
	return body[at:], methods&2 != 0
}

// specParseHead returns the methods and the offset behind the pad.
func specParseHead(body []byte) (methods uint32, at int, ok bool) {
	if len(body) < 14 || !bytes.Equal(body[:8], make([]byte, 8)) {
		return 0, 0, false
	}
	pad := int(binary.BigEndian.Uint16(body[12:]))
	return binary.BigEndian.Uint32(body[8:]), 14 + pad, pad <= 512 && len(body) >= 14+pad
}

func FuzzDial(f *testing.F) {
	f.Fuzz(func(t *testing.T, known bool, provide uint8, pad, body []byte) {
		offered := Method(provide%3 + 1)
		said := body
		var want []byte
		works := false
		if known {
			encrypted := newSpecRC4("keyB", testS, testSkey[:]).crypt(body)
			said = slices.Concat(yB, pad, encrypted)
			methods, at, ok := specParseHead(body)
			if works = ok && len(pad) <= 512 && (methods == 1 || methods == 2) && methods&uint32(offered) != 0; works {
				if want = body[at:]; methods == 1 {
					want = encrypted[at:]
				}
			}
		}
		wire := &script{chunks: [][]byte{slices.Clone(said)}}
		c, err := dial(dice(xA, nil, 0), wire, testSkey, offered, nil)
		checkFuzzed(t, c, err, works, want)
		if !known && wire.read > 616 {
			t.Errorf("%d bytes were read of a stranger", wire.read)
		}
	})
}

// checkFuzzed holds that a handshake worked as it should and gave the stream want, or failed with an error that says whose
// fault it was.
func checkFuzzed(t *testing.T, c *Conn, err error, works bool, want []byte) {
	t.Helper()
	if (err == nil) != works {
		t.Fatalf("error %v, must work: %v", err, works)
	}
	if err != nil {
		if !errors.Is(err, ErrHandshake) && !errors.Is(err, ErrPolicy) && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("unexpected error %v", err)
		}
		return
	}
	got, err := io.ReadAll(c)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("stream of %d bytes, %v, want %d", len(got), err, len(want))
	}
}
