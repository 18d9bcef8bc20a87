package utp

import (
	"sync"
	"testing"
	"time"
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

// 99 peers send 21 bytes each as far ahead as they may, to connections that somebody reads: 4 MiB were not enough when
// slots were counted by distance.
func TestLonePacketsFarAheadCostLittle(t *testing.T) {
	b := &budget{total: 4 << 20}
	for range 99 {
		a := &allotment{budget: b}
		r := receiver{limit: 1 << 20, promised: 1 << 20, next: 1, grow: a.grow, spare: a.spare}
		if ahead := r.furthest(); r.accept(1+uint16(ahead+1), []byte{0}, false) || !r.accept(1+uint16(ahead), []byte{0}, false) {
			t.Fatalf("%d packets ahead is not what is held at most", ahead)
		}
	}
	t.Logf("%d bytes each", b.used.Load()/99)
	if limit := int64(99 * 7000); b.used.Load() > limit {
		t.Errorf("99 packets of 21 bytes cost %d bytes, more than %d", b.used.Load(), limit)
	}
}

func TestPacketFurtherAheadThanWhatWasPromisedIsRefused(t *testing.T) {
	for promised, furthest := range map[int]int{0: 64, 16 << 10: 64 + 163, 1 << 20: 64 + 10485, 16 << 20: maxEarly - 1} {
		r := receiver{limit: 32 << 20, promised: promised, next: 65_000, grow: func(int) bool { return true }}
		if r.accept(r.next+uint16(furthest)+1, []byte{0}, false) || !r.accept(r.next+uint16(furthest), []byte{0}, false) {
			t.Errorf("of %d bytes promised, the furthest packet held is not %d ahead", promised, furthest)
		}
	}
}

func TestConnectionThatNobodyUsesGetsLittle(t *testing.T) {
	for _, c := range []struct {
		tenancy     tenancy
		total, most int64
	}{
		{awaited, 1 << 20, mostAwaited}, {awaited, 0, 2 * minRing},
		{left, 0, 2 * minRing}, {inUse, 0, floor},
	} {
		a := &allotment{budget: &budget{total: c.total}, tenancy: c.tenancy}
		r := receiver{limit: 1 << 20, promised: 1 << 20, next: 1, strict: c.tenancy != inUse, grow: a.grow, spare: a.spare}
		for seq := range uint16(100) {
			if ahead := r.accept(r.next+5, make([]byte, 100), false); ahead && r.strict {
				t.Fatal("a packet that came early is held")
			}
			_ = r.accept(1+seq, make([]byte, 1000), false)
		}
		if a.held > c.most || a.held < c.most/2 {
			t.Errorf("tenancy %d: %d bytes are held, not about %d", c.tenancy, a.held, c.most)
		}
		if a.use(); c.tenancy == awaited && (!a.grow(100) || a.tenancy != inUse) && a.held < floor {
			t.Error("in use, it did not get the floor")
		}
	}
}

func TestConnectionIsInUseFromItsFirstReadToItsEnd(t *testing.T) {
	a, b := newConns(t, Config{})
	tenancyOf := func(c *Conn) tenancy {
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.memory.tenancy
	}
	if tenancyOf(a) != inUse {
		t.Error("one that was dialled waits for somebody to use it")
	}
	fresh := newConn(b.endpoint, b.socket, b.remote)
	if fresh.coreConfig(); tenancyOf(fresh) != awaited {
		t.Error("one that came in is in use before anybody read")
	}
	if _, err := a.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	if tenancyOf(b) != inUse {
		t.Error("one that is read from is not in use")
	}
	b.mu.Lock()
	next := b.core.recv.next
	for range 2 {
		b.receive(time.Now(), &packet{typ: stData, connID: b.id, seq: next + 3, ack: b.core.send.next - 1, payload: []byte("early")})
	}
	held := b.core.recv.early.count
	b.mu.Unlock()
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.receive(time.Now(), &packet{typ: stData, connID: b.id, seq: next + 4, ack: b.core.send.next - 1, payload: []byte("early")})
	if held != 1 || b.core.recv.early.memory() != 0 || b.memory.tenancy != left {
		t.Errorf("%d early packets before Close, %d bytes of them after", held, b.core.recv.early.memory())
	}
}
