package broker

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"testing"
	"time"

	"simplebit/nat"
	"simplebit/wire/control"
)

// usual is what a surrogate relays.
var usual = Config{Relays: 256, DeviceRelays: 4}

// relayed is a core with devices that nothing but a relay brings together, and what was ordered of it.
type relayed struct {
	t *testing.T
	*core
	now   time.Time
	lines map[id]Line
	on    map[want]bool
}

func newRelayed(t *testing.T, c Config) *relayed {
	s := &relayed{t: t, now: noon.Add(settling), lines: map[id]Line{}, on: map[want]bool{}}
	s.core = newCore(noon, fillCounting(), func(who id) (Line, bool) { l, ok := s.lines[who]; return l, ok }, func(who id) string { return string(who) }, before)
	s.limit(c)
	return s
}

func (s *relayed) limit(c Config) { s.core.relays.limit(c) }

// come has a device come that has so much of a torrent of 1,000 bytes.
func (s *relayed) come(who id, t torrent, have int64, behaviour string) {
	if _, known := s.lines[who]; !known {
		n := byte(len(s.lines))
		s.lines[who] = Line{netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 51, n >> 7, n}), 6882), 0, behaviour != "blocked"}
		s.connected(s.now, who, true)
		s.told(s.now, who, nat.Network{Behaviour: behaviours[behaviour]})
	}
	s.has(who, t, have)
}

func (s *relayed) has(who id, t torrent, have int64) {
	m := control.Progress{ID: t, State: control.StateDownloading, Have: have}
	if have == 1000 {
		m.State = control.StateSeeding
	}
	s.progress(s.now, who, m)
}

// wait lets time pass; what is to end does.
func (s *relayed) wait(d time.Duration) {
	s.t.Helper()
	for end := s.now.Add(d); s.now.Before(end); s.now = s.now.Add(pace) {
		s.poll(s.now)
		began, ended := s.relay(s.now)
		for _, w := range began {
			s.on[w] = true
		}
		for _, w := range ended {
			delete(s.on, w)
			s.core.relayed(s.now, w, errors.New("the place was needed"))
		}
		if err := s.audit(); err != nil {
			s.t.Fatal(err)
		}
	}
}

// of is how many relays a device has.
func (s *relayed) of(who id) (n int) {
	for w := range s.on {
		if w.a == who || w.b == who {
			n++
		}
	}
	return n
}

func TestDevicesWithNothingToGiveAreNotRelayed(t *testing.T) {
	s := newRelayed(t, usual)
	for i := range 5 {
		s.come(id('a'+byte(i)), torrent{1}, 0, "blocked")
	}
	if s.wait(10 * time.Second); len(s.on) != 0 {
		t.Errorf("%d relays", len(s.on))
	}
	s.come("seed", torrent{1}, 1000, "blocked")
	if s.wait(time.Second); s.of("seed") != 4 || len(s.on) != 4 {
		t.Errorf("the seed has %d relays, of %d", s.of("seed"), len(s.on))
	}
}

func TestRelaysMakePlaceForWhoHasMore(t *testing.T) {
	for _, limits := range []Config{usual, {Relays: 10, DeviceRelays: 4}, {Relays: 3, DeviceRelays: 1}, {Relays: 2, DeviceRelays: 4}} {
		s := newRelayed(t, limits)
		for i := range 6 {
			s.come(id('a'+byte(i)), torrent{1}, 10+int64(i), "blocked")
		}
		if s.wait(10 * time.Second); len(s.on) < min(limits.Relays, 3*limits.DeviceRelays-1) {
			t.Fatalf("%+v: %d relays", limits, len(s.on))
		}
		s.come("seed", torrent{1}, 1000, "blocked")
		if s.wait(25 * time.Second); s.of("seed") == 0 {
			t.Fatalf("%+v: the seed has no relay, of %d", limits, len(s.on))
		}
		before := maps.Clone(s.on)
		for range 20 {
			if s.wait(10 * time.Second); s.of("seed") != min(limits.DeviceRelays, 6) && limits.Relays > 4 {
				t.Errorf("%+v: the seed has %d relays", limits, s.of("seed"))
			}
		}
		if limits.DeviceRelays == 1 && !maps.Equal(before, s.on) {
			t.Errorf("%+v: relays begin and end although nothing changes", limits)
		}
	}
}

