package stun

import (
	"bytes"
	"context"
	"errors"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

var asked = netip.MustParseAddrPort("192.0.2.1:3478")

// wire is a server's network without one: what a client sends is answered 20 ms later, as often as is not lost.
type wire struct {
	server *Server
	client *Client
	mu     sync.Mutex
	lose   int // datagrams, from the first on
	sent   int
}

func newWire(t *testing.T, p Profile) *wire {
	w := &wire{server: server(t, Config{Endpoints: grid("192.0.2.1", "192.0.2.2")})}
	w.client = NewClient(w, p)
	return w
}

func (w *wire) Send(to netip.AddrPort, b []byte, _ int) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.sent++; w.sent <= w.lose {
		return nil
	}
	for i, e := range w.server.endpoints {
		if e.Addr == to {
			r := w.server.Respond(time.Now(), i, stranger, b)
			time.AfterFunc(20*time.Millisecond, func() {
				w.client.Receive(time.Now(), w.server.endpoints[r.Via].Addr, r.Message)
			})
		}
	}
	return nil
}

func (c *Client) questions() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.open)
}

func TestClientLearnsItsAddressDespiteLoss(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWire(t, Profile{})
		w.lose = 2
		began := time.Now()
		r, err := w.client.Binding(t.Context(), asked, Options{})
		want := Result{Mapped: stranger, Other: w.server.endpoints[3].Addr, Origin: asked, RTT: 20 * time.Millisecond, Sent: 3}
		if err != nil || r != want {
			t.Errorf("%+v, %v; not %+v", r, err, want)
		}
		if d := time.Since(began); d != 1520*time.Millisecond {
			t.Errorf("it took %s", d)
		}
	})
}

func TestClientAsksForAnotherAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWire(t, Quick)
		r, err := w.client.Binding(t.Context(), asked, Options{ChangeIP: true, ChangePort: true, Other: w.server.endpoints[3].Addr})
		if err != nil || r.Origin != w.server.endpoints[3].Addr || r.Mapped != stranger {
			t.Errorf("%+v, %v", r, err)
		}
	})
}

func TestClientHearsFromWhoWasAskedThatNobodyElseCanAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, other := server(t, Config{Endpoints: []Endpoint{{Addr: asked}}}), netip.MustParseAddrPort("192.0.2.9:3479")
		var c *Client
		c = NewClient(senderFunc(func(_ netip.AddrPort, b []byte) error {
			r := bytes.Clone(s.Respond(time.Now(), 0, stranger, b).Message)
			go func() {
				if c.Receive(time.Now(), netip.AddrPortFrom(asked.Addr(), other.Port()), r) {
					t.Error("a third party's refusal is believed")
				}
				c.Receive(time.Now(), asked, r)
			}()
			return nil
		}), Quick)
		_, err := c.Binding(t.Context(), asked, Options{ChangeIP: true, ChangePort: true, Other: other})
		if e := (*ErrorResponse)(nil); !errors.As(err, &e) || e.Code != 420 {
			t.Error(err)
		}
	})
}

func TestClientGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWire(t, Quick)
		w.lose = 1000
		began := time.Now()
		_, err := w.client.Binding(t.Context(), asked, Options{})
		if !errors.Is(err, ErrNoAnswer) || !strings.Contains(err.Error(), "192.0.2.1:3478") {
			t.Error(err)
		}
		if d := time.Since(began); d != 2100*time.Millisecond || w.sent != Quick.Tries {
			t.Errorf("%d requests in %s", w.sent, d)
		}
		if w.client.questions() != 0 {
			t.Error("the question is remembered")
		}
	})
}

func TestClientStopsWhenItsContextEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWire(t, Standard)
		w.lose = 1000
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		_, err := w.client.Binding(ctx, asked, Options{})
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != time.Second || w.client.questions() != 0 {
			t.Errorf("%v after %s", err, time.Since(began))
		}
	})
}

