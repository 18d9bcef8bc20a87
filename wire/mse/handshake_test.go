package mse

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func tcpPair(t testing.TB) (a, b net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if a, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if b, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close(); b.Close() })
	a.SetDeadline(time.Now().Add(20 * time.Second))
	b.SetDeadline(time.Now().Add(20 * time.Second))
	return a, b
}

// meet does the handshake between the ends a and b of a connection, with the random bytes given. Whoever fails hangs up.
func meet(a, b net.Conn, diceA, diceB io.Reader, provide Method, policy Policy, initial []byte) (ca, cb *Conn, errA, errB error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		if ca, errA = dial(diceA, a, testSkey, provide, initial); errA != nil {
			a.Close()
		}
	}()
	if cb, errB = accept(diceB, b, nil, findTest, policy, nil); errB != nil {
		b.Close()
	}
	<-done
	return ca, cb, errA, errB
}

func TestPadsAndInitialPayloadOfAnyLengthWork(t *testing.T) {
	long := sequence(0, maxInitial)
	for _, provide := range []Method{Plaintext, RC4} {
		for _, pads := range [][2]int{{0, 0}, {0, 512}, {512, 0}, {512, 512}, {17, 300}} {
			for _, initial := range []int{0, 1, 68, 450, maxInitial} {
				t.Run(fmt.Sprintf("method %d, pads %v, IA %d", provide, pads, initial), func(t *testing.T) {
					a, b := tcpPair(t)
					diceA := dice(xA, make([]byte, pads[0]), pads[1])
					diceB := dice(xB, make([]byte, pads[1]), pads[0])
					ca, cb, errA, errB := meet(a, b, diceA, diceB, provide, Prefer, long[:initial])
					if errA != nil || errB != nil {
						t.Fatal(errA, errB)
					}
					if _, err := ca.Write([]byte("and on")); err != nil {
						t.Fatal(err)
					}
					if _, err := cb.Write([]byte("answer")); err != nil {
						t.Fatal(err)
					}
					got := make([]byte, initial+6)
					if _, err := io.ReadFull(cb, got); err != nil || !bytes.Equal(got, append(long[:initial:initial], "and on"...)) {
						t.Errorf("B's stream is wrong: %v", err)
					}
					if _, err := io.ReadFull(ca, got[:6]); err != nil || string(got[:6]) != "answer" {
						t.Errorf("A reads %q, %v", got[:6], err)
					}
				})
			}
		}
	}
}

// net.Pipe buffers nothing, so an end that left bytes unread before it writes would wait for ever.
func TestHandshakeNeedsNoBufferBetweenTheEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, initial := range []int{0, 68, 1024} {
			for pad := 0; pad <= maxPad; pad += 8 {
				a, b := net.Pipe()
				deadline := time.Now().Add(time.Second)
				a.SetDeadline(deadline)
				b.SetDeadline(deadline)
				zeros := make([]byte, pad)
				_, _, errA, errB := meet(a, b, dice(xA, zeros, pad), dice(xB, zeros, pad), RC4, Prefer, make([]byte, initial))
				if errA != nil || errB != nil {
					t.Errorf("pads of %d, IA of %d: %v, %v", pad, initial, errA, errB)
				}
			}
		}
	})
}

