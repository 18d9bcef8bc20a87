package control

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"strings"
	"testing"
)

// keyOf makes a key that is the same in every run.
func keyOf(name string) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte(name))
	return ed25519.NewKeyFromSeed(seed[:])
}

func publicOf(key ed25519.PrivateKey) ed25519.PublicKey { return key.Public().(ed25519.PublicKey) }

func TestKeysHaveTheIdsOfTheirSubjectPublicKeyInfo(t *testing.T) {
	pub := publicOf(keyOf("attic"))
	spki, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		t.Fatal(err)
	}
	if PinOf(pub) != sha256.Sum256(spki) {
		t.Error("the pin is not the hash of the SubjectPublicKeyInfo")
	}
	// Enrolled devices and printed invites depend on these.
	if got, want := DeviceIDOf(pub), DeviceID("vhtvttbrgz7zals4jh2qmiclpty6e4g4m27t67acb3ia6quavx5q"); got != want {
		t.Errorf("device id %s", got)
	}
	if got, want := PinOf(pub).String(), "qedZzDE2f5AuXEn1BiBLfPHicNxmvz98Ag7QD0KArfs"; got != want {
		t.Errorf("pin %s", got)
	}
}

func TestKeyFileIsReadAsItWasWritten(t *testing.T) {
	key, err := NewKey()
	if err != nil {
		t.Fatal(err)
	}
	b, err := MarshalKey(key)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := ParseKey(b); err != nil || !got.Equal(key) {
		t.Errorf("%v", err)
	}
	if other, _ := NewKey(); other.Equal(key) {
		t.Error("two new keys are the same")
	}
	if _, err := MarshalKey(nil); !errors.Is(err, ErrKey) {
		t.Errorf("no key: %v", err)
	}
}

func TestFileThatIsNoKeyIsRefusedWithoutShowingIt(t *testing.T) {
	good, _ := MarshalKey(keyOf("attic"))
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(ec)
	if err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string][]byte{
		"empty":          nil,
		"half":           good[:len(good)/2],
		"another type":   bytes.ReplaceAll(good, []byte("PRIVATE"), []byte("PUBLIC")),
		"garbage inside": pem.EncodeToMemory(&pem.Block{Type: keyBlock, Bytes: []byte("secret")}),
		"another kind":   pem.EncodeToMemory(&pem.Block{Type: keyBlock, Bytes: der}),
	} {
		if _, err := ParseKey(b); err != ErrKey {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestPinIsReadAsItWasWritten(t *testing.T) {
	pin := PinOf(publicOf(keyOf("deployment")))
	if got, err := ParsePin(pin.String()); err != nil || got != pin {
		t.Errorf("%v, %v", got, err)
	}
	s := pin.String()
	for name, bad := range map[string]string{
		"empty": "", "short": s[:42], "long": s + "A", "padded": s + "=", "spare bits": s[:42] + "B", "not base64url": "+" + s[1:], "a line break": "\n" + s[1:],
	} {
		if _, err := ParsePin(bad); !errors.Is(err, ErrPin) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestInviteIsReadAsItWasWritten(t *testing.T) {
	pin := PinOf(publicOf(keyOf("deployment")))
	for _, a := range []string{"203.0.113.1:4433", "[2001:db8::1]:4433", "surrogate.example.org:1", "box:65535"} {
		for _, tcp := range []uint16{0, 1, 443, 65535} {
			i := Invite{a, pin, "k7f2.x5-d_~Q", tcp}
			got, err := ParseInvite(" " + i.String() + "\r\n")
			if err != nil || got != i {
				t.Errorf("%s: %v, %v", a, got, err)
			}
		}
	}
	line := Invite{"203.0.113.1:4433", pin, "k7f2.x5qd", 0}.String()
	if want := "simplebit://203.0.113.1:4433/?pin=" + pin.String() + "&token=k7f2.x5qd"; line != want {
		t.Errorf("an invite is written %s", line)
	}
	for _, same := range []string{
		"simplebit://203.0.113.1:4433?token=k7f2.x5qd&pin=" + pin.String() + "&relay=1", "SIMPLEBIT" + strings.TrimPrefix(line, "simplebit"),
	} {
		if got, err := ParseInvite(same); err != nil || got.String() != line {
			t.Errorf("%s: %v, %v", same, got, err)
		}
	}
}

func TestGarbledInviteIsRefusedWithoutShowingItsToken(t *testing.T) {
	pin := PinOf(publicOf(keyOf("deployment"))).String()
	const token = "s3cret.t0ken"
	for _, bad := range []string{
		"", "simplebit", "simplebit:", "simplebit://", token,
		"https://203.0.113.1:4433/?pin=" + pin + "&token=" + token,
		"simplebit:203.0.113.1:4433/?pin=" + pin + "&token=" + token,
		"simplebit://203.0.113.1/?pin=" + pin + "&token=" + token,
		"simplebit://203.0.113.1:0/?pin=" + pin + "&token=" + token,
		"simplebit://203.0.113.1:65536/?pin=" + pin + "&token=" + token,
		"simplebit://:4433/?pin=" + pin + "&token=" + token,
		"simplebit://[fe80::1%25eth0]:4433/?pin=" + pin + "&token=" + token,
		"simplebit://[nonsense]:4433/?pin=" + pin + "&token=" + token,
		"simplebit://a b:4433/?pin=" + pin + "&token=" + token,
		"simplebit://a%0ab:4433/?pin=" + pin + "&token=" + token,
		"simplebit://user@203.0.113.1:4433/?pin=" + pin + "&token=" + token,
		"simplebit://203.0.113.1:4433/path?pin=" + pin + "&token=" + token,
		"simplebit://203.0.113.1:4433/?pin=" + pin + "&token=" + token + "#x",
		"simplebit://203.0.113.1:4433/?pin=" + pin + "&token=" + token + "%",
		"simplebit://203.0.113.1:4433/?pin=" + pin + ";token=" + token,
		"simplebit://203.0.113.1:4433/?pin=" + pin + "&token=" + token + "%0a",
		"simplebit://203.0.113.1:4433/?pin=" + pin + "&token=" + token + "&token=x",
		"simplebit://203.0.113.1:4433/?pin=" + pin + "&token=" + token + "&tcp=0",
		"simplebit://203.0.113.1:4433/?pin=" + pin + "&token=" + token + "&tcp=65536",
		"simplebit://203.0.113.1:4433/?pin=" + pin + "&token=" + token + "&tcp=",
		"simplebit://203.0.113.1:4433/?pin=" + pin + "&token=" + token + "&tcp=443&tcp=444",
		"simplebit://203.0.113.1:4433/?pin=" + pin + "&token=",
		"simplebit://203.0.113.1:4433/?pin=" + pin,
		"simplebit://203.0.113.1:4433/?token=" + token,
		"simplebit://203.0.113.1:4433/?pin=" + pin[1:] + "&token=" + token,
		"simplebit://203.0.113.1:4433/?pin=" + pin + "&token=" + strings.Repeat(token, 11),
		"simplebit://203.0.113.1:4433/?pin=" + pin + "&token=" + token + "&more=" + strings.Repeat("x", maxInvite),
		"simplebit://203.0.113.1:4433/?pin=" + pin + "&token=" + token + "\x7f",
	} {
		i, err := ParseInvite(bad)
		if !errors.Is(err, ErrInvite) || i != (Invite{}) {
			t.Errorf("%q: %v, %v", bad, i, err)
			continue
		}
		if strings.Contains(err.Error(), token) {
			t.Errorf("%q: the error shows the token: %v", bad, err)
		}
	}
}
