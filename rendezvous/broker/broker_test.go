package broker

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"simplebit/nat"
	"simplebit/wire/control"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeSessions has two devices that are connected.
type fakeSessions struct {
	mu     sync.Mutex
	sent   map[control.DeviceID][]control.Punch
	relays []want
	ended  []want
}

func (f *fakeSessions) Line(d control.DeviceID) (Line, bool) {
	at := map[control.DeviceID]string{"attic": "[::ffff:198.51.100.1]:6882", "barn": "203.0.113.2:6882"}[d]
	return Line{netip.MustParseAddrPort(at), 40 * time.Millisecond, true}, true
}

func (f *fakeSessions) Punch(d control.DeviceID, p control.Punch) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.sent[d] = append(f.sent[d], p)
}

func (f *fakeSessions) Relay(a, b control.DeviceID, t torrent) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.relays = append(f.relays, want{key{a, b}, t})
}

func (f *fakeSessions) Unrelay(a, b control.DeviceID, t torrent) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ended = append(f.ended, want{key{a, b}, t})
}

func (f *fakeSessions) Name(d control.DeviceID) string { return "the " + string(d) }

func (f *fakeSessions) Joined(control.DeviceID) time.Time { return noon }

func (f *fakeSessions) took(d control.DeviceID) []control.Punch {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.sent[d]
}

func TestBothDevicesAreAskedAtTheSameMoment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeSessions{sent: map[control.DeviceID][]control.Punch{}}
		b := New(f, Config{})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- b.Run(ctx) }()
		network := nat.Network{Behaviour: behaviours["restricted"]}
		for _, d := range []control.DeviceID{"attic", "barn"} {
			b.Connected(d, true)
			b.Network(d, network)
			b.Observed(d, control.Progress{ID: torrent{1}, State: control.StateDownloading})
		}
		time.Sleep(settling + pace)
		synctest.Wait()
		x, y := f.took("attic"), f.took("barn")
		if len(x) != 1 || len(y) != 1 || x[0].Attempt != y[0].Attempt || x[0].Key != y[0].Key || x[0].Controlling == y[0].Controlling {
			t.Fatalf("%+v\n%+v", x, y)
		}
		if x[0].Peer != "the barn" || y[0].Observed != netip.MustParseAddrPort("198.51.100.1:6882") || x[0].Self != netip.MustParseAddr("198.51.100.1") {
			t.Errorf("%+v\n%+v", x, y)
		}
		b.Punched("attic", control.Punched{Attempt: x[0].Attempt, Outcome: control.PunchConnected, Remote: x[0].Observed})
		if r := b.Routes("barn", torrent{1}); len(r) != 1 || r[0].State != Path || r[0].Peer != "attic" {
			t.Errorf("%+v", r)
		}
		b.Gone("attic", torrent{1})
		if r := b.Routes("barn", torrent{1}); len(r) != 0 {
			t.Errorf("%+v", r)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		// Sessions end after it.
		b.Connected("attic", false)
		if r := b.Routes("barn", torrent{1}); r != nil {
			t.Errorf("%+v", r)
		}
	})
}

