package front

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"
)

func testBook() book { return newBook(rand.New(rand.NewPCG(1, 2))) }

// everything is the need of a torrent that is short of peers.
var everything = need{fresh: true, again: true, links: 20, anyLink: true}

// met brings addr(i) into the book and verifies it.
func met(b *book, now time.Time, i int) *entry {
	b.add(now, addr(i), SourceTracker)
	e := b.byAddr[addr(i)]
	b.reached(now, e)
	return e
}

func TestBackOffDoublesFromHalfAMinuteToHalfAnHour(t *testing.T) {
	b := testBook()
	b.add(epoch, addr(0), SourceTracker)
	now := epoch
	for _, want := range []time.Duration{30 * time.Second, time.Minute, 2 * time.Minute, 4 * time.Minute, 8 * time.Minute, 16 * time.Minute, 30 * time.Minute, 30 * time.Minute} {
		e, _ := b.dial(now, everything)
		if e == nil {
			t.Fatalf("nothing to dial after %v", now.Sub(epoch))
		}
		b.failed(now, e, false, false)
		if _, wake := b.survey(now, everything); wake.Sub(now) != want {
			t.Errorf("failure %d: again after %v, want %v", e.fails, wake.Sub(now), want)
		}
		now = now.Add(want)
	}
}

func TestWhatIsDialledDependsOnWhatIsNeeded(t *testing.T) {
	hour := epoch.Add(time.Hour)
	for _, c := range []struct {
		name string
		e    entry
		need need
		want purpose
	}{
		{"new", entry{}, need{fresh: true}, forVerifying},
		{"new, but enough are known", entry{}, need{links: 5, anyLink: true}, forNothing},
		{"new, but muted", entry{muted: hour.Add(1)}, everything, forNothing},
		{"failed", entry{fails: 1}, need{again: true}, forVerifying},
		{"failed, and nobody is hungry", entry{fails: 1}, need{fresh: true, links: 5}, forNothing},
		{"failed just now", entry{fails: 1, next: hour.Add(1)}, everything, forNothing},
		{"verified an hour ago", entry{verified: epoch}, need{again: true}, forVerifying},
		{"verified just now", entry{verified: hour}, need{fresh: true, again: true}, forNothing},
		{"verified, for a link", entry{verified: hour}, need{links: 1, anyLink: true}, forLink},
		{"verified, but just left", entry{verified: hour, next: hour.Add(1)}, everything, forNothing},
		{"verified, without PEX", entry{verified: hour, noPEX: true}, need{links: 1}, forNothing},
		{"verified, without PEX, for metadata", entry{verified: hour, noPEX: true}, need{links: 1, anyLink: true}, forLink},
		{"verified, without extensions", entry{verified: hour, plain: true}, everything, forNothing},
		{"verified, then failed once", entry{verified: hour, fails: 1}, need{links: 1}, forLink},
		{"verified, then failed twice", entry{verified: hour, fails: 2}, need{links: 1}, forNothing},
		{"connected", entry{busy: true}, everything, forNothing},
		{"a liar", entry{banned: true}, everything, forNothing},
	} {
		what, at := c.need.due(hour, &c.e)
		if at.After(hour) {
			what = forNothing
		}
		if what != c.want {
			t.Errorf("%s: %v, want %v", c.name, what, c.want)
		}
	}
}

func TestNewAddressesOfEachSourceComeInTurnAndAtRandom(t *testing.T) {
	b := testBook()
	for i := range 1000 {
		b.add(epoch, addr(i), SourceTracker)
	}
	b.add(epoch, addr(2000), SourceDHT)
	b.add(epoch, addr(2001), SourceDevice)
	var first []netip.AddrPort
	for range 5 {
		e, _ := b.dial(epoch, everything)
		first = append(first, e.addr)
	}
	if !slices.Contains(first, addr(2000)) || !slices.Contains(first, addr(2001)) {
		t.Errorf("dialled %v first: what the DHT and a device named hides behind the tracker", first)
	}
	if slices.Contains(first, addr(0)) && slices.Contains(first, addr(1)) {
		t.Errorf("dialled %v first: not at random", first)
	}
}

