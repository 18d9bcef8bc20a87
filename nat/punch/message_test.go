package punch

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/pion/stun/v2"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(s), ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// testPlan is of the side that decides, or of the other.
func testPlan(controlling bool) Plan {
	return Plan{Attempt: [8]byte{1, 2, 3, 4, 5, 6, 7, 8}, Key: [16]byte{9}, Controlling: controlling}
}

func testCodec(controlling bool) *codec {
	p := testPlan(controlling)
	c := newCodec(&p)
	return &c
}

var testID = id{0xb7, 0xe7, 0xa7, 0x01, 0xbc, 0x34, 0xd6, 0x86, 0, 0, 0, 3}

// samples are messages of the deciding side. Signatures and checksums were computed by another program.
var samples = []struct {
	what string
	message
	size int
	hex  string
}{
	{"request", message{id: testID}, probeSize, `0001 0038 2112a442 b7e7a701bc34d68600000003
		0006 0012 303130323033303430353036303730383a61 0000
		0008 0014 4c8a5b33ddb62c7e2de0286e66480d5648500edd
		8028 0004 d80e37a2`},
	{"answer", message{id: testID, answer: true}, probeSize, `0101 0038 2112a442 b7e7a701bc34d68600000003
		0006 0012 303130323033303430353036303730383a61 0000
		0008 0014 a45177d303c1d23a0b857d30f4fe9f0781f1ab37
		8028 0004 7c002aa8`},
	{"nomination", message{id: testID, nominate: true}, probeSize + 4, `0001 003c 2112a442 b7e7a701bc34d68600000003
		0006 0012 303130323033303430353036303730383a61 0000
		0025 0000
		0008 0014 a8d3f5a82e479a678d7959faf8d683ccbc2de082
		8028 0004 4dce236a`},
	{"answer that is final, padded", message{id: testID, answer: true, nominate: true}, probeSize + 16, `0101 0048 2112a442 b7e7a701bc34d68600000003
		0006 0012 303130323033303430353036303730383a61 0000
		0025 0000
		0026 0008 0000000000000000
		0008 0014 26aa272d7ffa8a2d3a7ebaaa06e9fcb3f5379103
		8028 0004 6cf3a870`},
}

func TestMessagesAreWrittenAsBefore(t *testing.T) {
	for _, s := range samples {
		if got := testCodec(true).marshal(s.message, s.size); !bytes.Equal(got, unhex(t, s.hex)) {
			t.Errorf("%s: %x", s.what, got)
		}
	}
}

func TestMessagesAreReadByTheOtherSideAlone(t *testing.T) {
	for _, s := range samples {
		b := testCodec(true).marshal(s.message, s.size)
		if x, ok := testCodec(false).parse(b); !ok || x != s.message {
			t.Errorf("%s became %+v, %v", s.what, x, ok)
		}
		if _, ok := testCodec(true).parse(b); ok {
			t.Errorf("%s: the side that wrote it takes it when it comes back", s.what)
		}
		for what, change := range map[string]func(*Plan){"key": func(p *Plan) { p.Key[15] = 1 }, "attempt": func(p *Plan) { p.Attempt[0]++ }} {
			p := testPlan(false)
			change(&p)
			if c := newCodec(&p); func() bool { _, ok := c.parse(b); return ok }() {
				t.Errorf("%s: of another %s", s.what, what)
			}
		}
	}
}

func TestEveryTruncationAndEveryChangedBitIsRefused(t *testing.T) {
	for _, s := range samples {
		b := testCodec(true).marshal(s.message, s.size)
		c := testCodec(false)
		for n := range b {
			if _, ok := c.parse(b[:n]); ok {
				t.Errorf("%s: %d of %d bytes are taken", s.what, n, len(b))
			}
			for bit := range 8 {
				bad := bytes.Clone(b)
				bad[n] ^= 1 << bit
				if _, ok := c.parse(bad); ok {
					t.Errorf("%s: byte %d may be %02x", s.what, n, bad[n])
				}
			}
		}
		if _, ok := c.parse(append(bytes.Clone(b), 0, 0, 0, 0)); ok {
			t.Errorf("%s: more bytes are taken", s.what)
		}
	}
}

// RFC 5389 section 15.4: what follows MESSAGE-INTEGRITY is not signed, so it must mean nothing. Here it is refused.
func TestNothingThatTheKeyDidNotSignIsTaken(t *testing.T) {
	key := stun.MessageIntegrity(func() []byte { k := testPlan(true).Key; return k[:] }())
	user := stun.RawAttribute{Type: stun.AttrUsername, Value: []byte(username(testPlan(true).Attempt, true))}
	nominate := stun.RawAttribute{Type: attrUseCandidate}
	for _, c := range []struct {
		what string
		with []stun.Setter
		ok   bool
	}{
		{"as it must be", []stun.Setter{user, key, stun.Fingerprint}, true},
		{"nomination, signed", []stun.Setter{user, nominate, key, stun.Fingerprint}, true},
		{"nomination after the signature", []stun.Setter{user, key, nominate, stun.Fingerprint}, false},
		{"two signatures", []stun.Setter{user, key, key, stun.Fingerprint}, false},
		{"no fingerprint", []stun.Setter{user, key}, false},
		{"no signature", []stun.Setter{user, nominate, stun.RawAttribute{Type: attrPadding, Value: make([]byte, 20)}, stun.Fingerprint}, false},
		{"no user", []stun.Setter{stun.RawAttribute{Type: attrPadding, Value: make([]byte, 20)}, key, stun.Fingerprint}, false},
		{"another attribute", []stun.Setter{user, stun.RawAttribute{Type: stun.AttrSoftware, Value: []byte("four")}, key, stun.Fingerprint}, false},
		{"nomination with a value", []stun.Setter{user, stun.RawAttribute{Type: attrUseCandidate, Value: []byte("four")}, key, stun.Fingerprint}, false},
		{"two users", []stun.Setter{user, user, key, stun.Fingerprint}, false},
	} {
		m := stun.New()
		m.Type = stun.BindingRequest
		m.TransactionID = testID
		m.WriteHeader()
		for _, s := range c.with {
			if raw, is := s.(stun.RawAttribute); is {
				m.Add(raw.Type, raw.Value)
			} else if err := s.AddTo(m); err != nil {
				t.Fatal(err)
			}
		}
		if _, ok := testCodec(false).parse(m.Raw); ok != c.ok {
			t.Errorf("%s: %v", c.what, ok)
		}
	}
}

func TestMessagesHaveTheSizeThatWasAskedFor(t *testing.T) {
	for size := probeSize; size <= fullSize; size += 4 {
		for i := range 4 {
			x := message{id: testID, answer: i&1 != 0, nominate: i&2 != 0}
			b := testCodec(false).marshal(x, size)
			got, ok := testCodec(true).parse(b)
			if x.nominate = x.nominate && size > probeSize; len(b) != size || !ok || got != x {
				t.Fatalf("%d bytes, not %d: %+v, %v", len(b), size, got, ok)
			}
		}
	}
}
