package broker

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"simplebit/integration/transcript"
	"simplebit/nat"
	"simplebit/wire/control"
)

// TestTranscripts plays the commands of each transcript on one core and prints what it asks the devices for. Times are since
// the core began; attempts and keys are counted.
//
//	device NAME at=ADDRESS [rtt=D] [nat=KIND] [tcp] [quiet] [new] [host=ADDRESS] [mapped=ADDRESS] [reflexive=ADDRESS]
//	                          comes, or tells its network again: cone, restricted, counted, random, unknown, blocked; tcp: its control runs
//	                          over TCP; quiet: it tells nothing; new: it has just joined
//	moved NAME ADDRESS        is seen elsewhere
//	away NAME                 its session ends
//	has NAME TORRENT [all] [have=N] [peer=ADDRESS...] [relayed=ADDRESS...]   reports a torrent, a letter
//	drops NAME TORRENT
//	wait D                    time passes, and what comes of it is printed
//	tells NAME N OUTCOME [remote=ADDRESS]      what became of the N-th attempt; 0: of one that the core does not know
//	ended NAME NAME TORRENT [WHY]              what was relayed has ended
//	relays N                  so many at once from now on
//	routes NAME TORRENT
func TestTranscripts(t *testing.T) {
	transcript.Run(t, "testdata", func(t *testing.T) func([]string) string {
		s := &script{t: t, now: noon, lines: map[id]Line{}, joined: map[id]time.Time{}}
		count := byte(0)
		s.c = newCore(noon, func(b []byte) {
			clear(b)
			if len(b) > 1 { // what is left of rests to chance is nothing
				count++
				b[0] = count
			}
		}, func(who id) (Line, bool) { l, ok := s.lines[who]; return l, ok }, func(who id) string { return string(who) }, func(who id) time.Time { return s.joined[who] })
		s.c.relays.limit(usual)
		return func(words []string) string {
			s.out.Reset()
			s.command(words[0], words[1:])
			return s.out.String()
		}
	})
}

type script struct {
	t      *testing.T
	now    time.Time
	c      *core
	lines  map[id]Line
	joined map[id]time.Time
	names  [][8]byte
	out    strings.Builder
}

func (s *script) say(format string, args ...any) { fmt.Fprintf(&s.out, format+"\n", args...) }

func (s *script) since(at time.Time) string { return at.Sub(noon).Round(time.Millisecond).String() }

func (s *script) duration(text string) time.Duration {
	d, err := time.ParseDuration(text)
	if err != nil {
		s.t.Fatal(err)
	}
	return d
}

var behaviours = map[string]nat.Behaviour{
	"cone":       {Public: nat.No, Mapping: nat.EndpointIndependent, Filtering: nat.EndpointIndependent},
	"restricted": {Public: nat.No, Mapping: nat.EndpointIndependent, Filtering: nat.AddressAndPortDependent},
	"counted":    {Public: nat.No, Mapping: nat.AddressAndPortDependent, Filtering: nat.AddressAndPortDependent, Step: 1},
	"random":     {Public: nat.No, Mapping: nat.AddressAndPortDependent, Filtering: nat.AddressAndPortDependent},
	"blocked":    {Blocked: true},
	"unknown":    {},
}

func (s *script) command(what string, args []string) {
	who := id(args[0])
	switch what {
	case "device":
		s.device(who, args[1:])
	case "moved":
		s.lines[who] = Line{netip.MustParseAddrPort(args[1]), s.lines[who].RTT, s.lines[who].UDP}
	case "away":
		delete(s.lines, who)
		s.c.connected(s.now, who, false)
	case "has":
		p := control.Progress{ID: torrent{args[1][0]}, State: control.StateDownloading}
		for _, a := range args[2:] {
			if at, ok := strings.CutPrefix(a, "peer="); ok {
				p.Peers = append(p.Peers, control.Peer{Addr: netip.MustParseAddrPort(at)})
			} else if at, ok := strings.CutPrefix(a, "relayed="); ok {
				p.Peers = append(p.Peers, control.Peer{Addr: netip.MustParseAddrPort(at), Path: "relayed"})
			} else if n, ok := strings.CutPrefix(a, "have="); ok {
				p.Have, _ = strconv.ParseInt(n, 10, 64)
			} else {
				p.State, p.Have = control.StateSeeding, 1000
			}
		}
		s.c.progress(s.now, who, p)
	case "drops":
		s.c.gone(who, torrent{args[1][0]})
	case "wait":
		s.wait(s.now.Add(s.duration(args[0])))
	case "tells":
		s.tells(who, args[1:])
	case "ended":
		var why error
		if len(args) > 3 {
			why = errors.New(strings.Join(args[3:], " "))
		}
		s.c.relayed(s.now, want{keyOf(who, id(args[1])), torrent{args[2][0]}}, why)
	case "relays":
		s.c.relays.most, _ = strconv.Atoi(args[0])
	case "routes":
		for _, r := range s.c.routes(s.now, who, torrent{args[1][0]}) {
			s.route(r)
		}
	default:
		s.t.Fatalf("there is no command %s", what)
	}
}