func TestFullBookLetsGoOfTheLeastPromising(t *testing.T) {
	full := func(from Source) *book {
		b := testBook()
		for i := range maxKnown {
			b.add(epoch, addr(i), from)
		}
		return &b
	}
	for _, c := range []struct {
		name   string
		had    Source
		change func(b *book)
		from   Source
		taken  bool
		gone   int // index of the one let go of; -1: any
	}{
		{"none tried, same trust", SourceTracker, func(*book) {}, SourceTracker, false, 0},
		{"none tried, more trust", SourcePEX, func(*book) {}, SourceTracker, true, -1},
		{"none tried, less trust", SourceTracker, func(*book) {}, SourcePEX, false, 0},
		{"devices stay", SourceDevice, func(b *book) { b.failed(epoch, b.byAddr[addr(3)], false, false) }, SourceTracker, false, 0},
		{"the one that failed most", SourceTracker, func(b *book) {
			b.failed(epoch, b.byAddr[addr(8)], false, false)
			b.failed(epoch, b.byAddr[addr(9)], false, false)
			b.failed(epoch, b.byAddr[addr(9)], false, false)
		}, SourcePEX, true, 9},
		{"not one that is connected", SourceTracker, func(b *book) {
			b.failed(epoch, b.byAddr[addr(9)], false, false)
			b.byAddr[addr(9)].busy = true
		}, SourcePEX, false, 0},
		{"rather a stranger than a suspect", SourcePEX, func(b *book) {
			b.byAddr[addr(9)].suspect = true
			for i := range maxKnown - 1 {
				if i != 9 {
					b.byAddr[addr(i)].busy = true
				}
			}
		}, SourceTracker, true, maxKnown - 1},
		{"liars in the end", SourceTracker, func(b *book) { b.byAddr[addr(9)].banned = true }, SourceTracker, true, 9},
	} {
		b := full(c.had)
		c.change(b)
		if got := b.add(epoch, addr(maxKnown), c.from); got != c.taken {
			t.Errorf("%s: taken is %v", c.name, got)
		}
		if b.len() != maxKnown || len(b.byAddr) != maxKnown {
			t.Errorf("%s: %d addresses", c.name, b.len())
		}
		if c.taken && c.gone >= 0 && b.byAddr[addr(c.gone)] != nil {
			t.Errorf("%s: the %dth is still there", c.name, c.gone)
		}
	}
}

func TestOneHostIsNotNamedAThousandTimes(t *testing.T) {
	b := testBook()
	ip := addr(0).Addr()
	for port := range 1000 {
		b.add(epoch, netip.AddrPortFrom(ip, uint16(port+1)), SourceDHT)
	}
	if b.len() != maxPerHost {
		t.Errorf("%d addresses of one host, want %d", b.len(), maxPerHost)
	}
	if !b.add(epoch, netip.AddrPortFrom(ip, 9999), SourceDevice) {
		t.Error("a device of ours at that host is not taken")
	}
	b.forget(only(SourceDHT))
	if b.len() != 1 || !b.add(epoch, addr(0), SourceTracker) {
		t.Errorf("%d addresses after the DHT's were forgotten", b.len())
	}
}

func TestOneNetworkDoesNotTakeTheWholeBook(t *testing.T) {
	for _, c := range []struct {
		name string
		at   func(i int) netip.Addr
		want int
	}{
		{"one /64", func(i int) netip.Addr { return v6(1, i) }, maxPerHost},
		{"two /64", func(i int) netip.Addr { return v6(i%2, i) }, 2 * maxPerHost},
		{"a /64 for each", func(i int) netip.Addr { return v6(i, 1) }, 1000},
		{"IPv4", func(i int) netip.Addr { return addr(i).Addr() }, 1000},
	} {
		b := testBook()
		for i := range 1000 {
			b.add(epoch, netip.AddrPortFrom(c.at(i), 6881), SourcePEX)
		}
		if b.len() != c.want {
			t.Errorf("%s: %d addresses, want %d", c.name, b.len(), c.want)
		}
		if b.forget(only(SourcePEX)); len(b.byHost) != 0 {
			t.Errorf("%s: %d hosts are left of none", c.name, len(b.byHost))
		}
	}
}

// v6 is a host of a network of 64 bits.
func v6(network, host int) netip.Addr {
	return netip.AddrFrom16([16]byte{0x26, 6: byte(network >> 8), 7: byte(network), 14: byte(host >> 8), 15: byte(host)})
}

func TestForgettingASourceLeavesWhatOthersNamedToo(t *testing.T) {
	b := testBook()
	for i, from := range [][]Source{{SourcePEX}, {SourceDHT, SourcePEX}, {SourceDHT, SourceTracker}, {SourceMagnet}, {SourcePEX, SourceDevice}} {
		for _, s := range from {
			b.add(epoch, addr(i), s)
		}
	}
	b.forget(only(SourcePEX) | only(SourceDHT))
	for i, want := range []bool{false, false, true, true, true} {
		if (b.byAddr[addr(i)] != nil) != want {
			t.Errorf("address %d: there is %v", i, !want)
		}
	}
}

func TestAddressThatADeviceCannotUseIsMutedForItsTime(t *testing.T) {
	b := testBook()
	e := met(&b, epoch, 0)
	b.mute(epoch, addr(0), unusableFor)
	b.mute(epoch, addr(1), liedFor) // not known yet
	b.add(epoch, addr(1), SourceTracker)
	if len(b.reachable(epoch)) != 0 || b.reached(epoch.Add(time.Minute), e) || b.offer(epoch.Add(time.Minute)) != nil {
		t.Error("it is told of")
	}
	after := epoch.Add(unusableFor)
	e.verified = time.Time{}
	if got, _ := b.dial(after, need{fresh: true}); got != e {
		t.Errorf("dialled %+v after its time, want the first", got)
	}
	if !b.reached(after, e) {
		t.Error("verified again it is not told of")
	}
	b.mute(after, addr(2), liedFor)
	b.mute(after, addr(2), unusableFor)
	if end := b.shun[addr(2)]; !end.Equal(after.Add(liedFor)) {
		t.Errorf("a liar is muted until %v only", end.Sub(after))
	}
	for i := range 2 * maxKnown {
		b.mute(after, addr(i), time.Hour)
	}
	if len(b.shun) > maxKnown {
		t.Errorf("%d muted addresses are kept", len(b.shun))
	}
}

