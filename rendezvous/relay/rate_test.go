package relay

import (
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// flood writes at an end for as long as it goes, and counts what the other end reads.
func flood(from, to end, got *atomic.Int64) {
	go func() {
		b := make([]byte, 64<<10)
		for {
			if _, err := from.Write(b); err != nil {
				return
			}
		}
	}()
	go func() {
		b := make([]byte, 64<<10)
		for {
			n, err := to.Read(b)
			if got.Add(int64(n)); err != nil {
				return
			}
		}
	}()
}

func near(t *testing.T, what string, got int64, want float64) {
	t.Helper()
	if off := float64(got)/want - 1; off < -0.05 || off > 0.05 {
		t.Errorf("%s: %d bytes, %+.1f %% off", what, got, 100*off)
	}
}

func TestADeviceThatFloodsMovesNoMoreThanItsRate(t *testing.T) {
	for _, rate := range []int64{MinRate, 32 << 10, 256 << 10, 4 << 20} {
		inBubble(t, rate, func(w *world) {
			a, b := w.join("attic", "barn")
			var up, down atomic.Int64
			flood(a, b, &up)
			flood(b, a, &down)
			time.Sleep(time.Second) // of the burst
			synctest.Wait()
			before := up.Load() + down.Load()
			const seconds = 8
			time.Sleep(seconds * time.Second)
			synctest.Wait()
			near(t, fmt.Sprintf("at %d B/s, both ways", rate), up.Load()+down.Load()-before, float64(rate)*seconds)
			near(t, fmt.Sprintf("at %d B/s, one way", rate), 2*up.Load(), float64(up.Load()+down.Load()))
			if got := w.Totals().Bytes; got != up.Load()+down.Load() {
				t.Errorf("%d bytes are counted, %d arrived", got, up.Load()+down.Load())
			}
		})
	}
}

func TestConnectionsOfADeviceShareItsRateEvenly(t *testing.T) {
	inBubble(t, rate, func(w *world) {
		var got [3]atomic.Int64
		for i, name := range []string{"barn", "cellar"} {
			a, b := w.join("attic", name)
			flood(a, b, &got[i])
			say(t, b, a, "!")
		}
		c, d := w.join("den", "eaves") // of others
		flood(c, d, &got[2])
		time.Sleep(time.Second)
		synctest.Wait()
		var before [3]int64
		for i := range got {
			before[i] = got[i].Load()
		}
		const seconds = 8
		time.Sleep(seconds * time.Second)
		synctest.Wait()
		near(t, "the first", got[0].Load()-before[0], rate*seconds/2)
		near(t, "the second", got[1].Load()-before[1], rate*seconds/2)
		near(t, "that of others", got[2].Load()-before[2], rate*seconds)
	})
}

func TestAllDevicesOfAUserShareTheUsersRateEvenly(t *testing.T) {
	inBubble(t, rate, func(w *world) {
		const pairs, userRate = 6, 3 * rate
		w.user = bucket{rate: userRate}
		var got [pairs]atomic.Int64
		for i := range got {
			a, b := w.join(fmt.Sprintf("a%d", i), fmt.Sprintf("b%d", i))
			flood(a, b, &got[i])
		}
		time.Sleep(time.Second)
		synctest.Wait()
		var before [pairs]int64
		for i := range got {
			before[i] = got[i].Load()
		}
		const seconds = 8
		time.Sleep(seconds * time.Second)
		synctest.Wait()
		var all int64
		for i := range got {
			near(t, "one of six", got[i].Load()-before[i], userRate*seconds/pairs)
			all += got[i].Load() - before[i]
		}
		near(t, "all", all, userRate*seconds)
	})
}

func TestALittleIsNotLongBehindAFlood(t *testing.T) {
	inBubble(t, rate, func(w *world) {
		a, b := w.join("attic", "barn")
		var got atomic.Int64
		flood(a, b, &got)
		time.Sleep(2 * time.Second)
		began := time.Now()
		say(t, b, a, "request")
		if took := time.Since(began); took > 200*time.Millisecond {
			t.Errorf("a request took %v", took)
		}
	})
}

func TestANewConnectionBringsNoNewBurst(t *testing.T) {
	inBubble(t, rate, func(w *world) {
		var got atomic.Int64
		began := time.Now()
		for time.Since(began) < 4*time.Second {
			a, b := w.join("attic", "barn")
			flood(a, b, &got)
			time.Sleep(50 * time.Millisecond)
			a.Cancel()
			synctest.Wait()
		}
		// A buffer that had waited its turn is lost with each connection.
		if most := int64(rate * (time.Since(began) + burst).Seconds()); got.Load() > most {
			t.Errorf("%d bytes, want %d at most", got.Load(), most)
		}
	})
}
