package edgeagent

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quic-go/quic-go"

	"simplebit/wire/control"
	"simplebit/wire/link"
)

// fate is what becomes of dialling by one transport, or of Hello.
type fate struct {
	after time.Duration // 0: it lasts as long as it may
	err   error         // nil: it succeeds
}

const ms = time.Millisecond

var (
	errRefused = errors.New("connection refused")
	silence    = fate{}
)

// come waits for it.
func (f fate) come(ctx context.Context) error {
	longest := f.after
	if longest == 0 {
		longest = silentTime
	}
	select {
	case <-time.After(longest):
	case <-ctx.Done():
		return ctx.Err()
	}
	if f.after == 0 {
		return context.DeadlineExceeded
	}
	return f.err
}

// dialAttempt is what is done by one transport, as far as a test can see it, and the connection.
type dialAttempt struct {
	fate
	hello  fate // 0: Welcome comes at once, unless mute
	mute   bool // it never comes
	began  time.Time
	dialed time.Duration // since then; negative: not at all
	asked  time.Duration // when Hello was sent, likewise
	ended  bool
	given  bool // it has returned the connection
	closed bool
}

func (a *dialAttempt) way() func(context.Context) (*dialAttempt, error) {
	a.began, a.dialed, a.asked = time.Now(), -1, -1
	return func(ctx context.Context) (*dialAttempt, error) {
		a.dialed = time.Since(a.began)
		defer func() { a.ended = true }()
		if err := a.come(ctx); err != nil {
			return nil, err
		}
		a.given = true
		return a, nil
	}
}

func (a *dialAttempt) greet(ctx context.Context) error {
	a.asked = time.Since(a.began)
	switch {
	case a.mute:
		<-ctx.Done()
		return ctx.Err()
	case a.hello == silence:
		return nil
	}
	return a.hello.come(ctx)
}

func (a *dialAttempt) close() { a.closed = true }

func TestQUICIsPreferredAndTCPIsThereInTime(t *testing.T) {
	const never = time.Duration(-1)
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
		"QUIC comes within the longest wait":  {hopeful, fate{2600 * ms, nil}, fate{1500 * ms, nil}, false, time.Second, 2600 * ms, "quic"},
		"both are slow, TCP is first":         {hopeful, fate{4 * time.Second, nil}, fate{1500 * ms, nil}, false, time.Second, waitMost, "tcp"},
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
				w := ways[*dialAttempt]{link.QUIC: quic.way(), link.TCP: tcp.way()}
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
				switch want := map[string]*dialAttempt{"quic": &quic, "tcp": &tcp, "": nil}[c.use]; {
				case got != want:
					t.Errorf("chosen %v, want %q", got, c.use)
				case want == nil && (why[link.QUIC] == nil || (why[link.TCP] == nil) != c.noTCP):
					t.Errorf("the reasons are %v", why)
				}
				for _, a := range []*dialAttempt{&quic, &tcp} {
					if unused := a.given && got != a; a.closed != unused {
						t.Errorf("a connection that is closed: %v, and unused: %v", a.closed, unused)
					}
				}
			})
		})
	}
}

// roundTrips is a way to the surrogate of so long a round trip, where the surrogate may have an address proved. QUIC shakes hands in a
// round trip, TCP with TLS in two; Welcome takes one more.
func roundTrips(rtt time.Duration, proof bool) (quic, tcp dialAttempt) {
	quic = dialAttempt{fate: fate{rtt, nil}, hello: fate{rtt, nil}}
	if proof {
		quic.after += rtt
	}
	return quic, dialAttempt{fate: fate{2 * rtt, nil}, hello: fate{rtt, nil}}
}

// choose has the choice made, and returns when.
func choose(ctx context.Context, h haste, quic, tcp *dialAttempt) (*dialAttempt, [2]error, time.Duration) {
	began := time.Now()
	got, why := ways[*dialAttempt]{quic.way(), tcp.way()}.choose(ctx, h)
	return got, why, time.Since(began)
}

