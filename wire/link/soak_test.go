package link

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"testing"
	"time"
)

// TestStreamsThatEndInAnyWayLeaveNothing has both sides end many streams at once at random moments, and in random ways.
func TestStreamsThatEndInAnyWayLeaveNothing(t *testing.T) {
	both(t, func(t *testing.T, over Transport) {
		p := connect(t, over)
		var all sync.WaitGroup
		ctx, stop := context.WithCancel(context.Background())
		all.Go(func() {
			for {
				s, err := p.agent.Accept(ctx)
				if err != nil {
					return
				}
				all.Go(func() {
					if err := use(s); err != nil {
						t.Error(err)
					}
				})
			}
		})
		var opening sync.WaitGroup
		for range surrogateStreams + 2 {
			opening.Go(func() {
				for range 60 {
					s, err := p.surrogate.Open(soon(t))
					if err != nil {
						t.Error(err)
						return
					}
					if err := use(s); err != nil {
						t.Error(err)
					}
				}
			})
		}
		opening.Wait()
		stop()
		all.Wait()
		if c, ok := p.surrogate.(*tcpConn); ok {
			until(t, "no stream is left", func() bool { return c.mux.NumStreams() == 0 && len(c.out) == 0 && c.frames.cancelled() == 0 })
		}
		for { // as many as there may be can have been cancelled unaccepted, and would leave no room for one more
			ctx, stop := context.WithTimeout(context.Background(), 100*time.Millisecond)
			there, err := p.agent.Accept(ctx)
			stop()
			if err != nil {
				break
			}
			there.Cancel()
		}
		here, err := p.surrogate.Open(soon(t))
		if err != nil {
			t.Fatal(err)
		}
		defer here.Cancel()
		say(t, here, "still there")
		for { // after those that were cancelled unaccepted
			there, err := p.agent.Accept(soon(t))
			if err != nil {
				t.Fatal(err)
			}
			defer there.Cancel()
			there.SetReadDeadline(time.Now().Add(patience))
			got := make([]byte, 11)
			if n, err := io.ReadFull(there, got); string(got) == "still there" {
				return
			} else if !errors.Is(err, ErrCancelled) && bytes.Count(got[:n], []byte{42}) != n {
				t.Fatalf("%q, %v", got, err)
			}
		}
	})
}

// use writes and reads some of a stream, and ends it in one way or another. What it reads is what was written.
func use(s Stream) error {
	var writing sync.WaitGroup
	defer writing.Wait()
	block := bytes.Repeat([]byte{42}, 1+rand.IntN(20_000))
	end := rand.IntN(4)
	writing.Go(func() {
		for range rand.IntN(4) + 1 {
			if _, err := s.Write(block); err != nil {
				return
			}
		}
		if end == 0 {
			s.Cancel()
			return
		}
		s.CloseWrite()
	})
	s.SetReadDeadline(time.Now().Add(patience))
	for buf, left := make([]byte, 5000), rand.IntN(60_000); ; {
		n, err := s.Read(buf)
		for _, b := range buf[:n] {
			if b != 42 {
				return errors.New("other bytes came than were written")
			}
		}
		if left -= n; end == 1 && left < 0 || err != nil && err != io.EOF {
			s.Cancel()
			return allowed(err)
		}
		if err != nil {
			return nil
		}
	}
}

func allowed(err error) error {
	if err == nil || err == io.EOF || errors.Is(err, ErrCancelled) {
		return nil
	}
	return fmt.Errorf("a stream ended with %w", err)
}
