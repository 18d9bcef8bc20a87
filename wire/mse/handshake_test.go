package mse

import (
	"bytes"
	"io"
	"net"
	"testing"
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
	a.SetDeadline(time.Now().Add(10 * time.Second))
	b.SetDeadline(time.Now().Add(10 * time.Second))
	return a, b
}

func TestBothEndsMeet(t *testing.T) {
	skey := [20]byte{1, 2, 3}
	for _, provide := range []Method{RC4, Plaintext, RC4 | Plaintext} {
		a, b := tcpPair(t)
		done := make(chan error)
		go func() {
			c, err := Dial(a, skey, provide, []byte("hello"))
			if err == nil {
				_, err = c.Write([]byte(" world"))
			}
			done <- err
		}()
		c, err := Accept(b, nil, func(r [20]byte) ([20]byte, bool) { return skey, r == ReqHash(skey) }, Prefer)
		if err != nil {
			t.Fatal(err)
		}
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		got := make([]byte, 11)
		if _, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, []byte("hello world")) {
			t.Errorf("%q %v", got, err)
		}
	}
}
