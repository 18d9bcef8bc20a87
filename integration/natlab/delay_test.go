package natlab

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// due takes all that is due and lists it.
func (q *delays) due(now time.Time) string {
	var out []string
	for {
		p, ok := q.take(now)
		if !ok {
			return strings.Join(out, " ")
		}
		out = append(out, string(p.frame))
		q.recycle(p)
	}
}

func TestFramesLeaveWhenTheyAreDue(t *testing.T) {
	start := time.Unix(1e9, 0)
	at := func(ms int) time.Time { return start.Add(time.Duration(ms) * time.Millisecond) }
	var q delays
	var a, b, c coreLink
	put := func(ms, delay int, from, to *coreLink, frame string) {
		if !q.put(at(ms), time.Duration(delay)*time.Millisecond, from, to, []byte(frame)) {
			t.Fatalf("no room for %s", frame)
		}
	}
	put(0, 20, &a, &b, "slow")
	put(1, 5, &a, &c, "fast")
	put(2, 20, &a, &b, "slow2")
	if got := q.next(); !got.Equal(at(6)) {
		t.Errorf("next at %v, want 6 ms", got.Sub(start))
	}
	if got := q.due(at(5)); got != "" {
		t.Errorf("%q left too early", got)
	}
	if got := q.due(at(20)); got != "fast slow" {
		t.Errorf("%q left until 20 ms", got)
	}
	if !q.between(&a, &b) || q.between(&a, &c) || q.between(&b, &a) {
		t.Error("one frame is under way from a to b, and nothing else")
	}
	// The way has become shorter: nothing is overtaken.
	put(20, 0, &a, &b, "now")
	if got := q.due(at(21)); got != "" {
		t.Errorf("%q overtook", got)
	}
	if got := q.due(at(22)); got != "slow2 now" {
		t.Errorf("%q left until 22 ms", got)
	}
	if !q.next().IsZero() || q.held != 0 {
		t.Errorf("%d bytes are left, next at %v", q.held, q.next())
	}
}

func TestWhatIsUnderWayIsBounded(t *testing.T) {
	var q delays
	var a, b coreLink
	frame := make([]byte, 1500)
	n := 0
	for q.put(time.Unix(1e9, 0), time.Second, &a, &b, frame) {
		n++
	}
	if want := maxHeld / len(frame); n != want {
		t.Errorf("%d frames are under way, want %d", n, want)
	}
	if _, ok := q.take(time.Unix(1e9+1, 0)); !ok || !q.put(time.Unix(1e9, 0), time.Second, &a, &b, frame) {
		t.Error("no room after one has left")
	}
}

func TestALaneThatNeverRestsDoesNotGrow(t *testing.T) {
	var q delays
	var a, b coreLink
	now := time.Unix(1e9, 0)
	for i := range 100_000 {
		q.put(now, 10*time.Millisecond, &a, &b, fmt.Appendf(nil, "%d", i))
		if now = now.Add(time.Millisecond); i >= 10 {
			if p, ok := q.take(now); !ok || string(p.frame) != fmt.Sprint(i-9) {
				t.Fatalf("after %d frames %q left, %v", i, p.frame, ok)
			} else {
				q.recycle(p)
			}
		} else if i == 9 {
			q.take(now)
		}
	}
	if n := cap(q.lanes[[2]*coreLink{&a, &b}].queue); n > 100 {
		t.Errorf("a queue of ten frames takes %d places", n)
	}
	if len(q.spare) > 20 {
		t.Errorf("%d buffers for ten frames", len(q.spare))
	}
}
