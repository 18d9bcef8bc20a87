package edgeagent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"testing"

	"simplebit/integration/natlab"
	"simplebit/nat/udpmux"
	"simplebit/wire/control"
	"simplebit/wire/dial"
)

// Torrents come up one after another, and the surrogate asks for an attempt each time.
func TestAFurtherAttemptGoesOverThePathThatThereIs(t *testing.T) {
	t.Parallel()
	homes, echo := newHomes(t, [2]natlab.Kind{natlab.Symmetric, natlab.PortRestricted})
	for try := range 4 {
		devices := [2]*puncherAt{newPuncher(t, homes[0], fmt.Sprintf("a%d", try)), newPuncher(t, homes[1], fmt.Sprintf("b%d", try))}
		first := punchBetween(t, devices, echo, try)
		if first[0].Outcome != control.PunchConnected || first[0].Socket == 0 {
			continue // as the machine may
		}
		was, _ := devices[0].conn(t), devices[1].conn(t)
		for _, order := range [][2]int{{0, 1}, {1, 0}} {
			o := punchBetween(t, [2]*puncherAt{devices[order[0]], devices[order[1]]}, echo, 0)
			for i, n := range order {
				if o[i].Outcome != control.PunchConnected || o[i].Remote != first[n].Remote {
					t.Errorf("%s has %+v, want the path to %s", devices[n].host.Name(), o[i], first[n].Remote)
				}
				if o[i].Others > 100 { // of 1,024
					t.Errorf("%d datagrams went to guessed ports", o[i].Others)
				}
			}
			calls, takes := devices[order[0]].conn(t), devices[order[1]].conn(t)
			exchangeBytes(t, calls, takes)
			for i, c := range []*dial.Conn{calls, takes} {
				if order[i] == 0 && c.LocalAddr().String() != was.LocalAddr().String() {
					t.Errorf("the connection leaves from %s, and the first from %s", c.LocalAddr(), was.LocalAddr())
				}
				if !devices[order[i]].punched(c) {
					t.Errorf("%s does not know that the connection is punched", devices[order[i]].host.Name())
				}
			}
		}
		return
	}
	t.Error("no path by a further socket in 4 attempts")
}

func TestADeviceThatHasBegunAnewIsFoundElsewhereThanOnThePathToIt(t *testing.T) {
	t.Parallel()
	homes, echo := newHomes(t, [2]natlab.Kind{natlab.PortRestricted, natlab.PortRestricted})
	a, b := newPuncher(t, homes[0], "a-pc"), newPuncher(t, homes[1], "b-pc")
	was := punchBetween(t, [2]*puncherAt{a, b}, echo, 0)
	a.conn(t)
	b.stop()
	b = newPuncher(t, homes[1], "b-laptop") // with another port
	b.device = "b-pc"
	o := punchBetween(t, [2]*puncherAt{a, b}, echo, 0)
	if o[0].Outcome != control.PunchConnected || o[0].Remote == was[0].Remote {
		t.Errorf("after %+v there is %+v", was[0], o[0])
	}
	exchangeBytes(t, a.conn(t), b.conn(t))
}

func TestASocketStaysOpenAsLongAsAnyPathHasIt(t *testing.T) {
	t.Parallel()
	cfg := Config{Listen: "127.0.0.1:0"}.withDefaults()
	p, err := listen(cfg)
	ok(t, err)
	defer p.close()
	w := &puncher{punching: newPunching(cfg, p, nil, nil), adopted: make(map[*udpmux.Socket]uint)}
	s, err := p.set.Open(context.Background())
	ok(t, err)
	ok(t, w.adopt(s))
	ok(t, w.adopt(s))
	to := at("127.0.0.1:9")
	if closed := w.release(s); closed || errors.Is(s.Send(to, []byte("x"), 0), net.ErrClosed) {
		t.Error("it was closed with the first path")
	}
	if closed := w.release(s); !closed || !errors.Is(s.Send(to, []byte("x"), 0), net.ErrClosed) {
		t.Error("it is left after the last path")
	}
	w.tasks.Wait()
}
