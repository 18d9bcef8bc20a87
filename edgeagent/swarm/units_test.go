package swarm

import (
	"testing"
	"time"
)

var epoch = time.Unix(1_000_000_000, 0)

func TestTheMeterAveragesOverTheLastSeconds(t *testing.T) {
	var m meter
	if got := m.rate(epoch); got != 0 {
		t.Errorf("rate before anything: %d", got)
	}
	m.add(epoch, 1000)
	if got := m.rate(epoch); got != 2000 {
		t.Errorf("rate of the first bytes: %d, want them spread over half a second", got)
	}
	now := epoch
	for range 200 {
		now = now.Add(100 * time.Millisecond)
		m.add(now, 1000)
		if got := m.rate(now); now.Sub(epoch) > time.Second && (got < 9_000 || got > 12_500) {
			t.Fatalf("after %v: %d bytes/s of 10000", now.Sub(epoch), got)
		}
	}
	if got := m.rate(now.Add(2 * time.Second)); got < 4000 || got > 7000 {
		t.Errorf("2 s after the last byte: %d", got)
	}
	if got := m.rate(now.Add(6 * time.Second)); got != 0 {
		t.Errorf("6 s after the last byte: %d", got)
	}
	if got := m.rate(now.Add(-time.Hour)); got < 0 {
		t.Errorf("a clock that goes back: %d", got)
	}
}

func TestThePipelineGrowsUntilTheRateDoesNot(t *testing.T) {
	var q pipeline
	const reqq, room = 1000, 1000
	if got := q.limit(reqq, room); got != pipelineFloor {
		t.Fatalf("first limit %d", got)
	}
	for range 100 {
		q.received()
	}
	if got := q.limit(reqq, room); got != 100 {
		t.Errorf("after 100 blocks: %d", got)
	}
	q.tick(1 << 20)
	q.tick(2 << 20)
	q.received()
	if got := q.limit(reqq, room); got != 101 {
		t.Errorf("while the rate doubles: %d", got)
	}
	q.tick(2 << 20)
	q.received()
	if got, want := q.limit(reqq, room), 3*(2<<20)/(16<<10); got != want {
		t.Errorf("at a steady 2 MiB/s: %d, want three seconds' worth, %d", got, want)
	}
	q.tick(1 << 30)
	for _, tt := range []struct{ reqq, room, want int }{
		{1000, 1000, pipelineCap}, {128, 1000, 128}, {1000, 50, 50}, {1000, -7, pipelineFloor}, {2, 1000, 2}, {0, 0, 1},
	} {
		if got := q.limit(tt.reqq, tt.room); got != tt.want {
			t.Errorf("at 1 GiB/s, reqq %d, room %d: %d, want %d", tt.reqq, tt.room, got, tt.want)
		}
	}
	q.tick(0)
	if got := q.limit(reqq, room); got != pipelineFloor {
		t.Errorf("at a standstill: %d", got)
	}
}

func TestLittleIsUnderWayOnARelay(t *testing.T) {
	for _, tt := range []struct {
		rate        int64
		limit, want int
	}{
		{0, 100, pipelineFloor}, {256 << 10, 100, 16}, {256 << 10, 10, 10}, {1 << 10, 100, pipelineFloor}, {1 << 20, 1, 1},
	} {
		q := pipeline{last: tt.rate}
		if got := q.relayed(tt.limit); got != tt.want {
			t.Errorf("at %d bytes/s with a limit of %d: %d, want %d", tt.rate, tt.limit, got, tt.want)
		}
	}
}

func TestRequestsAreSentTogether(t *testing.T) {
	var q pipeline
	for _, tt := range []struct{ limit, outstanding, want int }{
		{4, 0, 4}, {4, 4, 0}, {4, 3, 1}, {1, 0, 1}, {1, 1, 0}, {100, 100, 0}, {100, 76, 0}, {100, 75, 25}, {100, 120, 0}, {5, 9, 0},
	} {
		if got := q.due(tt.limit, tt.outstanding); got != tt.want {
			t.Errorf("limit %d, %d outstanding: %d to send, want %d", tt.limit, tt.outstanding, got, tt.want)
		}
	}
}
