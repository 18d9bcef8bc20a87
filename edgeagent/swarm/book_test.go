package swarm

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"
)

func addr(i int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 18, byte(i >> 8), byte(i)}), 6881)
}

func testBook() *book { return newBook(rand.New(rand.NewPCG(1, 1))) }

// dial is what the loop does with the address that is next.
func (b *book) dial(now time.Time, reachable, seeding bool) *address {
	a := b.next(now, reachable, seeding)
	if a != nil {
		a.busy = true
	}
	return a
}

func TestTheBookBacksOffFromAddressesThatFail(t *testing.T) {
	b := testBook()
	a := b.add(addr(1), false)
	now := epoch
	for i, least := range []time.Duration{15 * time.Second, 30 * time.Second, time.Minute, 2 * time.Minute, 4 * time.Minute,
		8 * time.Minute, 16 * time.Minute, 30 * time.Minute, 30 * time.Minute} {
		if got := b.dial(now, false, false); got != a {
			t.Fatalf("try %d: nothing to dial", i)
		}
		if b.next(now, false, false) != nil {
			t.Fatal("the same address twice at once")
		}
		b.failed(a, now)
		if b.next(now.Add(least-1), false, false) != nil {
			t.Fatalf("try %d: dialled again before %v", i, least)
		}
		now = now.Add(least * 5 / 4)
	}
	b.dial(now, false, false)
	b.closed(a, now)
	if b.next(now.Add(firstWait*5/4), false, false) == nil {
		t.Error("an address that was of use is not dialled again soon")
	}
}

func TestTheBookPrefersAddressesThatNeverFailedAndSkipsUselessOnes(t *testing.T) {
	b := testBook()
	bad, seed, banned, fresh := b.add(addr(1), false), b.add(addr(2), false), b.add(addr(3), false), b.add(addr(4), false)
	b.dial(epoch, false, false)
	b.failed(bad, epoch)
	seed.seed, banned.banned = true, true
	later := epoch.Add(time.Hour)
	for i, want := range []*address{fresh, bad, nil} {
		if got := b.dial(later, false, true); got != want {
			t.Errorf("choice %d of a seed: %+v, want %+v", i, got, want)
		}
	}
	if got := b.next(later, false, false); got != seed {
		t.Errorf("choice of a leecher: %+v", got)
	}
}

func TestTheBookKeepsReachableAddressesApart(t *testing.T) {
	b := testBook()
	guess, sure := b.add(addr(1), false), b.add(addr(2), true)
	if got := b.next(epoch, true, false); got != sure {
		t.Errorf("reachable: %+v", got)
	}
	if got := b.next(epoch, false, false); got != guess {
		t.Errorf("unverified: %+v", got)
	}
	b.add(addr(1), true)
	if b.add(addr(2), false); !guess.reachable || !sure.reachable {
		t.Error("an address is not reachable that was, or is")
	}
	if b.failed(sure, epoch); sure.reachable {
		t.Error("an address that failed counts as reachable")
	}
}

func TestTheBookIsBounded(t *testing.T) {
	b := testBook()
	for i := range 2 * maxKnown {
		b.add(addr(i+1), false)
	}
	if len(b.list) != maxKnown || len(b.index) != maxKnown {
		t.Fatalf("%d addresses, %d indexed", len(b.list), len(b.index))
	}
	b.failed(b.index[addr(7)], epoch)
	if b.add(addr(5000), false) == nil || b.index[addr(7)] != nil || len(b.list) != maxKnown {
		t.Error("a new address did not take the place of the one that failed")
	}
	if b.add(addr(5001), false) != nil || b.add(addr(5002), true) == nil || len(b.list) != maxKnown {
		t.Error("only a reachable address takes the place of one that was not tried yet")
	}
}

func TestTheBookRefusesWhatNoPeerCanHave(t *testing.T) {
	b := testBook()
	for _, s := range []string{"0.0.0.0:1", "[::]:1", "224.0.0.1:1", "[ff02::1]:1", "198.18.0.1:0"} {
		if b.add(netip.MustParseAddrPort(s), true) != nil {
			t.Errorf("%s was added", s)
		}
	}
	if b.add(netip.AddrPort{}, true) != nil {
		t.Error("no address at all was added")
	}
	a := b.add(netip.MustParseAddrPort("[::ffff:198.18.0.1]:7"), true)
	if c := b.add(netip.MustParseAddrPort("198.18.0.1:7"), true); a == nil || a != c || fmt.Sprint(a.at) != "198.18.0.1:7" {
		t.Errorf("an IPv4 address in its two forms: %+v and %+v", a, c)
	}
}
