package session

import (
	"errors"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"simplebit/wire/control"
	"simplebit/wire/link"
)

const (
	// maxUnadmitted bounds the connections of one enrolled key that are not yet a session, see Hub.takeOver. A device tries a
	// few ways at once.
	maxUnadmitted = 4

	helloTime = 10 * time.Second // for a stranger's Hello
	hurryTime = 3 * time.Second  // while there are many strangers
)

const tryAgain = "too many devices are connecting at once: try again"

// errGaveWay is a connection whose place another one has got.
var errGaveWay = errors.New("it gave way to a newer connection")

// admissions is the connections that are not a session yet, so that strangers keep neither devices nor each other out, and
// remembers who is revoked meanwhile. TLS has shown each one's key: those of an enrolled key are counted for that key alone.
// It has no I/O.
type admissions struct {
	hello, hurry time.Duration // for a stranger's Hello, and while there are many strangers

	total     int
	enrolled  map[control.DeviceID][]*admission // the oldest first
	strangers map[link.Transport]*link.Crowd
	revoked   map[control.DeviceID]bool
}

// admission is one of them.
type admission struct {
	device  control.DeviceID
	giveWay func()
	gaveWay atomic.Bool

	// Of a stranger; otherwise nil.
	crowd *link.Crowd
	place *link.Place

	hello time.Duration // for the Hello to come
}

func newAdmissions(hello, hurry time.Duration) *admissions {
	return &admissions{
		hello: hello, hurry: hurry,
		enrolled: map[control.DeviceID][]*admission{},
		strangers: map[link.Transport]*link.Crowd{
			link.QUIC: link.NewCrowd(link.Limits{}), link.TCP: link.NewCrowd(link.Limits{}),
		},
		revoked: map[control.DeviceID]bool{},
	}
}

// start lets a connection in, unless it is a stranger and all other strangers are being served; then it returns nil. The caller
// calls out, if that is not nil, to close the connection that gives way, as soon as it holds no lock. Each that was let in has
// to end.
func (a *admissions) start(device control.DeviceID, enrolled bool, over link.Transport, from netip.Addr, closeIt func()) (n *admission, out func()) {
	n = &admission{device: device, hello: a.hello}
	n.giveWay = func() { n.gaveWay.Store(true); closeIt() }
	if enrolled {
		same := append(a.enrolled[device], n)
		if len(same) > maxUnadmitted {
			out = same[0].giveWay
			same = slices.Delete(same, 0, 1)
		}
		a.enrolled[device] = same
		a.total++
		return n, out
	}
	n.crowd = a.strangers[over]
	if n.crowd.Crowded(from, 2) {
		n.hello = a.hurry
	}
	place, last := n.crowd.Enter(from, n.giveWay)
	if place == nil {
		return nil, nil
	}
	n.place = place
	a.total++
	if last != nil {
		out = last.GiveWay
	}
	return n, out
}

// served says whether a stranger is being looked up, which is soon over: then it gives way to nobody.
func (a *admissions) served(n *admission, served bool) {
	if n.place != nil {
		n.place.Keep(served)
	}
}

// end ends a connection's admission, also that of one that gave way.
func (a *admissions) end(n *admission) {
	if n.place != nil {
		n.crowd.Leave(n.place)
	} else if same := slices.DeleteFunc(a.enrolled[n.device], func(other *admission) bool { return other == n }); len(same) > 0 {
		a.enrolled[n.device] = same
	} else {
		delete(a.enrolled, n.device)
	}
	if a.total--; a.total == 0 {
		clear(a.revoked)
	}
}

// revoke notes a revocation that a connection on its way may have escaped.
func (a *admissions) revoke(device control.DeviceID) {
	if a.total > 0 {
		a.revoked[device] = true
	}
}

func (h *Hub) startAdmission(device control.DeviceID, conn link.Conn) *admission {
	enrolled := h.cfg.Admitter.Enrolled(device)
	h.mu.Lock()
	n, out := h.admissions.start(device, enrolled, conn.Transport(), conn.Remote().Addr(), func() { conn.Close(closeBusy, tryAgain) })
	h.mu.Unlock()
	if out != nil {
		out()
	}
	return n
}

func (h *Hub) served(n *admission, served bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.admissions.served(n, served)
}

func (h *Hub) endAdmission(n *admission) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.admissions.end(n)
}
