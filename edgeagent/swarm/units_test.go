package swarm

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
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

func addr(i int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 18, byte(i >> 8), byte(i)}), 6881)
}

func TestTheBookBacksOffFromAddressesThatFail(t *testing.T) {
	b := newBook(rand.New(rand.NewPCG(1, 1)))
	a := b.add(addr(1))
	now := epoch
	for i, least := range []time.Duration{15 * time.Second, 30 * time.Second, time.Minute, 2 * time.Minute, 4 * time.Minute,
		8 * time.Minute, 16 * time.Minute, 30 * time.Minute, 30 * time.Minute} {
		if got := b.next(now, false); got != a {
			t.Fatalf("try %d: nothing to dial", i)
		}
		if b.next(now, false) != nil {
			t.Fatal("the same address twice at once")
		}
		b.failed(a, now)
		if b.next(now.Add(least-1), false) != nil {
			t.Fatalf("try %d: dialled again before %v", i, least)
		}
		now = now.Add(least * 5 / 4)
	}
	b.next(now, false)
	b.closed(a, now)
	if b.next(now.Add(firstWait*5/4), false) == nil {
		t.Error("an address that was of use is not dialled again soon")
	}
}

func TestTheBookPrefersAddressesThatNeverFailedAndSkipsUselessOnes(t *testing.T) {
	b := newBook(rand.New(rand.NewPCG(1, 1)))
	bad, seed, banned, fresh := b.add(addr(1)), b.add(addr(2)), b.add(addr(3)), b.add(addr(4))
	b.next(epoch, false)
	b.failed(bad, epoch)
	seed.seed, banned.banned = true, true
	later := epoch.Add(time.Hour)
	for i, want := range []*address{fresh, bad, nil} {
		if got := b.next(later, true); got != want {
			t.Errorf("choice %d of a seed: %+v, want %+v", i, got, want)
		}
	}
	if got := b.next(later, false); got != seed {
		t.Errorf("choice of a leecher: %+v", got)
	}
}

func TestTheBookIsBounded(t *testing.T) {
	b := newBook(rand.New(rand.NewPCG(1, 1)))
	for i := range 2 * maxKnown {
		b.add(addr(i + 1))
	}
	if len(b.list) != maxKnown || len(b.index) != maxKnown {
		t.Fatalf("%d addresses, %d indexed", len(b.list), len(b.index))
	}
	b.failed(b.index[addr(7)], epoch)
	if b.add(addr(5000)) == nil || b.index[addr(7)] != nil || len(b.list) != maxKnown {
		t.Error("a new address did not take the place of the one that failed")
	}
}

func TestTheBookRefusesWhatNoPeerCanHave(t *testing.T) {
	b := newBook(rand.New(rand.NewPCG(1, 1)))
	for _, s := range []string{"0.0.0.0:1", "[::]:1", "224.0.0.1:1", "[ff02::1]:1", "198.18.0.1:0"} {
		if b.add(netip.MustParseAddrPort(s)) != nil {
			t.Errorf("%s was added", s)
		}
	}
	if b.add(netip.AddrPort{}) != nil {
		t.Error("no address at all was added")
	}
	a := b.add(netip.MustParseAddrPort("[::ffff:198.18.0.1]:7"))
	if c := b.add(netip.MustParseAddrPort("198.18.0.1:7")); a == nil || a != c || fmt.Sprint(a.at) != "198.18.0.1:7" {
		t.Errorf("an IPv4 address in its two forms: %+v and %+v", a, c)
	}
}
