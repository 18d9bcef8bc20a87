package discovery

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"simplebit/integration/transcript"
)

// TestTranscripts plays the commands of each transcript and prints what is asked when, and what comes of it:
//
//	begin one|two|learn [works] [own=ADDR] [met=ADDR]  the servers: one address, two, or one that tells of the other
//	answer TEST PORT [local=PORT] [addr=ADDR] [sent=N] a question is answered: where the device is seen
//	hear TEST [sent=N]                                 an answer without an address got through
//	hop ADDR [ttl=N]                                   who is the second router, and which is the first with a public address
//	silent TEST…
//	refuse TEST…
//	wait T                                             lets time pass
//	verdict
func TestTranscripts(t *testing.T) {
	transcript.Run(t, "testdata", func(t *testing.T) func([]string) string {
		p := &player{t: t, start: time.Unix(1e9, 0)}
		p.now = p.start
		return func(words []string) string {
			p.out = ""
			p.command(words)
			p.poll()
			return p.out
		}
	})
}

type player struct {
	t          *testing.T
	start, now time.Time
	m          *machine
	asked      map[test]action
	settled    bool
	finished   bool
	out        string
}

const other = "198.18.1.3:4434"

var streets = map[string][]netip.AddrPort{
	"one": {netip.MustParseAddrPort("198.18.1.2:4433"), netip.MustParseAddrPort("198.18.1.2:4434")},
	"two": {
		netip.MustParseAddrPort("198.18.1.2:4433"), netip.MustParseAddrPort("198.18.1.2:4434"),
		netip.MustParseAddrPort("198.18.1.3:4433"), netip.MustParseAddrPort("198.18.1.3:4434"),
	},
	"learn": {netip.MustParseAddrPort("198.18.1.2:4433")},
}

func (p *player) printf(format string, args ...any) {
	p.out += fmt.Sprintf("%7s  ", p.now.Sub(p.start)) + strings.TrimRight(fmt.Sprintf(format, args...), " ") + "\n"
}

func (p *player) command(words []string) {
	p.t.Helper()
	options := map[string]string{}
	for _, w := range words[1:] {
		if k, v, ok := strings.Cut(w, "="); ok {
			options[k] = v
		}
	}
	switch words[0] {
	case "begin":
		c := Config{Servers: streets[words[1]], Works: slices.Contains(words, "works")}
		if a := options["own"]; a != "" {
			c.Own = []netip.Addr{netip.MustParseAddr(a)}
		}
		if a := options["met"]; a != "" {
			c.Met = []netip.Addr{netip.MustParseAddr(a)}
		}
		p.m, p.asked, p.settled, p.finished = newMachine(c), map[test]action{}, false, false
	case "answer":
		port := p.number(words[2])
		addr := netip.MustParseAddr(cmp.Or(options["addr"], "198.18.2.2"))
		o := outcome{reply: answered, mapped: netip.AddrPortFrom(addr, uint16(port)), local: uint16(port)}
		if l := options["local"]; l != "" {
			o.local = uint16(p.number(l))
		}
		if len(p.m.servers.all()) == 1 {
			o.other = netip.MustParseAddrPort(other)
		}
		p.end(words[1], o, options)
	case "hear":
		p.end(words[1], outcome{reply: answered}, options)
	case "hop":
		p.end("hop", outcome{reply: answered, hop: hopSeen{netip.MustParseAddr(words[1]), netip.MustParseAddr("192.168.1.10"), p.number(cmp.Or(options["ttl"], "0"))}}, options)
	case "silent":
		for _, w := range words[1:] {
			p.end(w, outcome{reply: silence}, map[string]string{"sent": "99"})
		}
	case "refuse":
		for _, w := range words[1:] {
			p.end(w, outcome{}, options)
		}
	case "wait":
		d, err := time.ParseDuration(words[1])
		if err != nil {
			p.t.Fatal(err)
		}
		p.now = p.now.Add(d)
	case "verdict":
		p.verdict("so far")
	default:
		p.t.Fatalf("%v: no such command", words)
	}
}

func (p *player) number(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		p.t.Fatal(err)
	}
	return n
}

// end tells the outcome of the test of that name.
func (p *player) end(name string, o outcome, options map[string]string) {
	p.t.Helper()
	for t, a := range p.asked {
		if t.String() == name {
			delete(p.asked, t)
			o.sent = min(a.profile.Tries, p.number(cmp.Or(options["sent"], "1")))
			p.m.done(p.now, t, o)
			return
		}
	}
	p.t.Fatalf("%s is not under way", name)
}

func (p *player) poll() {
	for _, a := range p.m.poll(p.now) {
		p.asked[a.test] = a
		from := [...]string{"main", "mapper", "filterer", "silent1", "silent2", "silent3"}
		line := fmt.Sprintf("%-11s  %s asks %s", a.test, from[a.from], a.to)
		if o := a.options; o.ChangeIP || o.ChangePort {
			line += fmt.Sprintf(", %s", map[bool]string{true: "another address and port", false: "another port"}[o.ChangeIP]) + " answers"
		}
		if a.options.ResponsePort != 0 {
			line += fmt.Sprintf(", the answer goes to port %d", a.options.ResponsePort)
		}
		if a.hears != a.from {
			line += ", " + from[a.hears] + " hears"
		}
		p.printf("%s (%d times from %s)", line, a.profile.Tries, a.profile.First)
	}
	if settled := p.m.settled(); settled != p.settled {
		p.settled = settled
		p.verdict("first")
	}
	if at := p.m.wake(); p.settled && !at.IsZero() && at.After(p.now) {
		p.printf("wakes in %s", at.Sub(p.now))
	}
	if finished := p.m.finished(); finished != p.finished {
		p.finished = finished
		p.verdict("final")
	}
}

func (p *player) verdict(which string) {
	r := p.m.result()
	b := r.Behaviour
	if b.Blocked {
		p.printf("%s: blocked, %d datagrams", which, r.Datagrams)
		return
	}
	p.printf("%s: mapping %s, filtering %s, public %s, preserved %s, step %d, hairpin %s, double %s, reachable %s, lifetime %s; main at %s; openers live for %d; %d datagrams",
		which, b.Mapping, b.Filtering, b.Public, b.Preserved, b.Step, b.Hairpin, b.Double, b.Reachable, b.Lifetime, r.Reflexive, r.OpenerTTL, r.Datagrams)
}