func TestReachableOnesAreTheLastVerifiedFirst(t *testing.T) {
	b := testBook()
	for i := range 300 {
		met(&b, epoch.Add(time.Duration(i)*time.Second), i)
	}
	b.failed(epoch, b.byAddr[addr(299)], false, false)
	b.failed(epoch, b.byAddr[addr(298)], false, false)
	b.failed(epoch, b.byAddr[addr(298)], false, false)
	list := b.reachable(epoch.Add(time.Hour))
	if len(list) != maxReachable || list[0].addr != addr(299) || list[1].addr != addr(297) {
		t.Errorf("%d reachable, %v first", len(list), list[0].addr)
	}
}

func TestVerifiedAddressIsReportedEveryTenMinutesAtMost(t *testing.T) {
	b := testBook()
	b.add(epoch, addr(0), SourceTracker)
	e := b.byAddr[addr(0)]
	for _, c := range []struct {
		after time.Duration
		want  bool
	}{{0, true}, {time.Minute, false}, {9 * time.Minute, false}, {10 * time.Minute, true}, {11 * time.Minute, false}} {
		if got := b.reached(epoch.Add(c.after), e); got != c.want {
			t.Errorf("after %v: reported is %v", c.after, got)
		}
	}
}

// "never one that is known dead unless nothing better" is there
func TestUnverifiedAddressesAreOfferedInTheOrderOfHope(t *testing.T) {
	b := testBook()
	for i := range 4 {
		b.add(epoch.Add(time.Duration(i)*time.Millisecond), addr(i), SourceTracker)
	}
	if e := b.offer(epoch.Add(time.Second)); e != nil {
		t.Errorf("%v is offered before it could be verified", e.addr)
	}
	now := epoch.Add(time.Minute)
	b.failed(epoch, b.byAddr[addr(0)], false, false)
	b.failed(epoch, b.byAddr[addr(0)], false, false)
	b.failed(epoch, b.byAddr[addr(1)], false, false)
	var got []netip.AddrPort
	next := func() {
		now = now.Add(time.Second)
		if e := b.offer(now); e != nil {
			got = append(got, e.addr)
		}
	}
	next() // 2, new
	next() // 3, new
	next() // nothing: 2 and 3 may still be alive
	b.failed(epoch, b.byAddr[addr(2)], true, false)
	b.failed(epoch, b.byAddr[addr(3)], false, false)
	next() // 1, failed once
	next() // 0, failed twice
	next() // 2 is hopeless, the others have been offered
	if want := []netip.AddrPort{addr(2), addr(3), addr(1), addr(0)}; !slices.Equal(got, want) {
		t.Errorf("offered %v, want %v", got, want)
	}
	now = now.Add(offerAgain)
	met(&b, now, 5)
	if e := b.offer(now); e != nil {
		t.Errorf("%v, which failed, is offered although another is reachable", e.addr)
	}
}

func TestAddressesThatNobodyCanHaveAreNotTaken(t *testing.T) {
	b := testBook()
	for _, a := range []string{"198.18.0.1:0", "0.0.0.0:1", "[::]:1", "224.0.0.1:1", "[ff02::1]:1", "[::ffff:0.0.0.0]:1"} {
		b.add(epoch, netip.MustParseAddrPort(a), SourceTracker)
	}
	b.add(epoch, netip.AddrPort{}, SourceDevice)
	if b.len() != 0 {
		t.Errorf("took %v", b.order[0].addr)
	}
	b.add(epoch, netip.MustParseAddrPort("[::ffff:198.18.0.1]:6881"), SourceTracker)
	if b.byAddr[addr(1)] == nil {
		t.Error("a mapped address is not taken as what it stands for")
	}
}

func TestADeviceThatTakesPeersNowIsTriedAtOnce(t *testing.T) {
	b := testBook()
	b.add(epoch, addr(1), SourceDevice)
	b.add(epoch, addr(2), SourceTracker)
	for range 2 { // before it has the torrent it refuses
		e, _ := b.dial(epoch, everything)
		b.failed(epoch, e, true, false)
	}
	if due, _ := b.survey(epoch, everything); due != 0 {
		t.Fatalf("%d addresses are due right after they failed", due)
	}
	b.add(epoch, addr(1), SourceDevice)
	if e, _ := b.dial(epoch, everything); e == nil || e.addr != addr(1) {
		t.Errorf("dialled %v, want the device", e)
	}
	if known, reachable := b.strangers(epoch); known != 1 || reachable != 0 {
		t.Errorf("%d addresses known and %d reachable, want 1 and 0: the device does not count", known, reachable)
	}
}
