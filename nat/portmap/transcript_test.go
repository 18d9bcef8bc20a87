package portmap

import (
	"fmt"
	"net/netip"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"simplebit/integration/transcript"
)

// TestTranscripts plays the commands of each transcript and compares what is decided:
//
//	want [ipv6] PORT …                        begins; the lease asked for is 2 hours
//	found METHOD [epoch=N]                    a search ends
//	absent METHOD
//	elsewhere METHOD|PORT                     it was of another gateway
//	grant PORT EXTERNAL LIFETIME [epoch=N]    a request ends
//	refuse PORT
//	removed PORT
//	wait T                                    lets time pass
//	check, moved, close
//
// What is to be done and the mappings, when they change, are printed with their time.
func TestTranscripts(t *testing.T) {
	transcript.Run(t, "testdata", func(t *testing.T) func([]string) string {
		p := player{t: t, start: time.Unix(1e9, 0)}
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
	s          *schedule
	asked      map[string]action // under way, by port or method
	shown      []Mapping
	out        string
}

func (p *player) printf(format string, args ...any) {
	p.out += strings.TrimRight(fmt.Sprintf("%9s  ", p.now.Sub(p.start))+fmt.Sprintf(format, args...), " ") + "\n"
}

func (p *player) command(words []string) {
	p.t.Helper()
	if len(words) == 0 {
		return
	}
	arg := func(i int) string {
		if i >= len(words) {
			p.t.Fatalf("%v: too short", words)
		}
		return words[i]
	}
	switch words[0] {
	case "want":
		ipv6 := arg(1) == "ipv6"
		var ports []Port
		for _, w := range words[1:] {
			if w != "ipv6" {
				ports = append(ports, p.port(w))
			}
		}
		p.s = newSchedule(p.now, ipv6, defaultLease, ports)
		p.asked = map[string]action{}
	case "found":
		p.end(arg(1), outcome{}, words[2:])
	case "absent":
		p.end(arg(1), outcome{err: errSilent}, nil)
	case "elsewhere":
		p.end(arg(1), outcome{err: errMoved}, nil)
	case "grant":
		external, err := netip.ParseAddrPort(arg(2))
		lifetime, err2 := time.ParseDuration(arg(3))
		if err != nil || err2 != nil {
			p.t.Fatalf("%v: %v %v", words, err, err2)
		}
		p.end(arg(1), outcome{external: external, lifetime: lifetime}, words[4:])
	case "refuse":
		p.end(arg(1), outcome{err: &resultError{code: 8}}, nil)
	case "removed":
		p.end(arg(1), outcome{}, nil)
	case "wait":
		d, err := time.ParseDuration(arg(1))
		if err != nil {
			p.t.Fatal(err)
		}
		p.wait(p.now.Add(d))
	case "check":
		p.s.check(p.now)
	case "moved":
		p.s.moved(p.now)
	case "close":
		p.s.close()
	default:
		p.t.Fatalf("unknown command %v", words)
	}
}

func (p *player) port(s string) Port {
	protocol, number, _ := strings.Cut(s, ":")
	n, err := strconv.ParseUint(number, 10, 16)
	if err != nil {
		p.t.Fatal(err)
	}
	if protocol == "tcp" {
		return Port{TCP, uint16(n)}
	}
	return Port{UDP, uint16(n)}
}

// end ends what is under way for a port or method.
func (p *player) end(what string, o outcome, more []string) {
	p.t.Helper()
	a, ok := p.asked[what]
	if !ok {
		p.t.Fatalf("nothing is under way for %s", what)
	}
	delete(p.asked, what)
	for _, m := range more {
		n, err := strconv.ParseUint(strings.TrimPrefix(m, "epoch="), 10, 32)
		if err != nil {
			p.t.Fatal(err)
		}
		o.epoch, o.hasEpoch = uint32(n), true
	}
	p.s.done(p.now, a, o)
}

func (p *player) wait(until time.Time) {
	for n := 0; ; n++ {
		at := p.s.wake()
		if at.IsZero() || at.After(until) {
			break
		}
		if n == 10000 {
			p.t.Fatal("it never comes to rest")
		}
		if at.After(p.now) {
			p.now = at
		}
		p.poll()
	}
	p.now = until
}

func (p *player) poll() {
	for _, a := range p.s.poll(p.now) {
		switch a.kind {
		case search:
			p.printf("search %s", a.by)
			p.asked[a.by.String()] = a
		default:
			was := ""
			if a.external.IsValid() {
				was = a.external.String()
			}
			p.printf("%s %s by %s %s", a.kind, a.port, a.by, was)
			p.asked[a.port.String()] = a
		}
	}
	if now := p.s.mappings(); !reflect.DeepEqual(now, p.shown) {
		p.shown = now
		if len(now) == 0 {
			p.printf("= nothing is mapped")
		}
		for _, m := range now {
			p.printf("= %s at %s for %s by %s", m.Port, m.External, m.Lifetime, m.By)
		}
	}
}