// Devices that say one thing and then another end others' relays once in twenty seconds at most.
func TestLiarsDoNotHaveRelaysFlap(t *testing.T) {
	s := newRelayed(t, Config{Relays: 1, DeviceRelays: 1})
	s.come("a", torrent{1}, 500, "blocked")
	s.come("b", torrent{1}, 100, "blocked")
	s.come("liar", torrent{1}, 500, "blocked")
	s.come("crook", torrent{1}, 500, "blocked")
	changes, last := 0, maps.Clone(s.on)
	for i := range 600 {
		s.has("liar", torrent{1}, []int64{500, 1 << 60}[i/5%2])
		s.has("crook", torrent{1}, []int64{1 << 60, 500}[i/5%2])
		s.wait(pace)
		if !maps.Equal(s.on, last) {
			changes, last = changes+1, maps.Clone(s.on)
		}
	}
	if changes < 3 || changes > 1+3*2 { // each that ends makes place for another one
		t.Errorf("relays have changed %d times in a minute", changes)
	}
}

func TestPathsForAnotherTorrentAreNone(t *testing.T) {
	s := newRelayed(t, usual)
	for i := range 5 { // all have paths for one torrent
		s.come(id('a'+byte(i)), torrent{1}, int64(i), "restricted")
	}
	for range 100 {
		for _, o := range s.poll(s.now) {
			s.punched(s.now, o.to, control.Punched{Attempt: o.punch.Attempt, Outcome: control.PunchConnected, Remote: o.punch.Observed})
		}
		s.now = s.now.Add(pace)
	}
	if n := s.devices["a"].paths; n != 4 {
		t.Fatalf("%d paths", n)
	}
	for i := range 5 {
		s.has(id('a'+byte(i)), torrent{2}, int64(i)*100)
	}
	if s.wait(5 * time.Second); s.of("a") == 0 || s.of("b") == 0 {
		t.Errorf("relayed are %v", s.on)
	}
}

// More wait for a device than may: that it can be had by all does not keep it from who has all.
func TestWhoIsWantedByManyGetsToTheSeed(t *testing.T) {
	s := newRelayed(t, usual)
	s.come("rich", torrent{1}, 100, "restricted")
	for i := range 2 * maxPairs {
		s.come(id(fmt.Sprintf("poor%03d", i)), torrent{1}, 0, "restricted")
	}
	for range 10 { // they could have paths soon, so all wait for their relay
		s.wait(pace)
	}
	if n := s.devices["rich"].relays.sought; n != maxPairs {
		t.Fatalf("%d wait for it", n)
	}
	s.come("seed", torrent{1}, 1000, "restricted")
	s.wait(2 * pace)
	if r := s.core.relays.known[want{key{"rich", "seed"}, torrent{1}}]; r == nil || !r.wanted {
		t.Error("it does not wait for the seed")
	}
}

// What ends when it has begun is not ordered at once again, however many there are.
func TestRelaysThatEndRestAlsoInACrowd(t *testing.T) {
	s := newRelayed(t, Config{Relays: 256, DeviceRelays: 4})
	s.come("seed", torrent{1}, 1000, "blocked")
	for i := range 20 {
		s.come(id(fmt.Sprintf("poor%03d", i)), torrent{1}, 0, "blocked")
	}
	orders := map[want]int{}
	for range 60 * 10 {
		s.wait(pace)
		for w := range s.on {
			orders[w]++
			delete(s.on, w)
			s.core.relayed(s.now, w, errors.New("it broke"))
		}
	}
	if len(orders) != 20 {
		t.Errorf("%d were tried", len(orders))
	}
	for w, n := range orders { // at 0, 5, 15, 35 s
		if n < 3 || n > 4 {
			t.Errorf("%v was ordered %d times in a minute", w.key, n)
		}
	}
}
