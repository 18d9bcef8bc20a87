package mse

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"math/big"
	"slices"
	"testing"
)

// Every byte of two handshakes with fixed private keys, as an implementation in another language (integers, hashes and RC4
// of its own) gives them. A's pads are AAA and two zeros, B's BBBBB and four zeros; IA is the greeting of BEP 3.
const (
	goldenYa = "96e112dab29e8c5272accb9b17b26887ce54a144a4e3b697c7d159b7a817e556b0918db2b4c658e02a87f7e5fb14b18a" +
		"553e084cbf3dad2d30f16596ccb982d406258c61b30c5c1dae2ddc60bdbd48d79896312aad63238c39e1a633821eb693"
	goldenYb = "17c6baff1805f918c3b7fe6c294fcb3e40aebf56ef6aa1f61f9fd418bf27e9132a03c844b49a23837ddc9e3483d12a4d" +
		"7b3c215816b87d564bc9c9774a2b2069d6b9343bbbf4e0c40126d274c1fba9e4e9285e016dba0cc3b19ddb1a0f991653"
	goldenS = "a011b28ec0a53781383f616c88038f30d07759263bc7cfdccbda1a157a42ea06274374b93a2ee055d7c9ebdac7a30914" +
		"bacfd87efa4b74757bd7e79651d5d47cc1b827f4ec56fec641346a9c997147e8e8a3edff05fb0bc85d60098a90884da9"
	goldenPadA = "414141"
	goldenPadB = "4242424242"
	goldenIA   = "\x13BitTorrent protocol"
)

type golden struct {
	provide, selected  Method
	request, answer    string
	payloadA, payloadB string // "from the initiator", "from the responder"
}

var goldens = []golden{
	{
		Plaintext | RC4, Plaintext,
		"705c9b074dc6819437d31e1bfb7fedd2df1b51a2e78571d1a904bd0e59753af1c8562930bb9ccc9ea4c1c905d45461ca" +
			"7f3d903ad0eaeb605291753519c99997e4f57653c3b9d5fe78833dc7dcec",
		"4843c353912fb021e4fe48dfe3a07c31691d",
		"66726f6d2074686520696e69746961746f72",
		"66726f6d2074686520726573706f6e646572",
	},
	{
		RC4, RC4,
		"705c9b074dc6819437d31e1bfb7fedd2df1b51a2e78571d1a904bd0e59753af1c8562930bb9ccc9ea4c1c905d45461ca" +
			"7f3d903bd0eaeb605291753519c99997e4f57653c3b9d5fe78833dc7dcec",
		"4843c353912fb021e4fe48dce3a07c31691d",
		"c93327fab01007444490e15eacc13c122a27",
		"5746b4d1c5a49c9a60423548a8e95535fdad",
	},
}

func unhex(t testing.TB, parts ...string) []byte {
	t.Helper()
	var out []byte
	for _, s := range parts {
		b, err := hex.DecodeString(s)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, b...)
	}
	return out
}

func TestKeysAndSecretAreThoseOfTheSpecification(t *testing.T) {
	for name, c := range map[string]struct{ private, public []byte }{"A": {xA, unhex(t, goldenYa)}, "B": {xB, unhex(t, goldenYb)}} {
		e, err := newExchange(bytes.NewReader(c.private))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(e.public[:], c.public) || !bytes.Equal(specPublic(c.private), c.public) {
			t.Errorf("public key of %s is %x, by the formula %x, want %x", name, e.public, specPublic(c.private), c.public)
		}
	}
	e, err := newExchange(bytes.NewReader(xA))
	if err != nil {
		t.Fatal(err)
	}
	s, err := e.shared(unhex(t, goldenYb))
	if err != nil {
		t.Fatal(err)
	}
	if want := unhex(t, goldenS); !bytes.Equal(s[:], want) || !bytes.Equal(testS, want) {
		t.Errorf("secret %x, by the formula %x, want %x", s[:], testS, want)
	}
}

// Small secrets would lose their leading zeros in a careless conversion, one time in 256.
func TestNumbersKeepTheirLeadingZeros(t *testing.T) {
	e, err := newExchange(bytes.NewReader(append(make([]byte, 19), 3)))
	if err != nil {
		t.Fatal(err)
	}
	if want := append(make([]byte, 95), 8); !bytes.Equal(e.public[:], want) {
		t.Errorf("2^3 is written as %x", e.public)
	}
	s, err := e.shared(append(make([]byte, 95), 5))
	if err != nil {
		t.Fatal(err)
	}
	if want := append(make([]byte, 95), 125); !bytes.Equal(s[:], want) {
		t.Errorf("5^3 is written as %x", s[:])
	}
}

