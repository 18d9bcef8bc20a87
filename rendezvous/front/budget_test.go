package front

import (
	"testing"
	"testing/synctest"
	"time"
)

// begin takes all that was granted.
func begin(c *claim) (n int) {
	for c.take() {
		n++
	}
	return n
}

func TestBudgetGrantsNoMoreThanItsRateInAnySecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBudget(1000, 50)
		c := b.join()
		var began []time.Time
		c.want(500)
		start := time.Now()
		for len(began) < 500 {
			<-c.ready
			for range begin(c) {
				began = append(began, time.Now())
				c.done()
			}
		}
		for i := 50; i < len(began); i++ {
			if gap := began[i].Sub(began[i-50]); gap < time.Second {
				t.Fatalf("51 handshakes within %v", gap)
			}
		}
		if took := time.Since(start); took != 9*time.Second {
			t.Errorf("500 took %v, want 9s", took)
		}
	})
}

func TestOneAloneGetsNineTenthsAndLeavesSomeFree(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBudget(200, 10_000)
		greedy, late, later := b.join(), b.join(), b.join()
		greedy.want(5000)
		if n := begin(greedy); n != 180 {
			t.Errorf("one alone begins %d of 200", n)
		}
		late.want(5)
		if n := begin(late); n != 5 {
			t.Errorf("the next begins %d of the 5 that it wants", n)
		}
		later.want(5000)
		if n := begin(later); n < 10 || n > 15 {
			t.Errorf("the third begins %d of the 15 that are left", n)
		}
		// What becomes free goes to those who have less.
		had := begin(later)
		for range 50 {
			greedy.done()
		}
		if got, again := begin(later)+had, begin(greedy); got < 40 || again > 10 {
			t.Errorf("of 50 that became free %d went to who had few, and %d to who has most", got, again)
		}
	})
}

func TestTurnsAreTakenWhereTheRateIsWhatBinds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBudget(1000, 10)
		one, two := b.join(), b.join()
		one.want(5000)
		two.want(5000)
		began := map[*claim]int{}
		for range 20 {
			time.Sleep(time.Second)
			for _, c := range []*claim{one, two} {
				for range begin(c) {
					began[c]++
					c.done()
				}
			}
		}
		if d := began[one] - began[two]; began[one]+began[two] < 200 || d > 10 || d < -10 {
			t.Errorf("in 20s %d and %d handshakes were begun, want about 105 each", began[one], began[two])
		}
		one.leave()
		two.leave()
	})
}

func TestWhoLeavesGivesBackWhatItDidNotTake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBudget(10, 1000)
		one, two := b.join(), b.join()
		one.want(100)
		if !one.take() {
			t.Fatal("nothing was granted")
		}
		one.leave()
		two.want(100)
		if n := begin(two); n < 8 {
			t.Errorf("the other begins %d", n)
		}
		one.done()
		for range 20 {
			if begin(two) == 0 {
				break
			}
		}
		if b.inFlight > 10 || b.inFlight != two.inFlight {
			t.Errorf("%d in progress in all, %d of them the other's", b.inFlight, two.inFlight)
		}
		if one.take() {
			t.Error("who left is granted more")
		}
	})
}
