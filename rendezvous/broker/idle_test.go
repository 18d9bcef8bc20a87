package broker

import (
	"fmt"
	"testing"
	"time"
)

// An attacker with many torrents in common has one place of a device, as long as somebody else wants the others.
func TestOneOfManyTorrentsDoesNotTakeAllPlaces(t *testing.T) {
	s := newRelayed(t, usual)
	for i := range byte(6) {
		s.come("attacker", torrent{i}, 1000, "blocked")
		s.come("victim", torrent{i}, 0, "blocked")
	}
	if s.wait(time.Second); s.of("attacker") != 4 {
		t.Fatalf("the attacker has %d relays, though nobody else wants any", s.of("attacker"))
	}
	for i := range byte(3) {
		s.come(id(fmt.Sprintf("friend%d", i)), torrent{9 + i}, 10, "blocked")
		s.come("victim", torrent{9 + i}, 5, "blocked")
	}
	s.wait(2 * time.Minute)
	for range 60 {
		s.wait(10 * time.Second)
		if n := s.of("attacker"); n != 1 || s.of("victim") != 4 {
			t.Fatalf("the attacker has %d of the victim's %d relays", n, s.of("victim"))
		}
	}
}

// Whatever attackers say that they have: while their relays carry nothing they make place for one that does, and do not end it.
func TestRelaysThatCarryNothingMakePlace(t *testing.T) {
	carried := map[want]int64{}
	c := usual
	c.Carried = func(a, b id, t torrent) int64 { return carried[want{key{a, b}, t}] }
	s := newRelayed(t, c)
	s.come("victim", torrent{1}, 5, "blocked")
	for i := range 8 {
		s.come(id(fmt.Sprintf("attacker%d", i)), torrent{1}, 1<<50+int64(i), "blocked")
	}
	if s.wait(time.Second); s.of("victim") != 4 {
		t.Fatalf("%d relays", s.of("victim"))
	}
	s.come("friend", torrent{1}, 1000, "blocked")
	friend := want{key{"friend", "victim"}, torrent{1}}
	had, losses := 0, 0
	for range 20 * 60 {
		before := s.on[friend]
		s.wait(time.Second)
		if s.on[friend] {
			carried[friend] += 10 << 10
			had++
		} else if before {
			losses++
		}
	}
	if had < 15*60 || losses > 2 {
		t.Errorf("in 20 minutes the friend is relayed for %d s, and loses its place %d times", had, losses)
	}
}
