package link

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"sync"
	"testing"
	"time"

	"simplebit/wire/control"
)

func TestBothSidesOpenStreams(t *testing.T) {
	both(t, func(t *testing.T, over Transport) {
		p := connect(t, over)
		for _, d := range []pair{p, {p.surrogate, p.agent}} {
			here, there := stream(t, d.agent, d.surrogate)
			say(t, there, "hello yourself")
			hear(t, here, "hello yourself")
		}
	})
}

func TestEachEndKnowsTheOther(t *testing.T) {
	both(t, func(t *testing.T, over Transport) {
		k := newKeys(t)
		at := listen(t, over, k.surrogate)
		p := meet(t, at, k.agent)
		here, there := stream(t, p.agent, p.surrogate)
		say(t, there, "hello")
		hear(t, here, "hello")
		if device, err := control.PeerDevice(p.surrogate.TLS()); device != k.device || err != nil {
			t.Errorf("the surrogate sees device %q, %v; want %q", device, err, k.device)
		}
		if p.agent.Remote() != at.Addr() || p.surrogate.Local().Port() != at.Addr().Port() {
			t.Errorf("the surrogate at %v is %v to itself and %v to the agent", at.Addr(), p.surrogate.Local(), p.agent.Remote())
		}
		if p.agent.Local().Port() != p.surrogate.Remote().Port() || p.surrogate.Remote().Addr() != loopback {
			t.Errorf("the agent at %v is seen at %v", p.agent.Local(), p.surrogate.Remote())
		}
		for _, c := range []Conn{p.agent, p.surrogate} {
			if c.Transport() != over {
				t.Errorf("the transport is %v, want %v", c.Transport(), over)
			}
			until(t, "RTT", func() bool { return c.RTT() > 0 && c.RTT() < time.Minute })
		}
	})
}

func TestOneDirectionEndsWithoutTheOther(t *testing.T) {
	both(t, func(t *testing.T, over Transport) {
		p := connect(t, over)
		here, there := stream(t, p.surrogate, p.agent)
		there.CloseWrite() // as an agent does that is sent a layout
		ends(t, here)
		content := make([]byte, 3<<20)
		for i := range content {
			content[i] = byte(rand.Uint32())
		}
		sent := make(chan error, 1)
		go func() {
			_, err := here.Write(content)
			sent <- errors.Join(err, here.CloseWrite())
		}()
		there.SetReadDeadline(time.Now().Add(patience))
		got, err := io.ReadAll(there)
		if err != nil || !bytes.Equal(got, content) {
			t.Fatalf("%d of %d bytes came: %v", len(got), len(content), err)
		}
		if err := <-sent; err != nil {
			t.Fatal(err)
		}
		ends(t, there)
		if _, err := here.Write([]byte("more")); err == nil {
			t.Error("something was written after the end")
		}
	})
}

// ends wants the end of what the other side writes.
func ends(t *testing.T, s Stream) {
	t.Helper()
	s.SetReadDeadline(time.Now().Add(patience))
	if n, err := s.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Fatalf("%d bytes and %v instead of the end", n, err)
	}
}

func TestAShortStreamMayEndBeforeItIsAccepted(t *testing.T) {
	both(t, func(t *testing.T, over Transport) {
		p := connect(t, over)
		for range 20 {
			here, err := p.surrogate.Open(soon(t))
			if err != nil {
				t.Fatal(err)
			}
			say(t, here, "short")
			if err := here.CloseWrite(); err != nil {
				t.Fatal(err)
			}
			there, err := p.agent.Accept(soon(t))
			if err != nil {
				t.Fatal(err)
			}
			hear(t, there, "short")
			ends(t, there)
			there.CloseWrite()
			ends(t, here)
		}
	})
}

func TestCancelEndsBothDirectionsAtBothEnds(t *testing.T) {
	both(t, func(t *testing.T, over Transport) {
		p := connect(t, over)
		here, there := stream(t, p.surrogate, p.agent)
		say(t, here, "unread")
		waiting := make(chan error, 4)
		for _, s := range []Stream{here, there} {
			go func() {
				for buf := make([]byte, 100); ; {
					if _, err := s.Read(buf); err != nil {
						waiting <- err
						return
					}
				}
			}()
		}
		here.Cancel()
		here.Cancel()
		for range 2 {
			if err := <-waiting; !errors.Is(err, ErrCancelled) {
				t.Errorf("who waited for bytes was told %v", err)
			}
		}
		for _, s := range []Stream{here, there} {
			if _, err := s.Write([]byte("more")); !errors.Is(err, ErrCancelled) {
				t.Errorf("who writes is told %v", err)
			}
		}
		stream(t, p.surrogate, p.agent) // the connection lives on
	})
}

