package utp

import (
	"testing"
	"time"
)

// RFC 6298 (2.2, 2.3), with the floor of libutp and libtorrent.
func TestTimeoutFollowsTheRoundTripAndItsVariance(t *testing.T) {
	var r rttState
	if r.rto() != firstRTO {
		t.Errorf("before anything was measured it is %v", r.rto())
	}
	r.sample(300 * time.Millisecond)
	if r.rto() != 900*time.Millisecond {
		t.Errorf("after 300 ms it is %v", r.rto())
	}
	for range 100 {
		r.sample(20 * time.Millisecond)
	}
	if r.rto() != leastRTO || r.least != 20*time.Millisecond {
		t.Errorf("after many of 20 ms it is %v, and the least %v", r.rto(), r.least)
	}
}

func TestTimeoutDoublesUpToACap(t *testing.T) {
	var r rttState
	r.sample(20 * time.Millisecond)
	for i, want := range []time.Duration{500 * time.Millisecond, time.Second, 2 * time.Second, 4 * time.Second, backoffCap, backoffCap} {
		r.backoff = uint(i)
		if r.rto() != want {
			t.Errorf("after %d timeouts it is %v", i, r.rto())
		}
	}
	r = rttState{backoff: 1 << 30}
	r.sample(10 * time.Second)
	if r.rto() != 30*time.Second {
		t.Errorf("on a path of 10 s it is %v", r.rto())
	}
}
