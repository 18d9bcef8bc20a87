package edgeagent

import (
	"context"
	"errors"
	"time"

	"github.com/quic-go/quic-go"

	"simplebit/wire/control"
	"simplebit/wire/link"
)

// haste is when the second way to the surrogate is tried, and when it is used. All is counted from the beginning of dialling.
type haste struct {
	tcp  time.Duration // TCP is dialled then, unless there is a Welcome by QUIC; at once when QUIC has failed
	quic time.Duration // until then TCP, once connected, waits for QUIC, which is preferred; see choice.due
}

// QUIC sends its first packet again after some 0.3, 0.9 and 2.1 s.
var (
	hopeful  = haste{time.Second, 1500 * time.Millisecond}
	doubtful = haste{200 * time.Millisecond, 700 * time.Millisecond} // UDP did not work the last time
)

// How long TCP waits besides, where the way is long. With a round trip of t QUIC has its Welcome after 2 t, after 3 t where the
// surrogate has it prove its address; TCP is connected after 2 t.
const (
	perConnect  = 3                       // times what TCP took to connect, if that is more than haste.quic
	welcomeSoon = 1500 * time.Millisecond // from QUIC's handshake to Welcome
	waitMost    = 2700 * time.Millisecond // in all, so that Welcome comes by TCP within 3 s where a round trip takes 0.3 s
)

// progress is how far a transport has come.
type progress uint8

const (
	idle     progress = iota // it is not dialled, and for TCP may never be
	dialling                 // until the handshakes are done
	ready                    // connected, and nothing was said
	asked                    // Hello was sent
	welcomed                 // Welcome has come
	rejected                 // the surrogate does not want the device: it is no use to try another way
	failed
)

// choice is between two transports to the surrogate, of which one is to be used. A transport is of use when Welcome has come by
// it: where handshakes get through, the rest need not. QUIC says Hello as soon as it is connected, TCP when QUIC has had its
// time. Both may have said it then; the surrogate goes on with the one on which the device does. It has no clock and does no I/O.
type choice struct {
	haste
	began  time.Time
	both   bool // there is a way by TCP
	at     [2]progress
	dialed [2]time.Time
	came   [2]time.Time // the end of its handshakes
}

// step is what there is to do.
type step uint8

const (
	wait      step = iota
	dialTCP        // and ask again, as after the next two
	greetQUIC      // say Hello, and wait for Welcome
	greetTCP
	useQUIC
	useTCP
	giveUp
)

// set notes how far a transport has come.
func (c *choice) set(now time.Time, by link.Transport, p progress) {
	switch c.at[by] = p; p {
	case dialling:
		c.dialed[by] = now
	case ready:
		c.came[by] = now
	}
}

// next says what to do now, and when to ask again if nothing happens; zero: never.
func (c *choice) next(now time.Time) (step, time.Time) {
	quic, tcp := c.at[link.QUIC], c.at[link.TCP]
	switch {
	case quic == welcomed:
		return useQUIC, time.Time{}
	case tcp == welcomed:
		return useTCP, time.Time{}
	case quic == rejected, tcp == rejected:
		return giveUp, time.Time{}
	case quic == ready:
		return greetQUIC, time.Time{}
	case tcp == idle && c.both:
		return c.once(now, c.tcp, dialTCP)
	case tcp == ready:
		return c.once(now, c.due(), greetTCP)
	case quic == failed && tcp != dialling && tcp != asked:
		return giveUp, time.Time{}
	}
	return wait, time.Time{}
}

// due is how long QUIC has for its Welcome, where TCP is connected.
func (c *choice) due() time.Duration {
	d := max(c.quic, perConnect*c.came[link.TCP].Sub(c.dialed[link.TCP]))
	if c.at[link.QUIC] == asked {
		d = max(d, c.came[link.QUIC].Sub(c.began)+welcomeSoon)
	}
	return min(d, waitMost)
}

// once is what to do after so long, or at once where QUIC is no use.
func (c *choice) once(now time.Time, after time.Duration, do step) (step, time.Time) {
	if due := c.began.Add(after); c.at[link.QUIC] != failed && now.Before(due) {
		return wait, due
	}
	return do, time.Time{}
}

// line is a connection with the surrogate.
type line interface {
	comparable
	greet(context.Context) error // says Hello, and waits for Welcome
	close()                      // also ends greet
}

// ways are how to dial by each transport, which ends soon when the context does; nil: there is none.
type ways[L line] [2]func(context.Context) (L, error)

// news is what came of dialling by one transport, or of saying Hello.
type news[L line] struct {
	by    link.Transport
	line  L
	state progress
	err   error
}

// dial connects by a transport.
func (w ways[L]) dial(ctx context.Context, by link.Transport) news[L] {
	l, err := w[by](ctx)
	if err != nil {
		return news[L]{by: by, state: failed, err: err}
	}
	return news[L]{by, l, ready, nil}
}

// greet says Hello on a connection, which ctx closes until Welcome has come.
func greet[L line](ctx context.Context, by link.Transport, l L) news[L] {
	said := make(chan error, 1)
	go func() { said <- l.greet(ctx) }()
	var err error
	select {
	case err = <-said:
	case <-ctx.Done():
		l.close()
		<-said
		err = ctx.Err()
	}
	switch {
	case err == nil:
		return news[L]{by, l, welcomed, nil}
	case declined(err):
		return news[L]{by, l, rejected, err}
	}
	return news[L]{by, l, failed, err}
}

// declined reports whether the surrogate has said no, which it would by any way.
func declined(err error) bool {
	app := (*quic.ApplicationError)(nil)
	return errors.As(err, new(control.Refused)) || errors.As(err, &app) && app.Remote
}

// choose dials and says hello, and returns the connection that is to be used, after Welcome; or why each transport has none, nil
// where that was not needed. What is not used is closed.
func (w ways[L]) choose(ctx context.Context, h haste) (chosen L, why [2]error) {
	ctx, cancel := context.WithCancel(ctx)
	c := choice{haste: h, began: time.Now(), both: w[link.TCP] != nil}
	results, underway := make(chan news[L]), 0
	run := func(by link.Transport, as progress, f func() news[L]) {
		c.set(time.Now(), by, as)
		underway++
		go func() { results <- f() }()
	}
	dial := func(by link.Transport) { run(by, dialling, func() news[L] { return w.dial(ctx, by) }) }
	var lines [2]L
	take := func(n news[L]) {
		underway--
		c.set(time.Now(), n.by, n.state)
		lines[n.by], why[n.by] = n.line, n.err
	}
	var none L
	defer func() {
		cancel()
		for underway > 0 {
			take(<-results)
		}
		for _, l := range lines {
			if l != none && l != chosen {
				l.close()
			}
		}
	}()
	if c.at[link.QUIC] = failed; w[link.QUIC] != nil {
		dial(link.QUIC)
	}
	for {
		do, at := c.next(time.Now())
		switch do {
		case dialTCP:
			dial(link.TCP)
			continue
		case greetQUIC:
			run(link.QUIC, asked, func() news[L] { return greet(ctx, link.QUIC, lines[link.QUIC]) })
			continue
		case greetTCP:
			run(link.TCP, asked, func() news[L] { return greet(ctx, link.TCP, lines[link.TCP]) })
			continue
		case useQUIC:
			return lines[link.QUIC], why
		case useTCP:
			return lines[link.TCP], why
		case giveUp:
			return none, why
		}
		var later <-chan time.Time
		if !at.IsZero() {
			later = time.After(time.Until(at))
		}
		select {
		case n := <-results:
			take(n)
		case <-later:
		}
	}
}