func (s *script) device(who id, args []string) {
	l, n, quiet := Line{RTT: 20 * time.Millisecond, UDP: true}, nat.Network{Behaviour: behaviours["restricted"]}, false
	kinds := map[string]nat.CandidateKind{"host": nat.HostCandidate, "mapped": nat.MappedCandidate, "reflexive": nat.ReflexiveCandidate, "odd": 77}
	for _, a := range args {
		switch key, value, _ := strings.Cut(a, "="); key {
		case "at":
			l.Observed = netip.MustParseAddrPort(value)
		case "rtt":
			l.RTT = s.duration(value)
		case "nat":
			n.Behaviour = behaviours[value]
			l.UDP = l.UDP && value != "blocked"
		case "tcp":
			l.UDP = false
		case "quiet":
			quiet = true
		case "new":
			s.joined[who] = s.now
		default:
			n.Candidates = append(n.Candidates, nat.Candidate{Kind: kinds[key], Addr: netip.MustParseAddrPort(value), TCP: key == "host"})
		}
	}
	if _, known := s.lines[who]; !known {
		s.c.connected(s.now, who, true)
	}
	s.lines[who] = l
	if !quiet {
		s.c.told(s.now, who, n)
	}
}

func (s *script) wait(until time.Time) {
	for {
		for _, o := range s.c.poll(s.now) {
			s.order(o)
		}
		began, ended := s.c.relay(s.now)
		for _, w := range began {
			s.say("%s: %s is relayed with %s for %s", s.since(s.now), w.a, w.b, string(w.torrent[0]))
		}
		for _, w := range ended {
			s.say("%s: %s and %s are to make place, for %s", s.since(s.now), w.a, w.b, string(w.torrent[0]))
		}
		at := s.c.wake(s.now)
		if at.IsZero() || at.After(until) {
			s.now = until
			return
		}
		s.now = at
	}
}

func (s *script) order(o order) {
	p := o.punch
	if len(s.names) == 0 || s.names[len(s.names)-1] != p.Attempt {
		s.names = append(s.names, p.Attempt)
	}
	role := "answers"
	if p.Controlling {
		role = "controls"
	}
	var torrents, remote string
	for _, t := range p.Torrents {
		torrents += string(t[0])
	}
	for _, c := range p.Remote {
		remote += fmt.Sprintf(" %s=%s", c.Kind, c.Addr)
	}
	s.say("%s %d: %s %s with %s for %s, in %s, try %d, deadline %s, hold %s, observed %s, self %s%s", s.since(s.now), len(s.names), o.to, role,
		p.Peer, torrents, p.In, p.Try, p.Deadline, p.Hold, p.Observed, p.Self, remote)
}

func (s *script) tells(who id, args []string) {
	n, err := strconv.Atoi(args[0])
	if err != nil || n > len(s.names) {
		s.t.Fatalf("there is no attempt %s", args[0])
	}
	m := control.Punched{Attempt: [8]byte{255}}
	if n > 0 {
		m.Attempt = s.names[n-1]
	}
	for o := range control.PunchBusy + 1 {
		if o.String() == args[1] {
			m.Outcome = o
		}
	}
	for _, a := range args[2:] {
		m.Remote = netip.MustParseAddrPort(strings.TrimPrefix(a, "remote="))
	}
	s.c.punched(s.now, who, m)
}

func (s *script) route(r Route) {
	next := ""
	if !r.Next.IsZero() {
		next = " until " + s.since(r.Next)
	}
	why := ""
	if r.Why != "" {
		why = ": " + r.Why
	}
	s.say("%s: %s%s%s", r.Peer, r.State, next, why)
	for _, a := range r.Attempts {
		told := "nothing told"
		if a.Told != nil {
			told = a.Told.Outcome.String() + " " + a.Told.Remote.String()
		}
		s.say("  %s %s, try %d, %s", s.since(a.Began), a.Outcome, a.Try, told)
	}
}
