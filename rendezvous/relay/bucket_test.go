package relay

import (
	"math/rand/v2"
	"testing"
	"time"
)

func TestABucketGivesTheRateAndAQuarterOfASecondMore(t *testing.T) {
	start := time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)
	for _, rate := range []int64{MinRate, 256 << 10, 1 << 40} {
		b := bucket{rate: rate}
		now := start
		var moved int64
		for now.Sub(start) < 10*time.Second {
			n := 1 + int(min(rate/16, 1<<30))
			now = now.Add(b.take(now, n))
			moved += int64(n)
		}
		took := now.Sub(start)
		want := float64(rate) * (took + burst).Seconds()
		if float64(moved) > want*1.001 || float64(moved) < want*0.999 {
			t.Errorf("at %d B/s: %d bytes within %v, want %.0f", rate, moved, took, want)
		}
	}
}

func TestNoStretchOfTimeHasMoreThanTheRateAndTheBurst(t *testing.T) {
	const rate = 64 << 10
	random := rand.New(rand.NewPCG(1, 2))
	b := bucket{rate: rate}
	type move struct {
		at time.Time
		n  int
	}
	var moves []move
	now := time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)
	for range 500 {
		if random.IntN(10) == 0 {
			now = now.Add(time.Duration(random.Int64N(int64(2 * time.Second)))) // a pause
		}
		n := 1 + random.IntN(8<<10)
		now = now.Add(b.take(now, n))
		moves = append(moves, move{now, n})
	}
	for i := range moves {
		sum := 0
		for _, m := range moves[i:] {
			sum += m.n
			// The first of them was let through at the beginning of the stretch, whenever it was earned.
			if most := rate*(m.at.Sub(moves[i].at)+burst).Seconds() + float64(moves[i].n) + 1; float64(sum) > most {
				t.Fatalf("%d bytes within %v, want %.0f at most", sum, m.at.Sub(moves[i].at), most)
			}
		}
	}
}

func TestABucketIsFullAgainAfterAQuarterOfASecondOfRest(t *testing.T) {
	b := bucket{rate: 1 << 10}
	now := time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)
	if !b.full(now) {
		t.Error("a new one is not full")
	}
	if wait := b.take(now, 256); wait != 0 {
		t.Errorf("the burst waits %v", wait)
	}
	if wait := b.take(now, 1024); wait != time.Second {
		t.Errorf("a second's worth waits %v", wait)
	}
	if b.full(now.Add(time.Second + burst - 1)) {
		t.Error("full too early")
	}
	if !b.full(now.Add(time.Second + burst)) {
		t.Error("not full again")
	}
}
