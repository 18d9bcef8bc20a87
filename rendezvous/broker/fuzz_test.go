package broker

import (
	"net/netip"
	"testing"
	"time"

	"simplebit/nat"
	"simplebit/nat/punch"
	"simplebit/wire/control"
)

// FuzzCore has eight devices come, go, lie and say anything in any order: no account is wrong, no bound is exceeded, what is
// asked can be sent, and the two sides of an attempt fit.
func FuzzCore(f *testing.F) {
	f.Fuzz(func(t *testing.T, script []byte) {
		if len(script) > 4096 {
			return
		}
		now, seed := noon, byte(0)
		lines := map[id]Line{}
		c := newCore(now, func(b []byte) {
			for i := range b {
				seed++
				b[i] = seed
			}
		}, func(who id) (Line, bool) { l, ok := lines[who]; return l, ok }, func(who id) string { return string(who) }, before)
		c.relays.limit(Config{Relays: 5, DeviceRelays: 2})
		var names [][8]byte
		hosts := []netip.Addr{
			netip.MustParseAddr("198.51.100.1"), netip.MustParseAddr("203.0.113.2"), netip.MustParseAddr("192.168.1.3"),
			netip.MustParseAddr("2001:db8::4"), netip.MustParseAddr("fe80::5"), netip.MustParseAddr("203.0.113.2"),
		}
		for len(script) >= 3 {
			what, who, arg := script[0]%10, id('a'+script[0]/10%8), script[1]
			more := script[2]
			script = script[3:]
			at := netip.AddrPortFrom(hosts[int(arg)%len(hosts)], uint16(more)+1)
			switch what {
			case 0:
				lines[who] = Line{at, time.Duration(more) * 17 * time.Millisecond, more%5 > 0}
				c.connected(now, who, true)
			case 1:
				delete(lines, who)
				c.connected(now, who, false)
			case 2:
				c.told(now, who, nat.Network{Behaviour: nat.Behaviour{Mapping: nat.Dependence(arg % 5), Filtering: nat.Dependence(arg / 5 % 5),
					Step: int(more%3) - 1, Blocked: arg == 255}, Candidates: []nat.Candidate{{Kind: nat.CandidateKind(arg % 5), Addr: at}}})
			case 3:
				c.progress(now, who, control.Progress{ID: torrent{arg % 3}, State: control.State(more % 9), Have: int64(more) - 8, Peers: []control.Peer{
					{Addr: at, Path: []string{"", relayedPath}[int(more/9%2)]},
				}})
			case 4:
				c.gone(who, torrent{arg % 3})
			case 5:
				m := control.Punched{Outcome: control.PunchOutcome(more % 8), Remote: at}
				if len(names) > 0 {
					m.Attempt = names[max(0, len(names)-1-int(arg%4))]
				}
				c.punched(now, who, m)
			case 6:
				now = now.Add(time.Duration(arg) * time.Duration(more) * time.Second / 8)
			case 7:
				c.routes(now, who, torrent{arg % 3})
			case 8:
				if _, ok := lines[who]; ok {
					lines[who] = Line{at, 0, true}
				}
			case 9:
				c.relayed(now, want{keyOf(who, id('a'+more%8)), torrent{arg % 3}}, nil)
			}
			orders := c.poll(now)
			for i, o := range orders {
				if _, err := control.AppendMessage(nil, o.punch); err != nil {
					t.Fatal(err)
				}
				if i%2 == 0 {
					names = append(names, o.punch.Attempt)
					continue
				}
				a, b := orders[i-1].punch, o.punch
				if a.Attempt != b.Attempt || a.Key != b.Key || a.Controlling == b.Controlling || a.Local != b.Theirs || a.Theirs != b.Local || a.Try != b.Try {
					t.Fatalf("%+v does not go with %+v", a, b)
				}
			}
			began, ended := c.relay(now)
			for _, w := range ended {
				if r := c.relays.known[w]; r == nil || !r.on || now.Sub(r.began) < relayStay {
					t.Fatalf("%+v is to end", w)
				}
			}
			for _, w := range began {
				if quick, m := hopeless(c.devices[w.a], c.devices[w.b]), methods(c.devices[w.a], c.devices[w.b]); quick != (m[0] == punch.Hopeless || m[1] == punch.Hopeless) {
					t.Fatalf("%+v: hopeless %v, methods %v", w, quick, m)
				}
				if w.a >= w.b || lines[w.a] == (Line{}) || lines[w.b] == (Line{}) {
					t.Fatalf("%+v is to be relayed", w)
				}
			}
			if err := c.audit(); err != nil {
				t.Fatal(err)
			}
			if at := c.wake(now); !at.IsZero() && !at.After(now) {
				t.Fatalf("it is to be woken %s ago", now.Sub(at))
			}
		}
	})
}
