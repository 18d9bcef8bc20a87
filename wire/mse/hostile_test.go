package mse

import (
	"bytes"
	"errors"
	"io"
	"math/big"
	"slices"
	"testing"
)

// "B must find HASH('req1', S) within 628 bytes, A the VC within 616 bytes from the start of the stream"
func TestPeerThatNeverGetsToThePointIsReadOnlySoFar(t *testing.T) {
	for _, say := range []byte{0x41, 0x42} {
		wire := &endless{say: say}
		if _, err := Accept(wire, nil, findTest, Prefer); !errors.Is(err, ErrHandshake) || wire.read != 628 {
			t.Errorf("Accept: %v after %d bytes, want ErrHandshake after 628", err, wire.read)
		}
		wire = &endless{say: say}
		if _, err := Dial(wire, testSkey, RC4, nil); !errors.Is(err, ErrHandshake) || wire.read != 616 {
			t.Errorf("Dial: %v after %d bytes, want ErrHandshake after 616", err, wire.read)
		}
		wire = &endless{say: say}
		prefix := bytes.Repeat([]byte{say}, 20)
		if _, err := Accept(wire, prefix, findTest, Prefer); !errors.Is(err, ErrHandshake) || wire.read != 608 {
			t.Errorf("Accept after 20 bytes: %v after %d more, want ErrHandshake after 608", err, wire.read)
		}
	}
}

func TestPadOf513BytesIsTooLong(t *testing.T) {
	request := specRequest(newSpecRC4("keyA", testS, testSkey[:]).crypt(append(specHead(2, 0, nil), specInitial(nil)...)))
	answer := newSpecRC4("keyB", testS, testSkey[:]).crypt(specHead(2, 0, nil))
	for _, n := range []int{512, 513} {
		pad := make([]byte, n)
		_, errB := accept(dice(xB, nil, 0), &script{chunks: [][]byte{slices.Concat(yA, pad, request)}}, nil, findTest, Prefer, nil)
		_, errA := dial(dice(xA, nil, 0), &script{chunks: [][]byte{slices.Concat(yB, pad, answer)}}, testSkey, RC4, nil)
		for who, err := range map[string]error{"PadA": errB, "PadB": errA} {
			if n == 512 && err != nil || n == 513 && !errors.Is(err, ErrHandshake) {
				t.Errorf("%s of %d bytes: %v", who, n, err)
			}
		}
		long := slices.Concat(specHead(2, n, pad), specInitial(nil))
		encrypted := newSpecRC4("keyA", testS, testSkey[:]).crypt(long)
		_, errB = accept(dice(xB, nil, 0), &script{chunks: [][]byte{slices.Concat(yA, specRequest(encrypted))}}, nil, findTest, Prefer, nil)
		encrypted = newSpecRC4("keyB", testS, testSkey[:]).crypt(specHead(2, n, pad))
		_, errA = dial(dice(xA, nil, 0), &script{chunks: [][]byte{slices.Concat(yB, encrypted)}}, testSkey, RC4, nil)
		for who, err := range map[string]error{"PadC": errB, "PadD": errA} {
			if n == 512 && err != nil || n == 513 && !errors.Is(err, ErrHandshake) {
				t.Errorf("%s of %d bytes: %v", who, n, err)
			}
		}
	}
}

func TestPublicKeysThatGiveTheSecretAwayAreRefused(t *testing.T) {
	for _, y := range []*big.Int{
		big.NewInt(0), big.NewInt(1),
		new(big.Int).Sub(specPrime, big.NewInt(1)), specPrime,
		new(big.Int).Add(specPrime, big.NewInt(1)),
		new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 768), big.NewInt(1)),
	} {
		wire := func() *script { return &script{chunks: [][]byte{y.FillBytes(make([]byte, 96))}} }
		if _, err := Accept(wire(), nil, findTest, Prefer); !errors.Is(err, ErrHandshake) {
			t.Errorf("Accept of %x: %v, want ErrHandshake", y, err)
		}
		if _, err := Dial(wire(), testSkey, RC4, nil); !errors.Is(err, ErrHandshake) {
			t.Errorf("Dial to %x: %v, want ErrHandshake", y, err)
		}
	}
}