func TestACancelledStreamCannotEndWell(t *testing.T) {
	both(t, func(t *testing.T, over Transport) {
		p := connect(t, over)
		for _, canceller := range []int{0, 1} {
			here, there := stream(t, p.surrogate, p.agent)
			[]Stream{here, there}[canceller].Cancel()
			here.SetReadDeadline(time.Now().Add(patience))
			if _, err := here.Read(make([]byte, 1)); !errors.Is(err, ErrCancelled) {
				t.Fatalf("who reads is told %v", err)
			}
			for range 2 {
				if err := here.CloseWrite(); !errors.Is(err, ErrCancelled) {
					t.Errorf("who ends it is told %v", err)
				}
			}
		}
	})
}

// A cancelled QUIC stream ends by two frames, which may come apart.
func TestWhoLearnedOfOneDirectionsEndCannotUseTheOther(t *testing.T) {
	p := connect(t, QUIC)
	for name, c := range map[string]struct {
		cancel func(s quicStream)
		learn  func(s Stream) error
	}{
		"who reads":  {func(s quicStream) { s.CancelWrite(cancelCode) }, func(s Stream) error { _, err := s.Read(make([]byte, 1)); return err }},
		"who writes": {func(s quicStream) { s.CancelRead(cancelCode) }, func(s Stream) error { _, err := s.Write(make([]byte, 1<<20)); return err }},
	} {
		here, there := stream(t, p.surrogate, p.agent)
		c.cancel(there.(quicStream))
		if err := c.learn(here); !errors.Is(err, ErrCancelled) {
			t.Fatalf("%s is told %v", name, err)
		}
		if _, err := here.Write([]byte("more")); !errors.Is(err, ErrCancelled) {
			t.Errorf("%s may write: %v", name, err)
		}
		if err := here.CloseWrite(); !errors.Is(err, ErrCancelled) {
			t.Errorf("%s may end it: %v", name, err)
		}
		if _, err := here.Read(make([]byte, 1)); !errors.Is(err, ErrCancelled) {
			t.Errorf("%s may read: %v", name, err)
		}
	}
}

func TestCancelFreesWhoWrites(t *testing.T) {
	both(t, func(t *testing.T, over Transport) {
		p := connect(t, over)
		for _, canceller := range []int{0, 1} {
			here, there := stream(t, p.surrogate, p.agent)
			told := make(chan error, 1)
			go func() {
				_, err := here.Write(make([]byte, 1<<20))
				told <- err
			}()
			select {
			case err := <-told:
				t.Fatalf("1 MiB that nobody reads was written: %v", err)
			case <-time.After(50 * time.Millisecond):
			}
			[]Stream{here, there}[canceller].Cancel()
			if err := <-told; !errors.Is(err, ErrCancelled) {
				t.Errorf("who writes was told %v", err)
			}
		}
	})
}

func TestCancelAfterOneEnd(t *testing.T) {
	both(t, func(t *testing.T, over Transport) {
		p := connect(t, over)
		here, there := stream(t, p.surrogate, p.agent)
		here.CloseWrite()
		ends(t, there)
		here.Cancel()
		until(t, "writing fails", func() bool {
			_, err := there.Write([]byte("x"))
			return errors.Is(err, ErrCancelled)
		})
		here, there = stream(t, p.surrogate, p.agent)
		here.CloseWrite()
		ends(t, there)
		there.Cancel()
		here.SetReadDeadline(time.Now().Add(patience))
		if _, err := here.Read(make([]byte, 1)); !errors.Is(err, ErrCancelled) {
			t.Errorf("who reads is told %v", err)
		}
		stream(t, p.surrogate, p.agent)
	})
}

func TestDeadlinesPassAndMayBeMoved(t *testing.T) {
	both(t, func(t *testing.T, over Transport) {
		p := connect(t, over)
		here, there := stream(t, p.agent, p.surrogate)
		here.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
		if _, err := here.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("reading ended with %v", err)
		}
		here.SetReadDeadline(time.Time{})
		told := make(chan error, 1)
		go func() {
			_, err := here.Read(make([]byte, 1))
			told <- err
		}()
		here.SetReadDeadline(time.Now()) // frees who waits already
		if err := <-told; !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("reading ended with %v", err)
		}
		say(t, there, "late")
		hear(t, here, "late")
		here.SetWriteDeadline(time.Now().Add(50 * time.Millisecond))
		if _, err := here.Write(make([]byte, 1<<20)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("writing ended with %v", err)
		}
	})
}

