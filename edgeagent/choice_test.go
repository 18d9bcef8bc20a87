package edgeagent

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"simplebit/wire/link"
)

// dummy is a connection that nobody uses.
type dummy struct {
	link.Conn
	closed bool
}

func (d *dummy) Close(link.Code, string) { d.closed = true }

// fate is what becomes of dialling by one transport.
type fate struct {
	after time.Duration // 0: the dial lasts as long as it may
	err   error         // nil: it succeeds
}

var (
	errRefused = errors.New("connection refused")
	silence    = fate{}
)

// dialAttempt is dialling as far as a test can see it.
type dialAttempt struct {
	fate
	conn   dummy
	dialed time.Duration // since the beginning; negative: not at all
	ended  bool
	given  bool // it has returned the connection
}

func (a *dialAttempt) way(began time.Time) func(context.Context) (link.Conn, error) {
	a.dialed = -1
	return func(ctx context.Context) (link.Conn, error) {
		a.dialed = time.Since(began)
		defer func() { a.ended = true }()
		longest := a.after
		if longest == 0 {
			longest = silentTime
		}
		select {
		case <-time.After(longest):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		switch {
		case a.after == 0:
			return nil, context.DeadlineExceeded
		case a.err != nil:
			return nil, a.err
		}
		a.given = true
		return &a.conn, nil
	}
}

func TestQUICIsPreferredAndTCPIsThereInTime(t *testing.T) {
	const ms, never = time.Millisecond, time.Duration(-1)
	for name, c := range map[string]struct {
		haste
		quic, tcp fate
		noTCP     bool
		dialed    time.Duration // TCP
		after     time.Duration
		use       string
	}{
		"QUIC works":                          {hopeful, fate{80 * ms, nil}, silence, false, never, 80 * ms, "quic"},
		"QUIC works, which is news":           {doubtful, fate{80 * ms, nil}, silence, false, never, 80 * ms, "quic"},
		"one packet was lost":                 {hopeful, fate{380 * ms, nil}, silence, false, never, 380 * ms, "quic"},
		"nothing is heard":                    {hopeful, silence, fate{60 * ms, nil}, false, time.Second, 1500 * ms, "tcp"},
		"nothing is heard once more":          {doubtful, silence, fate{60 * ms, nil}, false, 200 * ms, 700 * ms, "tcp"},
		"QUIC is slow, TCP is ready first":    {hopeful, fate{1400 * ms, nil}, fate{60 * ms, nil}, false, time.Second, 1400 * ms, "quic"},
		"QUIC is slower than it may be":       {hopeful, fate{1600 * ms, nil}, fate{60 * ms, nil}, false, time.Second, 1500 * ms, "tcp"},
		"both are slow, QUIC is first":        {hopeful, fate{2400 * ms, nil}, fate{1500 * ms, nil}, false, time.Second, 2400 * ms, "quic"},
		"both are slow, TCP is first":         {hopeful, fate{4 * time.Second, nil}, fate{1500 * ms, nil}, false, time.Second, 2500 * ms, "tcp"},
		"an ICMP message refuses QUIC":        {hopeful, fate{20 * ms, errRefused}, fate{60 * ms, nil}, false, 20 * ms, 80 * ms, "tcp"},
		"QUIC is refused while TCP is ready":  {hopeful, fate{1200 * ms, errRefused}, fate{60 * ms, nil}, false, time.Second, 1200 * ms, "tcp"},
		"TCP is refused, QUIC is slow":        {hopeful, fate{3 * time.Second, nil}, fate{20 * ms, errRefused}, false, time.Second, 3 * time.Second, "quic"},
		"TCP is refused, QUIC is silent":      {hopeful, silence, fate{20 * ms, errRefused}, false, time.Second, silentTime, ""},
		"both are refused":                    {hopeful, fate{20 * ms, errRefused}, fate{20 * ms, errRefused}, false, 20 * ms, 40 * ms, ""},
		"both are silent":                     {hopeful, silence, silence, false, time.Second, time.Second + silentTime, ""},
		"there is no TCP, and QUIC is slow":   {doubtful, fate{4 * time.Second, nil}, silence, true, never, 4 * time.Second, "quic"},
		"there is no TCP, and QUIC is silent": {doubtful, silence, silence, true, never, silentTime, ""},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				quic, tcp := dialAttempt{fate: c.quic}, dialAttempt{fate: c.tcp}
				w := ways{link.QUIC: quic.way(began), link.TCP: tcp.way(began)}
				if c.noTCP {
					w[link.TCP] = nil
				}
				got, why := w.choose(t.Context(), c.haste)
				if took := time.Since(began); took != c.after {
					t.Errorf("chosen after %v, want %v", took, c.after)
				}
				if tcp.dialed != c.dialed {
					t.Errorf("TCP is dialled after %v, want %v", tcp.dialed, c.dialed)
				}
				if !quic.ended || tcp.dialed >= 0 && !tcp.ended {
					t.Error("a dial is left behind")
				}
				switch want := map[string]link.Conn{"quic": &quic.conn, "tcp": &tcp.conn, "": nil}[c.use]; {
				case got != want:
					t.Errorf("chosen %v, want %q", got, c.use)
				case want == nil && (why[link.QUIC] == nil || (why[link.TCP] == nil) != c.noTCP):
					t.Errorf("the reasons are %v", why)
				}
				for _, a := range []*dialAttempt{&quic, &tcp} {
					if unused := a.given && got != link.Conn(&a.conn); a.conn.closed != unused {
						t.Errorf("a connection that is closed: %v, and unused: %v", a.conn.closed, unused)
					}
				}
			})
		})
	}
}

// TCP takes a round trip to connect and one for TLS, and the Welcome one more.
func TestTheChoiceIsMadeWithinThreeSeconds(t *testing.T) {
	for rtt := 20 * time.Millisecond; rtt <= 100*time.Millisecond; rtt += 20 * time.Millisecond {
		for _, h := range []haste{hopeful, doubtful} {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				quic, tcp := dialAttempt{fate: silence}, dialAttempt{fate: fate{2 * rtt, nil}}
				got, _ := ways{quic.way(began), tcp.way(began)}.choose(t.Context(), h)
				if took := time.Since(began) + rtt; got != link.Conn(&tcp.conn) || took > 3*time.Second {
					t.Errorf("%v of round trip: %v after %v", rtt, got, took)
				}
			})
		}
	}
}

func TestAConnectionThatComesTooLateIsClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		late, tcp := &dummy{}, &dummy{}
		w := ways{
			func(ctx context.Context) (link.Conn, error) {
				<-ctx.Done() // and yet
				return late, nil
			},
			func(context.Context) (link.Conn, error) { return tcp, nil },
		}
		if got, _ := w.choose(t.Context(), hopeful); got != link.Conn(tcp) || tcp.closed || !late.closed {
			t.Errorf("chosen %v; closed: %v, the late one: %v", got, tcp.closed, late.closed)
		}
	})
}

func TestAChoiceEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 1200*time.Millisecond)
		defer cancel()
		quic, tcp := dialAttempt{fate: silence}, dialAttempt{fate: silence}
		got, why := ways{quic.way(began), tcp.way(began)}.choose(ctx, hopeful)
		if got != nil || time.Since(began) != 1200*time.Millisecond || !errors.Is(why[link.TCP], context.DeadlineExceeded) {
			t.Errorf("%v, %v after %v", got, why, time.Since(began))
		}
	})
}
