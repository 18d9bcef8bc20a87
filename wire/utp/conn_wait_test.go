package utp

import (
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"
)

func TestDeadlineThatMovesAwayKeepsWaiting(t *testing.T) {
	t.Parallel()
	a, b := newConns(t, Config{})
	if err := a.SetReadDeadline(time.Now().Add(3 * time.Second)); err != nil { // by then the read waits
		t.Fatal(err)
	}
	got := make(chan error)
	go func() { got <- second(io.ReadFull(a, make([]byte, 4))) }()
	eventually(t, "the read waits", func() bool {
		a.mu.Lock()
		defer a.mu.Unlock()
		return a.read.waiting == 1
	})
	if err := a.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the timer of the first deadline is over", func() bool {
		a.mu.Lock()
		defer a.mu.Unlock()
		return a.read.armed.After(time.Now().Add(patience / 2))
	})
	if _, err := b.Write([]byte("late")); err != nil {
		t.Fatal(err)
	}
	if err := <-got; err != nil {
		t.Errorf("a read whose deadline moved away: %v", err)
	}
}

func TestDeadlineThatComesNearerEndsWaiting(t *testing.T) {
	a, _ := newConns(t, Config{})
	got := make(chan error)
	go func() { got <- second(a.Write(make([]byte, 8<<20))) }()
	eventually(t, "the write waits", func() bool {
		a.mu.Lock()
		defer a.mu.Unlock()
		return a.write.waiting == 1
	})
	if err := a.SetWriteDeadline(time.Now().Add(20 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if err := <-got; !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a write whose deadline came: %v", err)
	}
}

func TestBuffersAreWrittenAsOne(t *testing.T) {
	a, b := newConns(t, Config{})
	all := net.Buffers{[]byte("header"), make([]byte, 16<<10), nil, []byte("header"), make([]byte, 16<<10)}
	var n int64
	for _, part := range all {
		n += int64(len(part))
	}
	before := a.socket.mux.Stats().Sent
	if got, err := a.WriteBuffers(&all); got != n || err != nil || len(all) != 0 {
		t.Fatalf("wrote %d of %d bytes, %d buffers are left: %v", got, n, len(all), err)
	}
	if _, err := io.ReadFull(b, make([]byte, n)); err != nil {
		t.Fatal(err)
	}
	// Datagrams begin with 528 bytes of payload; a header alone in one would make it more.
	a.mu.Lock()
	resent := int64(a.core.stats().resent) // because an acknowledgement was late
	a.mu.Unlock()
	if sent := a.socket.mux.Stats().Sent - before; sent > n/528+2+resent {
		t.Errorf("%d datagrams for %d bytes, %d were sent again", sent, n, resent)
	}
}

func TestBuffersThatWereNotWrittenAreKept(t *testing.T) {
	a, _ := newConns(t, Config{})
	all := net.Buffers{make([]byte, 5<<20), make([]byte, 5<<20)}
	type written struct {
		n   int64
		err error
	}
	done := make(chan written)
	go func() {
		n, err := a.WriteBuffers(&all)
		done <- written{n, err}
	}()
	eventually(t, "the write waits", func() bool {
		a.mu.Lock()
		defer a.mu.Unlock()
		return a.write.waiting == 1
	})
	if err := a.SetWriteDeadline(time.Now()); err != nil {
		t.Fatal(err)
	}
	got := <-done
	n, err := got.n, got.err
	if !errors.Is(err, os.ErrDeadlineExceeded) || n == 0 {
		t.Fatalf("wrote %d bytes: %v", n, err)
	}
	left := int64(0)
	for _, b := range all {
		left += int64(len(b))
	}
	if n+left != 10<<20 {
		t.Errorf("%d bytes written and %d left of %d", n, left, 10<<20)
	}
}
