package classify

import (
	"bytes"
	"errors"
	"testing"
)

// rfc6886 is what is asked for UDP port 9731 for an hour, and what is answered, by section 3.3 of it.
const (
	rfc6886Request = "\x00\x01\x00\x00\x26\x03\x26\x03\x00\x00\x0e\x10"
	rfc6886Answer  = "\x00\x81\x00\x00\x00\x00\x00\x00\x26\x03\x26\x03\x00\x00\x0e\x10"
)

func TestPortsAreRequestedAsRFC6886HasIt(t *testing.T) {
	request := requestPMP(9731, 3600)
	if string(request) != rfc6886Request {
		t.Errorf("asked by %x", request)
	}
	opened := uint16(0)
	got, ok := respondPMP(request, func(port uint16) error { opened = port; return nil })
	if string(got) != rfc6886Answer || !ok || opened != 9731 {
		t.Errorf("answered by %x, port %d", got, opened)
	}
	if port, ok := parsePMP(got, 9731); port != 9731 || !ok {
		t.Errorf("read as port %d, %v", port, ok)
	}
	if _, ok := respondPMP(request, func(uint16) error { return errors.New("no") }); ok {
		t.Error("a port that was not opened was answered for")
	}
	for i := range request {
		if _, ok := respondPMP(request[:i], func(uint16) error { return nil }); ok {
			t.Errorf("%x was answered", request[:i])
		}
	}
	for i := range got {
		if port, ok := parsePMP(got[:i], 9731); ok {
			t.Errorf("%x was read as port %d", got[:i], port)
		}
	}
	if port, ok := parsePMP(got, 9732); ok {
		t.Errorf("the answer for another port was read as %d", port)
	}
	refused := bytes.Clone(got[:8])
	refused[3] = 2 // not authorised, RFC 6886 section 3.5
	if port, ok := parsePMP(refused, 9731); port != 0 || !ok {
		t.Errorf("a refusal was read as port %d, %v", port, ok)
	}
}

func FuzzPMP(f *testing.F) {
	f.Add([]byte(rfc6886Request), uint16(9731))
	f.Add([]byte(rfc6886Answer), uint16(9731))
	f.Fuzz(func(t *testing.T, b []byte, port uint16) {
		if opened, ok := parsePMP(b, port); opened != 0 && (!ok || len(b) < answerPMPLen) {
			t.Errorf("%x: port %d, %v", b, opened, ok)
		}
		if got, ok := respondPMP(b, func(uint16) error { return nil }); ok != (got != nil) || len(got) > answerPMPLen {
			t.Errorf("%x was answered by %x", b, got)
		}
	})
}
