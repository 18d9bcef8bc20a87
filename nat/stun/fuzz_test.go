package stun

import (
	"bytes"
	"net/netip"
	"testing"
	"time"

	"github.com/pion/stun/v2"
)

// FuzzServer answers anything with no more than it got, in a form that pion and the client read, and only to the address
// that it came from.
func FuzzServer(f *testing.F) {
	f.Add(question(id{1}, Options{}), true)
	f.Add(request(), false)
	f.Add(classic(request(attribute(stun.AttrChangeRequest, 0, 0, 0, 6), filler)), true)
	f.Add(request(attribute(0x7000), attribute(stun.AttrResponsePort, 1, 2), filler), true)
	s := server(f, Config{Endpoints: append(grid("192.0.2.1", "192.0.2.2"), grid("[2001:db8::1]")...), Rate: maxRate, Burst: maxRate})
	now := noon
	f.Fuzz(func(t *testing.T, b []byte, four bool) {
		now = now.Add(time.Second)
		from, local := stranger, 0
		if !four {
			from, local = netip.MustParseAddrPort("[2001:db8::9]:9"), 5
		}
		before := bytes.Clone(b)
		r := s.Respond(now, local, from, b)
		if !bytes.Equal(b, before) {
			t.Fatal("the question is written to")
		}
		if r.Message == nil {
			return
		}
		if len(r.Message) > len(b) || r.To.Addr() != from.Addr() || r.To.Port() == 0 || r.Via < 0 || (r.Via < 4) != four {
			t.Fatalf("%d bytes for %d, to %s by %d", len(r.Message), len(b), r.To, r.Via)
		}
		if !bytes.Equal(r.Message[4:headerSize], b[4:headerSize]) {
			t.Fatal("another transaction")
		}
		m := new(stun.Message)
		if !framed(r.Message, bindingSuccess) && !framed(r.Message, bindingError) || !decode(m, r.Message) {
			t.Fatalf("an answer that nobody reads: %x", r.Message)
		}
		if !hasCookie(b) || !m.Contains(stun.AttrXORMappedAddress) {
			return
		}
		if got := address(m, stun.AttrXORMappedAddress); got != from {
			t.Fatalf("%s is told %s", from, got)
		}
	})
}

// FuzzClient believes an answer only if it holds an address that makes sense, and a right fingerprint or none.
func FuzzClient(f *testing.F) {
	for _, s := range []string{sample4, sample6} {
		f.Add(unhex(f, s))
	}
	m := new(stun.Message)
	start(m, bindingError, transcriptID)
	m.Add(stun.AttrErrorCode, []byte("\x00\x00\x04\x14no"))
	f.Add(m.Raw)
	f.Fuzz(func(t *testing.T, b []byte) {
		tr, err := newTransaction(noon, transcriptID, asked, Options{}, Quick)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, ok := tr.receive(noon, asked, b); ok {
			t.Fatal("an answer before the question")
		}
		tr.poll(noon)
		r, err, ok := tr.receive(noon, asked, b)
		if !ok {
			return
		}
		if len(b)%4 != 0 || !bytes.Equal(b[8:headerSize], transcriptID[:]) {
			t.Fatal("an answer to something else")
		}
		var e *ErrorResponse
		if err == nil && (!r.Mapped.IsValid() || r.Mapped.Port() == 0 || r.Mapped.Addr().Is4In6()) {
			t.Fatalf("%+v", r)
		}
		if err != nil {
			e = err.(*ErrorResponse)
			if e.Code < 300 || e.Code > 699 || len(e.Reason) > 127 {
				t.Fatalf("%+v", e)
			}
		}
		var pion stun.Message
		if err := stun.Decode(b, &pion); err != nil {
			t.Fatalf("pion does not read it: %v", err)
		}
		if pion.Contains(stun.AttrFingerprint) && stun.Fingerprint.Check(&pion) != nil {
			t.Fatal("a wrong fingerprint")
		}
		if _, _, ok := tr.receive(noon, netip.MustParseAddrPort("192.0.2.1:3479"), b); ok {
			t.Fatal("somebody else is believed")
		}
	})
}

// FuzzTransaction sends no more often than the profile says, never early, and ends whenever it is woken.
func FuzzTransaction(f *testing.F) {
	f.Add([]byte{1, 10, 100, 200, 255, 255, 255, 255, 255, 255, 255, 255})
	f.Add([]byte{0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, steps []byte) {
		now := noon
		tr, err := newTransaction(now, transcriptID, asked, Options{}, Quick)
		if err != nil {
			t.Fatal(err)
		}
		sent := 0
		for i := 0; i < len(steps)+100; i++ {
			if i < len(steps) {
				now = now.Add(time.Duration(steps[i]) * 3 * time.Millisecond)
			} else {
				now = tr.wake() // from here on it is woken in time
			}
			due := !now.Before(tr.wake())
			b, err := tr.poll(now)
			if err != nil {
				if !due || sent != Quick.Tries {
					t.Fatalf("it gave up early, after %d", sent)
				}
				return
			}
			if (b != nil) != due {
				t.Fatal("early, or not at all")
			}
			if b != nil {
				sent++
			}
			if !tr.wake().After(now) && b != nil || sent > Quick.Tries {
				t.Fatalf("%d requests", sent)
			}
		}
		t.Fatal("it does not end")
	})
}