func TestUnknownTorrentIsSaidSo(t *testing.T) {
	a, b := tcpPair(t)
	done := make(chan error, 1)
	go func() {
		_, err := Dial(a, [20]byte{1}, RC4, nil)
		done <- err
	}()
	if _, err := Accept(b, nil, findTest, Prefer); !errors.Is(err, ErrUnknownTorrent) {
		t.Errorf("error %v, want ErrUnknownTorrent", err)
	}
	b.Close()
	if err := <-done; err == nil {
		t.Error("the initiator does not notice")
	}
}

// An index that is wrong, or a hash that somebody copied from another stream: the keys do not fit.
func TestWrongInfoHashBreaksTheHandshake(t *testing.T) {
	other := [20]byte{1}
	encrypted := newSpecRC4("keyA", testS, testSkey[:]).crypt(append(specHead(2, 0, nil), specInitial(nil)...))
	wire := &script{chunks: [][]byte{slices.Concat(yA, specRequest(encrypted))}}
	if _, err := accept(dice(xB, nil, 0), wire, nil, func([20]byte) ([20]byte, bool) { return other, true }, Prefer, nil); !errors.Is(err, ErrHandshake) {
		t.Errorf("Accept: %v, want ErrHandshake", err)
	}
	encrypted = newSpecRC4("keyB", testS, other[:]).crypt(append(specHead(2, 0, nil), make([]byte, 600)...))
	wire = &script{chunks: [][]byte{slices.Concat(yB, encrypted)}}
	if _, err := dial(dice(xA, nil, 0), wire, testSkey, RC4, nil); !errors.Is(err, ErrHandshake) {
		t.Errorf("Dial: %v, want ErrHandshake", err)
	}
}

func TestPeerThatHangsUpIsNoticedAtEveryByte(t *testing.T) {
	g := goldens[1]
	toA, toB := unhex(t, goldenYb, goldenPadB, g.answer), unhex(t, goldenYa, goldenPadA, g.request)
	for k := range toA {
		_, err := dial(dice(xA, []byte("AAA"), 2), &script{chunks: [][]byte{slices.Clone(toA[:k])}}, testSkey, g.provide, nil)
		if !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("Dial after %d bytes: %v, want io.ErrUnexpectedEOF", k, err)
		}
	}
	for k := range toB {
		_, err := accept(dice(xB, []byte("BBBBB"), 4), &script{chunks: [][]byte{slices.Clone(toB[:k])}}, nil, findTest, Prefer, nil)
		if !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("Accept after %d bytes: %v, want io.ErrUnexpectedEOF", k, err)
		}
	}
}

// Nobody is told anything, and nothing is computed, before a whole key has come.
func TestResponderIsSilentUntilItHasAKey(t *testing.T) {
	wire := &script{chunks: [][]byte{yA[:95]}}
	if _, err := Accept(wire, nil, findTest, Prefer); err == nil {
		t.Fatal("accepted")
	}
	if wire.wrote.Len() > 0 {
		t.Errorf("%d bytes were answered to 95", wire.wrote.Len())
	}
}

func TestHandshakeFailsWithoutRandomness(t *testing.T) {
	full, err := io.ReadAll(dice(xA, []byte("AAA"), 2))
	if err != nil {
		t.Fatal(err)
	}
	g := goldens[1]
	for k := range full {
		wire := &script{chunks: [][]byte{unhex(t, goldenYb, goldenPadB, g.answer)}}
		if _, err := dial(bytes.NewReader(full[:k]), wire, testSkey, RC4, nil); err == nil {
			t.Errorf("Dial works with %d of %d random bytes", k, len(full))
		}
		wire = &script{chunks: [][]byte{unhex(t, goldenYa, goldenPadA, g.request)}}
		if _, err := accept(bytes.NewReader(full[:k]), wire, nil, findTest, Prefer, nil); err == nil {
			t.Errorf("Accept works with %d of %d random bytes", k, len(full))
		}
	}
}