func TestClientTellsWhyItCannotSend(t *testing.T) {
	broken := errors.New("no route")
	c := NewClient(senderFunc(func(netip.AddrPort, []byte) error { return broken }), Quick)
	if _, err := c.Binding(t.Context(), asked, Options{}); !errors.Is(err, broken) {
		t.Error(err)
	}
	if _, err := c.Binding(t.Context(), netip.AddrPort{}, Options{}); err == nil {
		t.Error("nobody was asked, and no error")
	}
	if _, err := c.Binding(t.Context(), asked, Options{ChangeIP: true}); err == nil {
		t.Error("anybody may answer")
	}
}

func TestQuestionsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWire(t, Quick)
		w.lose = 1 << 30
		var g sync.WaitGroup
		for range MaxQuestions {
			g.Go(func() { w.client.Binding(t.Context(), asked, Options{}) })
		}
		synctest.Wait()
		if _, err := w.client.Binding(t.Context(), asked, Options{}); err == nil || errors.Is(err, ErrNoAnswer) {
			t.Errorf("one question more than %d: %v", MaxQuestions, err)
		}
		g.Wait()
		w.sent, w.lose = 0, 0
		if _, err := w.client.Binding(t.Context(), asked, Options{}); err != nil {
			t.Errorf("later: %v", err)
		}
	})
}

// A question that goes out by one socket can be answered to another: so it is found out whether a mapping still exists.
func TestAnswerToAnotherPortIsHeardThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWire(t, Quick)
		var sent [][]byte
		via := senderFunc(func(to netip.AddrPort, b []byte) error {
			sent = append(sent, b)
			r := w.server.Respond(time.Now(), 0, netip.MustParseAddrPort("203.0.113.9:5555"), b)
			if r.To != stranger {
				t.Errorf("the answer goes to %s", r.To)
			}
			go w.client.Receive(time.Now(), asked, r.Message)
			return nil
		})
		r, err := w.client.Binding(t.Context(), asked, Options{ResponsePort: stranger.Port(), Via: via})
		if err != nil || r.Mapped.Port() != 5555 || len(sent) != 1 || w.sent != 0 {
			t.Errorf("%+v, %v", r, err)
		}
	})
}

func TestForgedAnswersChangeNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWire(t, Quick)
		w.lose = 1
		done := make(chan Result)
		go func() {
			r, err := w.client.Binding(t.Context(), asked, Options{})
			if err != nil {
				t.Error(err)
			}
			done <- r
		}()
		synctest.Wait()
		// Somebody who knows the time and the server, but not the 96 bits, tries a hundred thousand times.
		for i := range 100_000 {
			guess := id{byte(i), byte(i >> 8), byte(i >> 16), 9}
			r := w.server.Respond(time.Now(), 0, netip.MustParseAddrPort("198.51.100.66:666"), question(guess, Options{}))
			if w.client.Receive(time.Now(), asked, r.Message) {
				t.Fatal("a forged answer is believed")
			}
		}
		if n := w.client.questions(); n != 1 {
			t.Errorf("%d questions are open, not 1", n)
		}
		if r := <-done; r.Mapped != stranger {
			t.Errorf("%+v", r)
		}
	})
}

func TestSecondAnswerIsNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c *Client
		s := server(t, Config{Endpoints: grid("192.0.2.1")})
		c = NewClient(senderFunc(func(_ netip.AddrPort, b []byte) error {
			r := s.Respond(time.Now(), 0, stranger, b)
			go func() {
				if !c.Receive(time.Now(), asked, r.Message) || c.Receive(time.Now(), asked, r.Message) {
					t.Error("not exactly the first answer is taken")
				}
			}()
			return nil
		}), Quick)
		if _, err := c.Binding(t.Context(), asked, Options{}); err != nil {
			t.Error(err)
		}
	})
}

func TestProfileThatMakesNoSensePanics(t *testing.T) {
	for _, p := range []Profile{{First: 1}, {First: 2, Longest: 1, Last: 1, Tries: 1}, {First: 1, Longest: 1, Last: 1, Tries: 17}} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%+v", p)
				}
			}()
			NewClient(nil, p)
		}()
	}
}
