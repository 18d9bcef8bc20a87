package edgeagent

import (
	"context"
	"time"

	"simplebit/wire/link"
)

// haste is when the second way to the surrogate is tried, and when it is used. All is counted from the beginning of dialling.
type haste struct {
	tcp  time.Duration // TCP is dialled then, unless QUIC is connected; at once when QUIC has failed
	quic time.Duration // until then TCP, once connected, waits for QUIC, which is preferred
}

// QUIC sends its first packet again after some 0.3, 0.9 and 2.1 s.
var (
	hopeful  = haste{time.Second, 1500 * time.Millisecond}
	doubtful = haste{200 * time.Millisecond, 700 * time.Millisecond} // UDP did not work the last time
)

// progress is how far a transport has come.
type progress uint8

const (
	idle progress = iota // it is not dialled, and for TCP may never be
	dialling
	ready
	failed
)

// choice is between two transports to the surrogate, of which one is to be used. It has no clock and does no I/O.
type choice struct {
	haste
	began time.Time
	both  bool // there is a way by TCP
	at    [2]progress
}

// step is what there is to do.
type step uint8

const (
	wait    step = iota
	dialTCP      // and ask again
	useQUIC
	useTCP
	giveUp
)

// next says what to do now, and when to ask again if nothing happens; zero: never.
func (c *choice) next(now time.Time) (step, time.Time) {
	tcp := c.at[link.TCP]
	switch {
	case c.at[link.QUIC] == ready:
		return useQUIC, time.Time{}
	case tcp == idle && c.both:
		return c.once(now, c.tcp, dialTCP)
	case tcp == ready:
		return c.once(now, c.quic, useTCP)
	case c.at[link.QUIC] == failed && tcp != dialling:
		return giveUp, time.Time{}
	}
	return wait, time.Time{}
}

// once is what to do after so long, or at once where QUIC is no use.
func (c *choice) once(now time.Time, after time.Duration, do step) (step, time.Time) {
	if due := c.began.Add(after); c.at[link.QUIC] != failed && now.Before(due) {
		return wait, due
	}
	return do, time.Time{}
}

// ways are how to dial by each transport, which ends soon when the context does; nil for TCP: there is none.
type ways [2]func(context.Context) (link.Conn, error)

// connected is what came of one way.
type connected struct {
	by   link.Transport
	conn link.Conn
	err  error
}

// choose dials, and returns the connection that is to be used, or why each transport has none; nil: it was not needed. What is
// not used is closed.
func (w ways) choose(ctx context.Context, h haste) (chosen link.Conn, why [2]error) {
	ctx, cancel := context.WithCancel(ctx)
	c := choice{haste: h, began: time.Now(), both: w[link.TCP] != nil}
	results, underway := make(chan connected), 0
	dial := func(by link.Transport) {
		c.at[by] = dialling
		underway++
		go func() {
			conn, err := w[by](ctx)
			results <- connected{by, conn, err}
		}()
	}
	var conns [2]link.Conn
	take := func(r connected) {
		underway--
		c.at[r.by], conns[r.by], why[r.by] = ready, r.conn, r.err
		if r.err != nil {
			c.at[r.by] = failed
		}
	}
	defer func() {
		cancel()
		for underway > 0 {
			take(<-results)
		}
		for _, conn := range conns {
			if conn != nil && conn != chosen {
				conn.Close(0, "")
			}
		}
	}()
	dial(link.QUIC)
	for {
		do, at := c.next(time.Now())
		switch do {
		case dialTCP:
			dial(link.TCP)
			continue
		case useQUIC:
			return conns[link.QUIC], why
		case useTCP:
			return conns[link.TCP], why
		case giveUp:
			return nil, why
		}
		var later <-chan time.Time
		if !at.IsZero() {
			later = time.After(time.Until(at))
		}
		select {
		case r := <-results:
			take(r)
		case <-later:
		}
	}
}