func TestInitiatorSendsTheGoldenBytes(t *testing.T) {
	for _, g := range goldens {
		t.Run(fmt.Sprint("select ", g.selected), func(t *testing.T) {
			wire := &script{chunks: [][]byte{unhex(t, goldenYb, goldenPadB, g.answer, g.payloadB)}}
			ia := []byte(goldenIA)
			c, err := dial(dice(xA, []byte("AAA"), 2), wire, testSkey, g.provide, ia)
			if err != nil {
				t.Fatal(err)
			}
			if string(ia) != goldenIA {
				t.Errorf("the caller's initial payload has become %q", ia)
			}
			checkGolden(t, c, g, wire, unhex(t, goldenYa, goldenPadA, g.request, g.payloadA), "from the initiator", "from the responder")
		})
	}
}

func TestResponderSendsTheGoldenBytes(t *testing.T) {
	for _, g := range goldens {
		t.Run(fmt.Sprint("select ", g.selected), func(t *testing.T) {
			wire := &script{chunks: [][]byte{unhex(t, goldenYa, goldenPadA, g.request, g.payloadA)}}
			c, err := accept(dice(xB, []byte("BBBBB"), 4), wire, nil, findTest, Prefer, nil)
			if err != nil {
				t.Fatal(err)
			}
			checkGolden(t, c, g, wire, unhex(t, goldenYb, goldenPadB, g.answer, g.payloadB), "from the responder", goldenIA+"from the initiator")
		})
	}
}

// checkGolden says say on c, holds that all that went out is want, and that the peer said heard.
func checkGolden(t *testing.T, c *Conn, g golden, wire *script, want []byte, say, heard string) {
	t.Helper()
	if c.Method != g.selected {
		t.Errorf("method %d, want %d", c.Method, g.selected)
	}
	if n, err := c.Write([]byte(say)); n != len(say) || err != nil {
		t.Errorf("Write: %d, %v", n, err)
	}
	if got := wire.wrote.Bytes(); !bytes.Equal(got, want) {
		t.Errorf("sent\n%x, want\n%x", got, want)
	}
	got, err := io.ReadAll(c)
	if err != nil || string(got) != heard {
		t.Errorf("heard %q, %v, want %q", got, err, heard)
	}
}

// Older libtorrent and rtorrent lose the leading zeros of a secret (arvidn/libtorrent 8434, rakshasa/libtorrent 894).
func TestResponderAvoidsSecretsThatBeginWithZero(t *testing.T) {
	a := new(big.Int).SetBytes(yA)
	unlucky := make([]byte, 20)
	for i := uint16(1); ; i++ {
		binary.BigEndian.PutUint16(unlucky, i)
		if new(big.Int).Exp(a, new(big.Int).SetBytes(unlucky), specPrime).BitLen() <= 760 {
			break
		}
	}
	ours, s, err := answerKey(bytes.NewReader(slices.Concat(unlucky, xB)), yA)
	if err != nil || !bytes.Equal(ours.public[:], yB) || !bytes.Equal(s[:], testS) {
		t.Errorf("answered with %x, %v, want the second key, %x", ours.public, err, yB)
	}
	if _, s, err = answerKey(bytes.NewReader(bytes.Repeat(unlucky, 4)), yA); err != nil || s[0] != 0 {
		t.Errorf("four unlucky keys: %v, want the last one to do", err)
	}
}

// HASH('req2', SKEY)
func TestReqHashIsTheHashOfReq2(t *testing.T) {
	if got, want := ReqHash(testSkey), specHash([]byte("req2"), testSkey[:]); !bytes.Equal(got[:], want) {
		t.Errorf("%x, want %x", got, want)
	}
}

// TCP and uTP keep no boundaries: the handshake must not care where the bytes are cut.
func TestBytesMayBeCutAnywhere(t *testing.T) {
	for _, g := range goldens {
		toA := unhex(t, goldenYb, goldenPadB, g.answer, g.payloadB)
		toB := unhex(t, goldenYa, goldenPadA, g.request, g.payloadA)
		asInitiator := func(t *testing.T, chunks [][]byte) {
			t.Helper()
			c, err := dial(dice(xA, []byte("AAA"), 2), &script{chunks: chunks}, testSkey, g.provide, []byte(goldenIA))
			expectStream(t, c, err, "from the responder")
		}
		asResponder := func(t *testing.T, prefix []byte, chunks [][]byte) {
			t.Helper()
			c, err := accept(dice(xB, []byte("BBBBB"), 4), &script{chunks: chunks}, prefix, findTest, Prefer, nil)
			expectStream(t, c, err, goldenIA+"from the initiator")
		}
		for k := range len(toA) + 1 {
			asInitiator(t, [][]byte{slices.Clone(toA[:k]), slices.Clone(toA[k:])})
		}
		for k := range len(toB) + 1 {
			asResponder(t, nil, [][]byte{slices.Clone(toB[:k]), slices.Clone(toB[k:])})
			asResponder(t, slices.Clone(toB[:k]), [][]byte{slices.Clone(toB[k:])})
		}
		asInitiator(t, slices.Collect(slices.Chunk(slices.Clone(toA), 1)))
		asResponder(t, nil, slices.Collect(slices.Chunk(slices.Clone(toB), 1)))
	}
}

func expectStream(t *testing.T, c *Conn, err error, want string) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(c); err != nil || string(got) != want {
		t.Fatalf("read %q, %v, want %q", got, err, want)
	}
}