func TestDevicesWithoutAWayAreRelayedOneAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeSessions{sent: map[control.DeviceID][]control.Punch{}}
		b := New(f, Config{Relays: 8, DeviceRelays: 1})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- b.Run(ctx) }()
		for _, d := range []control.DeviceID{"barn", "attic"} {
			b.Connected(d, true)
			b.Network(d, nat.Network{Behaviour: behaviours["random"]})
			for t := range byte(2) {
				b.Observed(d, control.Progress{ID: torrent{t}, State: control.StateDownloading, Have: 1})
			}
		}
		joined := func(n int) want {
			t.Helper()
			time.Sleep(2 * pace)
			synctest.Wait()
			f.mu.Lock()
			defer f.mu.Unlock()
			if len(f.relays) != n || f.relays[n-1].a != "attic" || f.relays[n-1].b != "barn" {
				t.Fatalf("%+v", f.relays)
			}
			return f.relays[n-1]
		}
		first := joined(1)
		b.Relayed("barn", "attic", first.torrent, errors.New("a stream broke"))
		second := joined(2)
		if second.torrent == first.torrent {
			t.Error("what has just ended comes before what waits")
		}
		if r := b.Routes("barn", first.torrent); len(r) != 1 || r[0].State != Hopeless || !strings.HasSuffix(r[0].Why, "; the relay ended: a stream broke") {
			t.Errorf("%+v", r)
		}
		b.Observed("attic", control.Progress{ID: first.torrent, State: control.StateSeeding, Have: 1000})
		time.Sleep(relayStay)
		synctest.Wait()
		if f.mu.Lock(); !slices.Equal(f.ended, []want{second}) {
			t.Errorf("%v are to end", f.ended)
		}
		f.mu.Unlock()
		b.Relayed("attic", "barn", second.torrent, nil)
		if third := joined(3); third != first {
			t.Errorf("%v is relayed next", third)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

func TestWhatWorkedIsKnownForADay(t *testing.T) {
	m := memory{}
	k, _ := memoOf(trait{observed: netip.MustParseAddrPort("198.51.100.1:1")}, trait{observed: netip.MustParseAddrPort("203.0.113.2:1")})
	m.worked(noon, &attempt{memo: k, patient: true})
	if o, known := m.lookup(noon.Add(24*time.Hour-1), k); !known || !o.patient {
		t.Error("it is forgotten")
	}
	if _, known := m.lookup(noon.Add(24*time.Hour), k); known {
		t.Error("it is still known")
	}
}

// A surrogate has hundreds of devices on one torrent: decisions stay fast, and nobody gets more than its share.
func TestACrowdIsNotTooMuch(t *testing.T) {
	lines := map[id]Line{}
	c := newCore(noon, fillCounting(), func(who id) (Line, bool) { l, ok := lines[who]; return l, ok }, func(who id) string { return string(who) }, before)
	const crowd = 300
	names := make([]id, crowd)
	c.relays.limit(usual)
	for i := range crowd {
		who := id([]byte{'d', byte('0' + i/100), byte('0' + i/10%10), byte('0' + i%10)})
		names[i] = who
		lines[who] = Line{netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 51, byte(i >> 8), byte(i)}), 6882), 0, true}
		c.connected(noon, who, true)
		c.told(noon, who, nat.Network{Behaviour: behaviours["restricted"]})
		c.progress(noon, who, control.Progress{ID: torrent{1}, State: control.StateDownloading, Have: int64(i)})
	}
	now, relays := noon.Add(settling), 0
	for range 30 {
		orders := c.poll(now)
		began, _ := c.relay(now)
		relays += len(began)
		for _, o := range orders {
			c.punched(now, o.to, control.Punched{Attempt: o.punch.Attempt, Outcome: control.PunchConnected, Remote: o.punch.Observed})
		}
		if err := c.audit(); err != nil {
			t.Fatal(err)
		}
		now = now.Add(time.Second)
	}
	if relays > crowd/20 {
		t.Errorf("%d relays, where all have paths", relays)
	}
	few := 0
	for _, who := range names {
		if c.devices[who].paths < maxPaths-1 {
			few++
		}
	}
	if few > crowd/20 {
		t.Errorf("%d of %d devices have fewer paths than they may", few, crowd)
	}
}

// A device that stays for weeks meets many that come and go: what is remembered of them makes way.
func TestDevicesThatAreGoneMakeWay(t *testing.T) {
	lines := map[id]Line{}
	c := newCore(noon, fillCounting(), func(who id) (Line, bool) { l, ok := lines[who]; return l, ok }, func(who id) string { return string(who) }, before)
	now := noon.Add(settling)
	come := func(who id, host byte) {
		lines[who] = Line{netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 51, 100, host}), 6882), 0, true}
		c.connected(now, who, true)
		c.told(now, who, nat.Network{Behaviour: behaviours["restricted"]})
		c.progress(now, who, control.Progress{ID: torrent{1}, State: control.StateDownloading})
	}
	come("stays", 1)
	for i := range 3 * maxPairs {
		who := id([]byte{'g', byte(i)})
		come(who, byte(2+i%200))
		orders := c.poll(now)
		if len(orders) != 2 {
			t.Fatalf("the %dth is asked for %d attempts", i, len(orders)/2)
		}
		for _, o := range orders {
			c.punched(now, o.to, control.Punched{Attempt: o.punch.Attempt, Outcome: control.PunchFailed})
		}
		c.gone(who, torrent{1})
		now = now.Add(maxRest)
		c.poll(now)
		if i%2 == 0 { // the others stay, with nothing in common
			delete(lines, who)
			c.connected(now, who, false)
		}
	}
	if err := c.audit(); err != nil || len(c.pairs) > 4 {
		t.Errorf("%d pairs are remembered, %v", len(c.pairs), err)
	}
}

// fillCounting returns a source of what nobody can guess, for tests.
func fillCounting() func([]byte) {
	var n uint32
	return func(b []byte) {
		n++
		for i := range b {
			b[i] = byte(n >> (8 * (i % 4)))
		}
	}
}