func TestCloseReachesTheOtherSide(t *testing.T) {
	both(t, func(t *testing.T, over Transport) {
		for _, closer := range []int{0, 1} {
			p := connect(t, over)
			told := make(chan error, 4)
			here, there := stream(t, p.agent, p.surrogate)
			for _, s := range []Stream{here, there} {
				go func() {
					_, err := s.Read(make([]byte, 1))
					told <- err
				}()
			}
			here, there = stream(t, p.surrogate, p.agent) // another: those above must have nothing to read
			for _, s := range []Stream{here, there} {
				go func() {
					_, err := s.Write(make([]byte, 1<<20))
					told <- err
				}()
			}
			accepting := make(chan error, 1)
			go func() {
				_, err := p.agent.Accept(context.Background())
				accepting <- err
			}()
			[]Conn{p.agent, p.surrogate}[closer].Close(3, "enough")
			closed(t, p.agent)
			closed(t, p.surrogate)
			for range 4 {
				if err := <-told; err == nil || err == io.EOF {
					t.Errorf("who used a stream was told %v", err)
				}
			}
			if err := <-accepting; err == nil {
				t.Error("a stream was accepted")
			}
			if _, err := p.agent.Open(soon(t)); err == nil {
				t.Error("a stream was opened")
			}
			p.agent.Close(0, "")
		}
	})
}

func TestThousandsOfStreamsOneAfterTheOther(t *testing.T) {
	both(t, func(t *testing.T, over Transport) {
		p := connect(t, over)
		const count = 3000
		served := make(chan error, 1)
		go func() {
			for i := range count {
				s, err := p.agent.Accept(context.Background())
				if err != nil {
					served <- err
					return
				}
				if i%3 == 0 {
					s.Cancel()
					continue
				}
				s.CloseWrite()
				s.SetReadDeadline(time.Now().Add(patience))
				b, err := io.ReadAll(s)
				if i%3 == 1 && (err != nil || string(b) != fmt.Sprint(i)) {
					served <- fmt.Errorf("stream %d: %q, %w", i, b, err)
					return
				}
				if err != nil {
					s.Cancel()
				}
			}
			served <- nil
		}()
		for i := range count {
			s, err := p.surrogate.Open(soon(t))
			if err != nil {
				t.Fatal(i, err)
			}
			if _, err := fmt.Fprint(s, i); err != nil && i%3 != 0 {
				t.Fatal(i, err)
			}
			if i%3 == 2 {
				s.Cancel()
				continue
			}
			if err := s.CloseWrite(); err != nil && i%3 != 0 {
				t.Fatal(i, err)
			}
			s.SetReadDeadline(time.Now().Add(patience))
			_, err = s.Read(make([]byte, 1))
			if err != io.EOF && i%3 != 0 {
				t.Fatal(i, err)
			}
			if err != io.EOF {
				s.Cancel()
			}
		}
		if err := <-served; err != nil {
			t.Fatal(err)
		}
		if c, ok := p.surrogate.(*tcpConn); ok {
			until(t, "no stream is left", func() bool { return c.mux.NumStreams() == 0 && len(c.out) == 0 && c.frames.cancelled() == 0 })
		}
	})
}

// cancelled is how many resets have not been answered.
func (f *frames) cancelled() int {
	f.state.Lock()
	defer f.state.Unlock()
	return len(f.resets)
}

func TestOpenWaitsWhileTheOtherSideAllowsNoMore(t *testing.T) {
	both(t, func(t *testing.T, over Transport) {
		p := connect(t, over)
		var here, there []Stream
		for range surrogateStreams {
			a, b := stream(t, p.surrogate, p.agent)
			here, there = append(here, a), append(there, b)
		}
		short, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
		defer cancel()
		if _, err := p.surrogate.Open(short); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("one stream too many: %v", err)
		}
		go there[3].Cancel()
		here[3].Cancel()
		stream(t, p.surrogate, p.agent)
		say(t, here[0], "still there")
		hear(t, there[0], "still there")
	})
}

func TestAStalledStreamDoesNotHoldUpOthers(t *testing.T) {
	both(t, func(t *testing.T, over Transport) {
		p := connect(t, over)
		session, control := stream(t, p.agent, p.surrogate)
		var stalled sync.WaitGroup
		defer stalled.Wait()
		for range 4 { // relayed peers whose device takes nothing off them
			s, _ := stream(t, p.surrogate, p.agent)
			defer s.Cancel()
			stalled.Go(func() { s.Write(make([]byte, 4<<20)) })
		}
		for range 50 {
			say(t, control, "assign")
			hear(t, session, "assign")
			say(t, session, "progress")
			hear(t, control, "progress")
		}
	})
}

func TestManyStreamsAtOnceKeepTheirBytes(t *testing.T) {
	both(t, func(t *testing.T, over Transport) {
		p := connect(t, over)
		var all sync.WaitGroup
		for i := range surrogateStreams {
			here, there := stream(t, p.surrogate, p.agent)
			content := bytes.Repeat([]byte{byte(i), 1, 2, 3, 5, 7, 11}, 40_000)
			all.Go(func() {
				here.Write(content)
				here.CloseWrite()
				io.Copy(io.Discard, here)
			})
			all.Go(func() {
				there.CloseWrite()
				there.SetReadDeadline(time.Now().Add(patience))
				if got, err := io.ReadAll(there); err != nil || !bytes.Equal(got, content) {
					t.Errorf("stream %d: %d of %d bytes, or others: %v", i, len(got), len(content), err)
				}
			})
		}
		all.Wait()
	})
}
