package edgeagent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
)

func TestQUICIsLeftAloneForLongerAfterEachSessionThatWorkedForAMoment(t *testing.T) {
	var q trust
	now := time.Unix(1e9, 0)
	bad := func() time.Duration {
		now = now.Add(time.Minute)
		q.ended(now, 0, 20*time.Second, true, 5*time.Minute)
		for d := time.Duration(0); ; d += time.Second {
			if !q.left(now.Add(d), 0) {
				now = now.Add(d)
				return d / time.Minute
			}
		}
	}
	var waits []time.Duration
	for range 7 {
		waits = append(waits, bad())
	}
	if want := []time.Duration{5, 10, 20, 40, 60, 60, 60}; !slices.Equal(waits, want) {
		t.Errorf("left alone for %d minutes, want %d", waits, want)
	}
	q.ended(now, 0, 4*time.Minute, true, 5*time.Minute)
	if q.left(now, 0) {
		t.Error("left alone after 4 minutes that worked")
	}
	if got := bad(); got != 60 {
		t.Errorf("after 4 minutes that worked a bad session counts for %d minutes", got)
	}
	q.ended(now, 0, 5*time.Minute, true, 5*time.Minute)
	if got := bad(); got != 5 {
		t.Errorf("after 5 minutes that worked a bad session counts for %d minutes", got)
	}
	now = now.Add(time.Minute)
	q.ended(now, 0, 20*time.Second, true, 5*time.Minute)
	if !q.left(now, 0) || q.left(now, 1) {
		t.Error("another network is not tried")
	}
	if q.ended(now, 1, 20*time.Second, true, 5*time.Minute); !q.left(now.Add(5*time.Minute-1), 1) || q.left(now.Add(5*time.Minute), 1) {
		t.Error("what was bad on another network counts")
	}
}

func TestWhatTheSurrogateEndsSaysNothingAgainstUDP(t *testing.T) {
	for err, want := range map[error]time.Duration{
		&quic.IdleTimeoutError{}:                          75 * time.Second,
		fmt.Errorf("a frame: %w", os.ErrDeadlineExceeded): 15 * time.Second,
		&quic.ApplicationError{Remote: true}:              -1,
		&quic.StatelessResetError{}:                       -1,
		io.EOF:                                            -1,
		context.Canceled:                                  -1,
		errors.New("it sent a frame of its own"):          -1,
	} {
		quiet, silent := fellSilent(err)
		if silent != (want >= 0) || silent && quiet != want {
			t.Errorf("%v: %v, %v", err, quiet, silent)
		}
		var q trust
		if q.ended(time.Unix(1e9, 0), 0, 0, silent, time.Minute); q.left(time.Unix(1e9, 0), 0) != silent {
			t.Errorf("%v: left alone: %v", err, !silent)
		}
	}
}

func TestAnotherTransportIsNoOtherNetwork(t *testing.T) {
	r, now := newRound()
	r.welcome(now, "20.0.0.9:1", "20.0.0.1:6882")
	r.welcomeByTCP(now, "20.0.0.9:1", "20.0.0.2:5555")
	r.welcome(now, "20.0.0.9:1", "20.0.0.3:6882")
	r.welcome(now, "[2001:db8::9]:1", "[2001:db8::1]:6882")
	if got := r.moves(); got != 0 {
		t.Errorf("the device has moved %d times", got)
	}
	r.welcome(now, "[2001:db8::9]:1", "[2001:db8::2]:6882")
	if got := r.moves(); got != 1 {
		t.Errorf("seen elsewhere it has moved %d times", got)
	}
	r.look = func() (s surroundings) { s.gateways[0], s.gateways[1] = addr("192.168.7.1"), addr("fe80::1"); return s }
	r.lookAt = now
	if r.lookAround(now); r.moves() != 2 {
		t.Errorf("with another gateway it has moved %d times", r.moves())
	}
}
