package session

import (
	"net/netip"
	"reflect"
	"testing"
	"time"

	"simplebit/wire/control"
	"simplebit/wire/link"
)

func attempt(n byte) control.Punch {
	return control.Punch{Attempt: [8]byte{n}, Key: [16]byte{n}, In: 70 * time.Millisecond, Torrents: [][20]byte{{1}}}
}

func TestAnAttemptIsAskedForAndToldOf(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	key := newKey(t)
	w.hub.Punch(idOf(key), attempt(1)) // nobody is there
	d := w.joined(key)
	w.hub.Punch(idOf(key), attempt(2))
	if got := next[control.Punch](d); !reflect.DeepEqual(got, attempt(2)) {
		t.Errorf("%+v", got)
	}
	told := control.Punched{Attempt: [8]byte{2}, Outcome: control.PunchConnected, Remote: netip.MustParseAddrPort("203.0.113.9:6882")}
	d.send(told)
	if got := event[control.Punched](w); !reflect.DeepEqual(got, told) {
		t.Errorf("%+v", got)
	}
}

func TestAttemptsThatADeviceDoesNotTakeAreLost(t *testing.T) {
	t.Parallel()
	s := &session{punches: make(chan control.Punch, maxPunches)}
	h := NewHub(Config{})
	h.sessions["attic"] = s
	for n := range byte(maxPunches + 5) {
		h.Punch("attic", attempt(n))
	}
	if got := len(s.punches); got != maxPunches {
		t.Errorf("%d wait", got)
	}
}

func TestALineShowsWhereADeviceIsSeen(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	key := newKey(t)
	if l, online := w.hub.Line(idOf(key)); online || l != (Line{}) {
		t.Errorf("before it connects: %+v", l)
	}
	d := w.joined(key)
	l, online := w.hub.Line(idOf(key))
	if at := d.conn.Local(); !online || l.Observed.Port() != at.Port() || l.RTT <= 0 || l.RTT > patience || !l.UDP || l.Transport != link.QUIC {
		t.Errorf("%+v, it is at %v", l, at)
	}
}
