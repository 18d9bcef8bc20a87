package relay

import (
	"time"

	"simplebit/wire/control"
)

// maxCounts bounds the counts that are remembered, which take some 4 MiB then. Beyond it the one that stood still for longest is
// forgotten; those of live connections, far fewer, are not.
const maxCounts = 16384

// share is a device's part in a torrent.
type share struct {
	device  control.DeviceID
	torrent [20]byte
}

// count is what was relayed for a share.
type count struct {
	down, up int64 // bytes that the device received, and that others received from it
	users    int   // connections that add to it
	last     time.Time
}

// counts remembers them. It has no I/O.
type counts map[share]*count

// use returns the count of a share, to which a connection adds from now on.
func (c counts) use(now time.Time, s share, most int) *count {
	n := c[s]
	if n == nil {
		if len(c) >= most {
			c.evict()
		}
		n = &count{}
		c[s] = n
	}
	n.users++
	n.last = now
	return n
}

// release takes that a connection adds no more. What it never added to is not worth remembering.
func (c counts) release(now time.Time, s share, n *count) {
	n.users--
	n.last = now
	if n.users == 0 && n.down == 0 && n.up == 0 && c[s] == n {
		delete(c, s)
	}
}

// evict forgets the count that stood still for longest.
func (c counts) evict() {
	var oldest share
	var found *count
	for s, n := range c {
		if n.users == 0 && (found == nil || n.last.Before(found.last)) {
			oldest, found = s, n
		}
	}
	delete(c, oldest)
}
