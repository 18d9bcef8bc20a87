package swarm

import (
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"simplebit/wire/peer"
)

// vectoredPair is the two ends of a TCP connection.
func vectoredPair(t *testing.T) (reader peer.VectorReader, ours, theirs net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if theirs, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { theirs.Close() })
	if ours, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ours.Close() })
	return vectored(ours).(peer.VectorReader), ours, theirs
}

func TestBuffersAreFilledOneAfterTheOtherUntilTheEnd(t *testing.T) {
	r, _, theirs := vectoredPair(t)
	time.AfterFunc(10*time.Millisecond, func() { // the reader waits by then, mostly
		theirs.Write([]byte("abcdefg"))
		theirs.Close()
	})
	a, b, c := make([]byte, 3), make([]byte, 2), make([]byte, 9)
	n, err := r.ReadVector([][]byte{a, b, c})
	if err != nil || n != 7 || string(a)+string(b)+string(c[:2]) != "abcdefg" {
		t.Errorf("%d bytes, %v: %q %q %q", n, err, a, b, c)
	}
	if n, err := r.ReadVector([][]byte{a}); n != 0 || err != io.EOF {
		t.Errorf("at the end %d, %v, want io.EOF", n, err)
	}
}

func TestAWaitingReadEndsWithItsConnection(t *testing.T) {
	r, ours, _ := vectoredPair(t)
	time.AfterFunc(10*time.Millisecond, func() { ours.Close() })
	if n, err := r.ReadVector([][]byte{make([]byte, 1)}); n != 0 || !errors.Is(err, net.ErrClosed) {
		t.Errorf("%d, %v, want net.ErrClosed", n, err)
	}
}

func TestNothingIsAllocatedForAVectoredRead(t *testing.T) {
	r, _, theirs := vectoredPair(t)
	data := []byte("abcdefgh")
	var bufs [][]byte
	for range data {
		bufs = append(bufs, make([]byte, 1))
	}
	if n := testing.AllocsPerRun(100, func() {
		theirs.Write(data)
		if _, err := r.ReadVector(bufs); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations, want none", n)
	}
}