func TestStreamOfAMebibyteIsTheSameAtTheOtherEnd(t *testing.T) {
	data := make([]byte, 1<<20)
	rand.Read(data)
	for _, provide := range []Method{Plaintext, RC4} {
		t.Run(fmt.Sprint("method ", provide), func(t *testing.T) {
			a, b := tcpPair(t)
			ca, cb, errA, errB := meet(a, choppy{b, 7777}, rand.Reader, rand.Reader, provide, Prefer, data[:100])
			if errA != nil || errB != nil {
				t.Fatal(errA, errB)
			}
			sent := make(chan error, 2)
			go func() { sent <- writeMixed(ca, data[100:]) }()
			go func() { sent <- writeMixed(cb, data) }()
			heard := make(chan error, 2)
			for _, c := range []*Conn{ca, cb} {
				go func() {
					got := make([]byte, len(data))
					_, err := io.ReadFull(c, got)
					if err == nil && !bytes.Equal(got, data) {
						err = errors.New("other bytes arrived")
					}
					heard <- err
				}()
			}
			for range 2 {
				if err := errors.Join(<-sent, <-heard); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// writeMixed writes data in pieces of many sizes, singly and several at once.
func writeMixed(c *Conn, data []byte) error {
	for size := 1; len(data) > 0; size = size*3 + 1 {
		n := min(len(data), size%50000+1)
		b := net.Buffers{data[:n/3], nil, data[n/3 : n/2], data[n/2 : n]}
		if _, err := c.WriteBuffers(&b); err != nil {
			return err
		}
		data = data[n:]
		n = min(len(data), size%40000)
		if _, err := c.Write(data[:n]); err != nil {
			return err
		}
		data = data[n:]
	}
	return nil
}

func TestResponderChoosesByItsPolicy(t *testing.T) {
	for _, c := range []struct {
		provide uint32
		policy  Policy
		want    Method
		err     error
	}{
		{1, Prefer, Plaintext, nil},
		{2, Prefer, RC4, nil},
		{3, Prefer, Plaintext, nil},
		{0xfffffff2, Prefer, RC4, nil},
		{1, Require, 0, ErrPolicy},
		{2, Require, RC4, nil},
		{3, Require, RC4, nil},
		{0, Prefer, 0, ErrHandshake},
		{0, Require, 0, ErrHandshake},
		{0xfffffffc, Prefer, 0, ErrHandshake},
		{3, Off, 0, ErrPolicy},
	} {
		encrypted := newSpecRC4("keyA", testS, testSkey[:]).crypt(append(specHead(c.provide, 0, nil), specInitial(nil)...))
		wire := &script{chunks: [][]byte{slices.Concat(yA, specRequest(encrypted))}}
		conn, err := accept(dice(xB, nil, 0), wire, nil, findTest, c.policy, nil)
		if !errors.Is(err, c.err) || c.err == nil && (err != nil || conn.Method != c.want) {
			t.Errorf("%#x offered, policy %v: %v, want method %d or error %v", c.provide, c.policy, err, c.want, c.err)
		}
		if c.policy == Off && wire.read+wire.wrote.Len() > 0 {
			t.Errorf("with encryption off %d bytes are read and %d written", wire.read, wire.wrote.Len())
		}
	}
}

func TestInitiatorTakesOnlyWhatItProvided(t *testing.T) {
	for _, c := range []struct {
		provide Method
		sel     uint32
		ok      bool
	}{
		{Plaintext, 1, true}, {RC4, 2, true}, {Plaintext | RC4, 1, true}, {Plaintext | RC4, 2, true},
		{Plaintext, 2, false}, {RC4, 1, false}, {Plaintext | RC4, 3, false}, {RC4, 0, false},
		{Plaintext | RC4, 4, false}, {Plaintext | RC4, 0x80000002, false},
	} {
		encrypted := newSpecRC4("keyB", testS, testSkey[:]).crypt(specHead(c.sel, 0, nil))
		wire := &script{chunks: [][]byte{slices.Concat(yB, encrypted)}}
		_, err := dial(dice(xA, nil, 0), wire, testSkey, c.provide, nil)
		if c.ok && err != nil || !c.ok && !errors.Is(err, ErrHandshake) {
			t.Errorf("%d provided, %#x selected: %v", c.provide, c.sel, err)
		}
	}
}

func TestDialRefusesWhatCannotBeSaid(t *testing.T) {
	wire := &script{}
	if _, err := Dial(wire, testSkey, 0, nil); !errors.Is(err, ErrPolicy) {
		t.Errorf("without a method: %v, want ErrPolicy", err)
	}
	if _, err := Dial(wire, testSkey, RC4, make([]byte, maxInitial+1)); err == nil || !strings.Contains(err.Error(), "65535") {
		t.Errorf("with 64 KiB of initial payload: %v, want an error that names the limit", err)
	}
	if wire.wrote.Len() > 0 {
		t.Errorf("%d bytes were sent all the same", wire.wrote.Len())
	}
}

func TestHandshakeEndsAtTheDeadlineOfTheConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, handshake := range map[string]func(net.Conn) error{
			"Dial":   func(c net.Conn) error { _, err := Dial(c, testSkey, RC4, nil); return err },
			"Accept": func(c net.Conn) error { _, err := Accept(c, nil, findTest, Prefer); return err },
		} {
			a, b := net.Pipe()
			go io.Copy(io.Discard, b)
			start := time.Now()
			a.SetDeadline(start.Add(5 * time.Second))
			var timeout net.Error
			if err := handshake(a); !errors.As(err, &timeout) || !timeout.Timeout() {
				t.Errorf("%s with a silent peer: %v, want a timeout", name, err)
			}
			if took := time.Since(start); took != 5*time.Second {
				t.Errorf("%s took %v of 5 s", name, took)
			}
			b.Close()
		}
	})
}
