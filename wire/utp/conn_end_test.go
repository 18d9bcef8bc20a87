package utp

import (
	"errors"
	"io"
	"net"
	"syscall"
	"testing"
	"time"
)

func TestHalfClosedConnectionGoesOnTheOtherWay(t *testing.T) {
	a, b := newConns(t, Config{})
	if _, err := a.Write([]byte("question")); err != nil {
		t.Fatal(err)
	}
	if err := a.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Write([]byte("more")); !errors.Is(err, syscall.EPIPE) {
		t.Errorf("writing after CloseWrite: %v", err)
	}
	if got, err := io.ReadAll(b); string(got) != "question" || err != nil {
		t.Fatalf("read %q: %v", got, err)
	}
	answer := make([]byte, 300_000)
	go func() {
		_, _ = b.Write(answer)
		_ = b.Close()
	}()
	if got, err := io.ReadAll(a); len(got) != len(answer) || err != nil {
		t.Fatalf("read %d bytes: %v", len(got), err)
	}
}

func TestCloseDeliversWhatWasWritten(t *testing.T) {
	a, b := newConns(t, Config{})
	const n = 800_000
	if _, err := a.Write(make([]byte, n)); err != nil {
		t.Fatal(err)
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	if err := a.Close(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("closing twice: %v", err)
	}
	for what, err := range map[string]error{
		"read": second(a.Read(make([]byte, 1))), "write": second(a.Write([]byte{1})), "half-close": a.CloseWrite(),
		"deadline": a.SetDeadline(time.Time{}),
	} {
		if !errors.Is(err, net.ErrClosed) {
			t.Errorf("%s after Close: %v", what, err)
		}
	}
	if got, err := io.Copy(io.Discard, b); got != n || err != nil {
		t.Errorf("%d of %d bytes arrived: %v", got, n, err)
	}
}

func second[T any](_ T, err error) error { return err }

func TestPeerThatSendsToClosedConnectionLearnsIt(t *testing.T) {
	a, b := newConns(t, Config{})
	failed := make(chan error)
	go func() {
		for {
			if _, err := b.Write(make([]byte, 64<<10)); err != nil {
				failed <- err
				return
			}
		}
	}()
	if _, err := io.ReadFull(a, make([]byte, 1<<20)); err != nil {
		t.Fatal(err)
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-failed; !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("writing to who does not read: %v", err)
	}
	eventually(t, "both ends are forgotten", func() bool {
		return a.endpoint.Stats().Conns == 0 && b.endpoint.Stats().Conns == 0
	})
	_ = b.Close()
	eventually(t, "no memory is held by nobody", func() bool { return b.endpoint.Stats().Memory == 0 })
}

func TestResetIsTheEndForBothSides(t *testing.T) {
	a, b := newConns(t, Config{})
	if _, err := a.Write([]byte("last words")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the words arrived", func() bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		return b.core.readable() > 0
	})
	if err := a.Reset(); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("reading after Reset: %v", err)
	}
	eventually(t, "the other end has failed", func() bool {
		_, err := b.Write([]byte{0})
		return errors.Is(err, syscall.ECONNRESET)
	})
	if got, err := io.ReadAll(b); string(got) != "last words" || !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("read %q: %v", got, err)
	}
	if err := b.Close(); err != nil {
		t.Error(err)
	}
	for _, e := range []*Endpoint{a.endpoint, b.endpoint} {
		if s := e.Stats(); s.Conns != 0 {
			t.Errorf("left behind: %+v", s)
		}
		// Who is sending, as the read loop is while it acknowledges, gives it back when he is done.
		eventually(t, "nothing is held by nobody", func() bool { return e.Stats().Memory == 0 })
	}
}

func TestClosedConnectionToSilentPeerIsGivenUp(t *testing.T) {
	from, to := newEndpoint(t, Config{}), newEndpoint(t, Config{})
	p := newProxy(t, to, 0)
	a, _ := dialBetween(t, from, to, p.String())
	p.cut()
	if _, err := a.Write(make([]byte, 10_000)); err != nil {
		t.Fatal(err)
	}
	before := time.Now()
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	after := time.Now()
	if a.tick(before.Add(lingerTime - time.Millisecond)); from.Stats().Conns != 1 {
		t.Fatal("given up too early")
	}
	if a.tick(after.Add(lingerTime)); from.Stats().Conns != 0 {
		t.Error("still not given up")
	}
	eventually(t, "no memory is held by nobody", func() bool { return from.Stats().Memory == 0 })
}

func TestCloseWhileOthersWaitWakesThem(t *testing.T) {
	a, b := newConns(t, Config{})
	errs := make(chan error)
	go func() { errs <- second(a.Read(make([]byte, 1))) }()
	go func() { errs <- second(a.Write(make([]byte, 8<<20))) }()
	eventually(t, "both wait", func() bool {
		a.mu.Lock()
		defer a.mu.Unlock()
		return a.read.waiting == 1 && a.write.waiting == 1
	})
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := <-errs; !errors.Is(err, net.ErrClosed) {
			t.Errorf("who waited got %v", err)
		}
	}
	_ = b.Close()
}

func TestConnectionsEndWithTheirEndpoint(t *testing.T) {
	from, stop := runEndpoint(t, Config{})
	defer stop()
	to, stopTo := runEndpoint(t, Config{})
	a, b := dialBetween(t, from, to, to.Addr().String())
	errs := make(chan error, 2)
	go func() { errs <- second(a.Read(make([]byte, 1))) }()
	go func() { errs <- second(b.Read(make([]byte, 1))) }()
	stopTo()
	for range 2 {
		if err := <-errs; !errors.Is(err, net.ErrClosed) && !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("who waited got %v", err)
		}
	}
}