func TestTheChoiceIsMadeWithinThreeSeconds(t *testing.T) {
	for rtt := 20 * ms; rtt <= 300*ms; rtt += 20 * ms {
		for _, h := range []haste{hopeful, doubtful} {
			for name, dead := range map[string]func(*dialAttempt){
				"nothing is heard":                     func(quic *dialAttempt) { quic.fate = silence },
				"handshakes get through":               func(quic *dialAttempt) { quic.mute = true },
				"handshakes get through late":          func(quic *dialAttempt) { quic.mute, quic.after = true, 1400*ms },
				"the connection is lost before that":   func(quic *dialAttempt) { quic.hello = fate{rtt, errRefused} },
				"the connection is lost a bit later":   func(quic *dialAttempt) { quic.hello = fate{2 * time.Second, errRefused} },
				"handshakes get through, very late":    func(quic *dialAttempt) { quic.mute, quic.after = true, 2600*ms },
				"handshakes get through after silence": func(quic *dialAttempt) { quic.mute, quic.after = true, 2*time.Second },
			} {
				synctest.Test(t, func(t *testing.T) {
					quic, tcp := roundTrips(rtt, false)
					dead(&quic)
					got, _, took := choose(t.Context(), h, &quic, &tcp)
					if got != &tcp || took > 3*time.Second {
						t.Errorf("%s, %v of round trip: %v after %v", name, rtt, got, took)
					}
				})
			}
		}
	}
}

func TestQUICIsUsedHoweverLongTheWay(t *testing.T) {
	for rtt := 20 * ms; rtt <= 1200*ms; rtt += 20 * ms {
		for _, h := range []haste{hopeful, doubtful} {
			for _, proof := range []bool{false, true} {
				if proof && rtt > 880*ms {
					continue // such a way is longer than TCP waits
				}
				synctest.Test(t, func(t *testing.T) {
					quic, tcp := roundTrips(rtt, proof)
					got, _, took := choose(t.Context(), h, &quic, &tcp)
					if want := quic.after + rtt; got != &quic || took != want {
						t.Errorf("%v of round trip, its address proved: %v: %v after %v, want QUIC after %v", rtt, proof, got, took, want)
					}
				})
			}
		}
	}
}

func TestLostPacketsOfQUICAreMadeUpForOnALongWay(t *testing.T) {
	for rtt := 300 * ms; rtt <= 800*ms; rtt += 20 * ms {
		for _, h := range []haste{hopeful, doubtful} {
			synctest.Test(t, func(t *testing.T) {
				quic, tcp := roundTrips(rtt, false)
				quic.after += 900 * ms // the first two
				if got, _, took := choose(t.Context(), h, &quic, &tcp); got != &quic {
					t.Errorf("%v of round trip: %v after %v", rtt, got, took)
				}
			})
		}
	}
}

// Who has said it by both ways and goes on with one has the surrogate close the other.
func TestTCPIsSilentWhileQUICMayBeWelcomed(t *testing.T) {
	for name, c := range map[string]struct {
		haste
		quic  dialAttempt
		asked time.Duration // by TCP, whose round trip takes 50 ms
		after time.Duration
		use   string
	}{
		"Welcome is slow":               {hopeful, dialAttempt{fate: fate{60 * ms, nil}, hello: fate{1480 * ms, nil}}, -1, 1540 * ms, "quic"},
		"Welcome does not come":         {hopeful, dialAttempt{fate: fate{60 * ms, nil}, mute: true}, 1560 * ms, 1610 * ms, "tcp"},
		"Welcome does not come again":   {doubtful, dialAttempt{fate: fate{60 * ms, nil}, mute: true}, 1560 * ms, 1610 * ms, "tcp"},
		"Welcome comes in the last bit": {hopeful, dialAttempt{fate: fate{60 * ms, nil}, hello: fate{1540 * ms, nil}}, 1560 * ms, 1600 * ms, "quic"},
		"the connection is lost":        {hopeful, dialAttempt{fate: fate{60 * ms, nil}, hello: fate{1200 * ms, errRefused}}, 1260 * ms, 1310 * ms, "tcp"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				quic, tcp := c.quic, dialAttempt{fate: fate{100 * ms, nil}, hello: fate{50 * ms, nil}}
				got, _, took := choose(t.Context(), c.haste, &quic, &tcp)
				if want := map[string]*dialAttempt{"quic": &quic, "tcp": &tcp}[c.use]; got != want || took != c.after || tcp.asked != c.asked {
					t.Errorf("%v after %v, Hello by TCP after %v", got, took, tcp.asked)
				}
				if quic.closed != (got == &tcp) || tcp.closed != (got == &quic) {
					t.Errorf("closed: QUIC %v, TCP %v", quic.closed, tcp.closed)
				}
			})
		})
	}
}

