package utp

import (
	"sync"
	"testing"
)

func TestNobodyMayHoldMoreThanIsLeft(t *testing.T) {
	b := &budget{total: 1 << 20}
	share := func() int64 {
		a := &allotment{budget: b}
		for a.grow(8 << 10) {
		}
		return a.held
	}
	before := int64(1 << 20)
	for i := range 5 {
		got, left := share(), b.total-b.used.Load()
		if got > left || got+8<<10 <= left-8<<10 {
			t.Errorf("allotment %d holds %d, left are %d", i, got, left)
		}
		if got >= before {
			t.Errorf("allotment %d got %d, the one before %d", i, got, before)
		}
		before = got
	}
}

func TestEverybodyGetsTheFloorAndTheBeginningOfARing(t *testing.T) {
	b := &budget{total: 64 << 10}
	b.used.Store(b.total)
	a := &allotment{budget: b}
	if a.grow(floor + 1) {
		t.Error("much was granted of nothing")
	}
	if !a.grow(floor) || !a.grow(minRing) {
		t.Error("little was refused")
	}
	if a.grow(100) || a.spare() != 0 {
		t.Error("more was granted of nothing")
	}
	if a.grow(-floor - minRing); a.held != 0 || b.used.Load() != b.total {
		t.Errorf("%d held, %d used after all was given back", a.held, b.used.Load())
	}
}

func TestSpareIsWhatIsGranted(t *testing.T) {
	b := &budget{total: 1 << 20}
	b.used.Store(100_000)
	a := &allotment{budget: b}
	for a.spare() > 1 {
		if a.grow(a.spare() + 1) {
			t.Fatalf("%d bytes and one more were granted", a.spare())
		}
		if !a.grow(a.spare()/2 + 1) {
			t.Fatalf("half of %d bytes was refused", a.spare())
		}
		if a.held < floor {
			t.Fatal("this tests only the floor")
		}
	}
}

func TestBudgetNeverGivesMoreThanItHas(t *testing.T) {
	b := &budget{total: 1 << 20}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			a := &allotment{budget: b}
			for i := range 20_000 {
				if n := 9000 + i%7000; a.grow(n) && i%3 == 0 {
					a.grow(-n)
				}
				if used := b.used.Load(); used > b.total {
					t.Errorf("%d of %d bytes are used", used, b.total)
					return
				}
			}
			a.grow(-int(a.held))
		})
	}
	wg.Wait()
	if used := b.used.Load(); used != 0 {
		t.Errorf("%d bytes are used by nobody", used)
	}
}

func TestConnectionsShareLittleMemoryAndNoneStarves(t *testing.T) {
	c := Config{Memory: 128 << 10}
	from, to := newEndpoint(t, c), newEndpoint(t, c)
	var wg sync.WaitGroup
	for range 16 {
		a, b := dialBetween(t, from, to, to.Addr().String())
		wg.Go(func() { exchange(t, a, b, 100_000) })
		t.Cleanup(func() { _, _ = a.Close(), b.Close() })
	}
	wg.Wait()
	for _, e := range []*Endpoint{from, to} {
		if m := e.Stats().Memory; m > 128<<10+16*(floor+4*minRing) {
			t.Errorf("%d bytes are held", m)
		}
	}
}

// 99 peers send a byte each as far ahead as sequence numbers let them: 4 MiB were not enough when slots were counted by
// distance.
func TestLonePacketsFarAheadCostLittle(t *testing.T) {
	b := &budget{total: 4 << 20}
	for i := range 99 {
		a := &allotment{budget: b}
		r := receiver{limit: 1 << 20, next: uint16(700 * i), grow: a.grow, spare: a.spare}
		if r.accept(r.next+maxEarly, []byte{0}, false) || !r.accept(r.next+maxEarly-1, []byte{0}, false) {
			t.Fatalf("%d packets ahead is not what is held at most", maxEarly-1)
		}
		if r.early.trim(r.grow); a.held != int64(r.early.memory()) {
			t.Fatalf("%d bytes are held, %d counted", r.early.memory(), a.held)
		}
		if r.early.drop(r.grow); a.held != 0 {
			t.Fatalf("%d bytes are left", a.held)
		}
		r.accept(r.next+maxEarly-1, []byte{0}, false)
	}
	if limit := int64(99 * 7000); b.used.Load() > limit {
		t.Errorf("99 packets of 21 bytes cost %d bytes, more than %d", b.used.Load(), limit)
	}
}
