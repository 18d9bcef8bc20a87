package swarm

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"simplebit/wire/dial"
)

// The other end may know of the path only after its connection has come in.
func TestAConnectionOverAPunchedPathIsShownAsSuchOnceThatIsKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newContent(4*block, block)
		var known atomic.Bool
		n := c.start(t, "node", nil, Config{Punched: func(c *dial.Conn) bool { return known.Load() && c.Outgoing }})
		n.connect(t, features{name: "a", outgoing: true})
		n.connect(t, features{name: "b"})
		for _, want := range []string{"dialled", "punched"} {
			time.Sleep(time.Minute)
			s := n.Status()
			if len(s.Peers) != 2 || s.Peers[0].Path != want || s.Peers[1].Path != "accepted" {
				t.Errorf("shown as %+v, want the first one as %s", s.Peers, want)
			}
			known.Store(true)
			synctest.Wait()
		}
	})
}
