package utp

import (
	"math/rand/v2"
	"testing"
	"time"
)

func TestAlarmsGoOffInOrder(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	a := alarms{kick: make(chan struct{}, 1)}
	begin := time.Unix(1000, 0)
	conns := make([]*Conn, 300)
	for i := range conns {
		conns[i] = new(Conn)
	}
	for range 200 {
		for range 100 {
			c := conns[random.IntN(len(conns))]
			if random.IntN(10) == 0 {
				a.remove(c)
				c.alarm.armed = time.Time{}
				continue
			}
			at := begin.Add(time.Duration(random.IntN(1000)) * time.Second)
			before := c.alarm.armed
			a.arm(c, at)
			if want := at; !before.IsZero() && before.Before(at) && !c.alarm.armed.Equal(before) || c.alarm.armed.After(want) {
				t.Fatalf("armed for %v, then for %v, is at %v", before, at, c.alarm.armed)
			}
		}
		for i, c := range a.heap {
			if c.alarm.index != i+1 || !c.alarm.at.Equal(c.alarm.armed) {
				t.Fatalf("place %d says that it is %d", i+1, c.alarm.index)
			}
		}
		now := begin.Add(time.Duration(random.IntN(300)) * time.Second)
		last := time.Time{}
		for c := a.due(now); c != nil; c = a.due(now) {
			if c.alarm.at.Before(last) || c.alarm.at.After(now) {
				t.Fatalf("%v went off after %v, at %v", c.alarm.at, last, now)
			}
			last = c.alarm.at
			c.alarm.armed = time.Time{}
		}
		if next := a.next(); !next.IsZero() && !next.After(now) {
			t.Fatalf("%v is due at %v still", next, now)
		}
	}
}

// Between the timer's taking a connection out of the heap and its driving it, somebody else may have armed it.
func TestAlarmMayBecomeLaterOnceDriven(t *testing.T) {
	a := alarms{kick: make(chan struct{}, 1)}
	begin := time.Unix(1000, 0)
	at := func(ms int) time.Time { return begin.Add(time.Duration(ms) * time.Millisecond) }
	first, second := new(Conn), new(Conn)
	a.arm(first, at(10))
	if a.due(at(10)) != first {
		t.Fatal("nothing is due")
	}
	a.arm(first, at(9))
	a.arm(second, at(11))
	first.alarm.armed = time.Time{} // as the timer leaves it
	a.arm(first, at(60_000))
	if got := a.next(); !got.Equal(at(11)) {
		t.Errorf("the first is due at %v, want %v", got, at(11))
	}
}

func TestOnlyAnEarlierFirstAlarmDisturbsTheTimer(t *testing.T) {
	a := alarms{kick: make(chan struct{}, 1)}
	begin := time.Unix(1000, 0)
	kicked := func() bool {
		select {
		case <-a.kick:
			return true
		default:
			return false
		}
	}
	first, second := new(Conn), new(Conn)
	for _, step := range []struct {
		conn *Conn
		at   time.Duration
		want bool
	}{
		{first, 10 * time.Second, true},
		{second, 20 * time.Second, false},
		{second, 15 * time.Second, false},
		{first, 30 * time.Second, false}, // it looks again at 10 s
		{second, 5 * time.Second, true},
	} {
		if a.arm(step.conn, begin.Add(step.at)); kicked() != step.want {
			t.Errorf("an alarm at %v: disturbed is %v", step.at, !step.want)
		}
	}
}