func TestASurrogateThatRefusesIsNotAskedByTheOtherWay(t *testing.T) {
	for _, no := range []error{
		control.Refused{Code: control.RefusedRevoked},
		&quic.ApplicationError{Remote: true, ErrorCode: 3, ErrorMessage: "too many devices are connecting at once"},
	} {
		synctest.Test(t, func(t *testing.T) {
			quic, tcp := roundTrips(50*ms, false)
			quic.hello.err = no
			got, why, took := choose(t.Context(), hopeful, &quic, &tcp)
			if got != nil || !errors.Is(why[link.QUIC], no) || took != 100*ms || tcp.dialed != -1 || !quic.closed {
				t.Errorf("%v, %v after %v; TCP was dialled after %v", got, why, took, tcp.dialed)
			}
			quic, tcp = roundTrips(50*ms, false)
			quic.fate, tcp.hello.err = silence, no
			if got, why, took := choose(t.Context(), hopeful, &quic, &tcp); got != nil || !errors.Is(why[link.TCP], no) || took != 1550*ms {
				t.Errorf("by TCP %v, %v after %v", got, why, took)
			}
		})
	}
}

func TestWithoutQUICTCPWaitsForNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, tcp := roundTrips(50*ms, false)
		began := time.Now()
		got, _ := ways[*dialAttempt]{link.TCP: tcp.way()}.choose(t.Context(), hopeful)
		if took := time.Since(began); got != &tcp || took != 150*ms {
			t.Errorf("%v after %v", got, took)
		}
	})
}

func TestAConnectionThatComesTooLateIsClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		late, tcp := &dialAttempt{}, &dialAttempt{}
		w := ways[*dialAttempt]{
			func(ctx context.Context) (*dialAttempt, error) {
				<-ctx.Done() // and yet
				return late, nil
			},
			func(context.Context) (*dialAttempt, error) { return tcp, nil },
		}
		if got, _ := w.choose(t.Context(), hopeful); got != tcp || tcp.closed || !late.closed {
			t.Errorf("chosen %v; closed: %v, the late one: %v", got, tcp.closed, late.closed)
		}
	})
}

func TestAChoiceEndsWithItsContext(t *testing.T) {
	for name, mute := range map[string]bool{"while dialling": false, "after Hello": true} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 1200*ms)
			defer cancel()
			quic, tcp := dialAttempt{fate: silence, mute: mute}, dialAttempt{fate: silence}
			if mute {
				quic.after = 50 * ms
			}
			got, why, took := choose(ctx, hopeful, &quic, &tcp)
			if got != nil || took != 1200*ms || !errors.Is(why[link.TCP], context.DeadlineExceeded) || !errors.Is(why[link.QUIC], context.DeadlineExceeded) {
				t.Errorf("%s: %v, %v after %v", name, got, why, took)
			}
			if quic.closed != mute {
				t.Errorf("%s: closed %v", name, quic.closed)
			}
		})
	}
}
