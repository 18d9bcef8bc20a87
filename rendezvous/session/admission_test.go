package session

import (
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"simplebit/wire/control"
	"simplebit/wire/link"
)

// door is admissions whose connections have names.
type door struct {
	*admissions
	t   *testing.T
	out []string // gave way
}

func newDoor(t *testing.T) *door { return &door{newAdmissions(helloTime, hurryTime), t, nil} }

func (d *door) start(name string, key control.DeviceID, enrolled bool, over link.Transport, from string) *admission {
	n, out := d.admissions.start(key, enrolled, over, netip.MustParseAddr(from), func() { d.out = append(d.out, name) })
	if out != nil {
		out()
	}
	return n
}

// strangers fills the door from so many addresses.
func (d *door) strangers(hosts int, over link.Transport) {
	for i := range 256 {
		d.start("stranger", control.DeviceID(fmt.Sprint("key", i)), false, over, fmt.Sprintf("198.18.10.%d", i%hosts))
	}
	if len(d.out) != 0 {
		d.t.Fatalf("%d of 256 gave way", len(d.out))
	}
}

func TestStrangersKeepNoEnrolledDeviceOut(t *testing.T) {
	d := newDoor(t)
	for _, over := range []link.Transport{link.QUIC, link.TCP} {
		d.strangers(8, over)
	}
	for i := range 1000 {
		key := control.DeviceID(fmt.Sprint("device", i))
		if n := d.start("device", key, true, link.TCP, "198.18.10.1"); n == nil || n.hello != helloTime {
			t.Fatalf("device %d got %+v", i, n)
		}
	}
	if len(d.out) != 0 {
		t.Errorf("%d gave way to enrolled devices", len(d.out))
	}
}

func TestTheNewestConnectionsOfAKeyWin(t *testing.T) {
	d := newDoor(t)
	var all []*admission
	for i := range maxUnadmitted + 2 {
		all = append(all, d.start(fmt.Sprint(i), "attic", true, link.QUIC, "192.0.2.1"))
	}
	if fmt.Sprint(d.out) != "[0 1]" || !all[0].gaveWay.Load() || all[2].gaveWay.Load() {
		t.Errorf("%v gave way", d.out)
	}
	for _, n := range all {
		d.end(n)
	}
	if d.total != 0 || len(d.enrolled) != 0 {
		t.Errorf("kept: %d, %v", d.total, d.enrolled)
	}
}

func TestASilentStrangerGivesWayAndHasLessTime(t *testing.T) {
	d := newDoor(t)
	if n := d.start("early", "early", false, link.TCP, "192.0.2.9"); n.hello != helloTime {
		t.Errorf("the first has %v", n.hello)
	}
	d.end(d.start("gone", "gone", false, link.TCP, "192.0.2.9"))
	d = newDoor(t)
	d.strangers(8, link.TCP)
	n := d.start("joiner", "new", false, link.TCP, "192.0.2.1")
	if n == nil || n.hello != hurryTime {
		t.Fatalf("the joiner got %+v", n)
	}
	for i := range 1000 { // the strangers connect again, and meet each other
		d.start("stranger", "key", false, link.TCP, fmt.Sprintf("198.18.10.%d", i%8))
	}
	if n.gaveWay.Load() || len(d.out) != 1001 {
		t.Errorf("%d gave way, the joiner too: %v", len(d.out), n.gaveWay.Load())
	}
	if other := d.start("over QUIC", "new", false, link.QUIC, "192.0.2.1"); other.hello != helloTime || len(d.out) != 1001 {
		t.Errorf("over QUIC it got %v, and %d gave way", other.hello, len(d.out))
	}
}

func TestAStrangerThatIsLookedUpGivesWayToNobody(t *testing.T) {
	d := newDoor(t)
	asked := d.start("asked", "new", false, link.TCP, "192.0.2.1")
	d.served(asked, true)
	for range 100 {
		d.start("same host", "key", false, link.TCP, "192.0.2.1")
	}
	if asked.gaveWay.Load() {
		t.Error("it gave way")
	}
	d.served(asked, false) // and was refused
	for range 100 {
		d.start("same host", "key", false, link.TCP, "192.0.2.1")
	}
	if !asked.gaveWay.Load() {
		t.Error("it did not give way")
	}
}

func TestOnlyRevocationsDuringAdmissionsAreRemembered(t *testing.T) {
	d := newDoor(t)
	d.revoke("early")
	n := d.start("", "attic", true, link.QUIC, "192.0.2.1")
	d.revoke("attic")
	if !d.revoked["attic"] || d.revoked["early"] {
		t.Errorf("remembered: %v", d.revoked)
	}
	d.end(n)
	if len(d.revoked) != 0 {
		t.Errorf("kept: %v", d.revoked)
	}
}

func TestEnrolledDevicesGetThroughACrowdOfSilentStrangers(t *testing.T) {
	for _, over := range []link.Transport{link.QUIC, link.TCP} {
		t.Run(over.String(), func(t *testing.T) {
			w := newWorld(t)
			w.over = over
			key := newKey(t)
			w.locked(func() { w.enrolled = idOf(key) })
			var silent []link.Conn
			for range 32 {
				silent = append(silent, w.dial(newKey(t)))
				w.awaitAdmissions(len(silent)) // in this order
			}
			next[control.Welcome](w.connect(key, hello))
			for _, c := range silent {
				select {
				case <-c.Done():
					t.Fatal("a stranger gave way to an enrolled device")
				default:
				}
			}
			next[control.Welcome](w.connect(newKey(t), hello)) // which joins
			select {
			case <-silent[0].Done():
			case <-time.After(patience):
				t.Error("the first stranger did not give way to one that speaks")
			}
		})
	}
}

func TestRefusalsForOneReasonAreToldOnceInAWhile(t *testing.T) {
	var r refusals
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	lines := 0
	for i := range 1649 {
		if _, _, tell := r.note(now.Add(time.Duration(i)*5*time.Millisecond), fmt.Errorf("%w: stranger %d", errNoHello, i)); tell {
			lines++
		}
	}
	if lines != 1 {
		t.Errorf("%d lines in 8 s", lines)
	}
	if _, more, tell := r.note(now, errors.New("anything else")); !tell || more != 0 {
		t.Errorf("another reason: %v after %d", tell, more)
	}
	reason, more, tell := r.note(now.Add(refusedEvery), errNoHello)
	if !tell || more != 1648 || reason != errNoHello.Error() {
		t.Errorf("after a while: %q, %v after %d", reason, tell, more)
	}
	for i := range 1000 {
		r.note(now, fmt.Errorf("number %d", i))
	}
	if len(r.last) != 2 {
		t.Errorf("%d reasons", len(r.last))
	}
}
