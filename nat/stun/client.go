package stun

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/netip"
	"sync"
	"time"
)

// Sender sends one datagram without waiting and without keeping it, when size is 0. *udpmux.Socket is one.
type Sender interface {
	Send(to netip.AddrPort, data []byte, size int) error
}

// MaxQuestions is the most questions that a client has open at once.
const MaxQuestions = 64

// Client asks STUN servers through one socket. Its methods may be called by any goroutine.
type Client struct {
	socket  Sender
	profile Profile

	mu   sync.Mutex
	open map[id]*pending
}

// pending is a question whose asker waits. The client's lock guards the transaction.
type pending struct {
	*transaction
	answer chan answer // holds one
}

type answer struct {
	result Result
	err    error
}

// NewClient makes a client that sends by the socket. The zero Profile is Standard; one that makes no sense panics.
func NewClient(socket Sender, p Profile) *Client {
	if p == (Profile{}) {
		p = Standard
	}
	if err := p.check(); err != nil {
		panic(err)
	}
	return &Client{socket: socket, profile: p, open: make(map[id]*pending)}
}

// Binding asks the server at an address and waits for the answer. It fails with an error that wraps ErrNoAnswer when the
// profile's time is up, with an *ErrorResponse, with the cause of ctx's end, with the socket's error, or at once when
// the options make no sense or MaxQuestions are open.
func (c *Client) Binding(ctx context.Context, to netip.AddrPort, o Options) (Result, error) {
	var transactionID id
	rand.Read(transactionID[:])
	t, err := newTransaction(time.Now(), transactionID, to, o, c.profile)
	if err != nil {
		return Result{}, err
	}
	socket := c.socket
	if o.Via != nil {
		socket = o.Via
	}
	p := &pending{t, make(chan answer, 1)}
	if err := c.add(p); err != nil {
		return Result{}, err
	}
	defer c.remove(p)
	for {
		question, wake, err := c.poll(p)
		if err != nil {
			select {
			case a := <-p.answer: // in the last moment
				return a.result, a.err
			default:
				return Result{}, err
			}
		}
		if question != nil {
			if err := socket.Send(t.to, question, 0); err != nil {
				return Result{}, fmt.Errorf("ask STUN server %s: %w", t.to, err)
			}
		}
		timer := time.NewTimer(time.Until(wake))
		select {
		case a := <-p.answer:
			timer.Stop()
			return a.result, a.err
		case <-ctx.Done():
			timer.Stop()
			return Result{}, fmt.Errorf("STUN server %s: %w", t.to, context.Cause(ctx))
		case <-timer.C:
		}
	}
}

// Receive takes a datagram that arrived, and says whether it answered an open question. It does not wait and keeps
// nothing of b.
func (c *Client) Receive(now time.Time, from netip.AddrPort, b []byte) bool {
	if len(b) < headerSize {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.open[id(b[8:headerSize])]
	if p == nil {
		return false
	}
	r, err, ok := p.receive(now, from, b)
	if ok {
		delete(c.open, p.id) // so the channel has room
		p.answer <- answer{r, err}
	}
	return ok
}

func (c *Client) add(p *pending) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.open) >= MaxQuestions {
		return fmt.Errorf("ask STUN server %s: %d questions are open: wait for one", p.to, len(c.open))
	}
	c.open[p.id] = p
	return nil
}

func (c *Client) remove(p *pending) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.open, p.id)
}

func (c *Client) poll(p *pending) (question []byte, wake time.Time, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	question, err = p.poll(time.Now())
	return question, p.wake(), err
}
