package edgeagent

import (
	"testing"
	"time"

	"simplebit/wire/control"
	"simplebit/wire/dial"
)

// nowhere is an attempt at a path to an address that nobody has.
func nowhere() control.Punch {
	return control.Punch{
		Attempt: [8]byte{1}, Key: [16]byte{2}, Controlling: true, Deadline: 50 * time.Millisecond, Torrents: [][20]byte{{3}},
		Peer: "cellar", Observed: at("203.0.113.9:6882"),
	}
}

func TestTheSurrogateIsToldWhatBecameOfAnAttempt(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	start(t, joined(t, h))
	g, _ := h.welcome()
	g.send(nowhere())
	told := next[control.Punched](g)
	if told.Attempt != [8]byte{1} || told.Outcome != control.PunchFailed || told.Why != "nothing was heard from the peer" ||
		told.Took < 50*time.Millisecond || len(told.Tries) != 1 || told.Tries[0].Heard != control.PunchNever {
		t.Errorf("told %+v", told)
	}
}

func TestWithoutUTPNothingIsPunched(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	cfg := joined(t, h)
	cfg.Transports = dial.OnlyTCP
	start(t, cfg)
	g, _ := h.welcome()
	g.send(nowhere())
	if told := next[control.Punched](g); told.Outcome != control.PunchImpossible || len(told.Tries) != 0 {
		t.Errorf("told %+v", told)
	}
}

// What became of an attempt meanwhile is told to a surrogate that comes back.
func TestASurrogateThatComesBackIsToldOfAttempts(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	start(t, joined(t, h))
	g, _ := h.welcome()
	m := nowhere()
	m.Deadline = 2 * time.Second // after the connection has ended
	g.send(m)
	g.send(control.Unassign{ID: infoHash{9}})
	g.gone(infoHash{9}) // so both have arrived
	g.conn.Close(0, "")
	g, _ = h.welcome()
	if told := next[control.Punched](g); told.Attempt != m.Attempt || told.Outcome != control.PunchFailed {
		t.Errorf("told %+v", told)
	}
}
