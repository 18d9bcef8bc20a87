package punch

import (
	"cmp"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"simplebit/integration/natlab"
	"simplebit/integration/transcript"
	"simplebit/nat"
)

// TestTranscripts plays the commands of each transcript on one machine and compares what it does. Times are from its making.
//
//	plan ROLE LOCAL PEER [KEY=VALUE...]   controlling or controlled; kinds of routers; KIND=ADDRESS gives a candidate (host, mapped, reflexive);
//	                                      observed, self, start, hold, try, ttl
//	until T                               time passes until T, and it is woken when it wants to be
//	ask from=ADDRESS [n=N] [socket=N] [size=N] [nominate]     a request of the peer's arrives
//	answer to=ADDRESS [from=ADDRESS] [large] [final]          an answer to the last request, or the last large one, that went to an address
//	ready                                 the broker says that the peer has opened
//	keep                                  the keeper takes over
//	trace                                 what a person is told
//
// Of more than 6 datagrams at once only the first and the last are printed.
func TestTranscripts(t *testing.T) {
	transcript.Run(t, "testdata", func(t *testing.T) func([]string) string {
		s := script{t: t, now: noon, last: make(map[netip.AddrPort]lastRequest), big: make(map[netip.AddrPort]lastRequest)}
		return func(words []string) string {
			s.out.Reset()
			s.command(words)
			return s.out.String()
		}
	})
}

// lastRequest is what the machine has sent to an address last.
type lastRequest struct {
	id     id
	size   int
	socket int
}

type script struct {
	t    *testing.T
	now  time.Time
	m    *Machine
	k    *Keeper
	peer *codec
	last map[netip.AddrPort]lastRequest
	big  map[netip.AddrPort]lastRequest
	n    uint32
	said Outcome
	out  strings.Builder
}

func (s *script) say(format string, args ...any) {
	fmt.Fprintf(&s.out, "%6.3f %s\n", s.now.Sub(noon).Seconds(), fmt.Sprintf(format, args...))
}

func (s *script) number(v string) int {
	n, err := strconv.Atoi(cmp.Or(v, "0"))
	if err != nil {
		s.t.Fatal(err)
	}
	return n
}

func (s *script) duration(v string) time.Duration {
	d, err := time.ParseDuration(cmp.Or(v, "0s"))
	if err != nil {
		s.t.Fatal(err)
	}
	return d
}

func (s *script) command(words []string) {
	values := make(map[string]string)
	for _, w := range words[1:] {
		k, v, _ := strings.Cut(w, "=")
		values[k] = v
	}
	has := func(k string) bool { _, ok := values[k]; return ok }
	switch words[0] {
	case "plan":
		s.plan(words)
	case "until":
		s.until(noon.Add(s.duration(words[1])))
	case "ask":
		n := s.n
		if s.n++; has("n") {
			n = uint32(s.number(values["n"]))
		}
		size, _ := strconv.Atoi(cmp.Or(values["size"], strconv.Itoa(probeSize)))
		x := message{id: newID([8]byte{0xee}, n), nominate: has("nominate")}
		s.receive(s.number(values["socket"]), netip.MustParseAddrPort(values["from"]), s.peer.marshal(x, size))
	case "answer":
		to := netip.MustParseAddrPort(values["to"])
		r, ok := s.last[to]
		if has("large") {
			r, ok = s.big[to]
		}
		if !ok {
			s.t.Fatalf("nothing was sent to %s", to)
		}
		x := message{id: r.id, answer: true, nominate: has("final")}
		s.receive(r.socket, netip.MustParseAddrPort(cmp.Or(values["from"], values["to"])), s.peer.marshal(x, r.size))
	case "ready":
		s.m.Ready(s.now)
		s.poll()
	case "keep":
		s.k = s.m.Keeper(s.now)
	case "trace":
		s.trace()
	default:
		s.t.Fatalf("what is %q?", words[0])
	}
}

func (s *script) plan(words []string) {
	p := testPlan(words[1] == "controlling")
	p.Local, p.Peer = natlab.Kind(words[2]).Expect(), natlab.Kind(words[3]).Expect()
	for _, w := range words[4:] {
		k, v, _ := strings.Cut(w, "=")
		switch k {
		case "host", "mapped", "reflexive":
			kind := map[string]nat.CandidateKind{"host": nat.HostCandidate, "mapped": nat.MappedCandidate, "reflexive": nat.ReflexiveCandidate}[k]
			p.Remote = append(p.Remote, nat.Candidate{Kind: kind, Addr: netip.MustParseAddrPort(v)})
		case "observed":
			p.Observed = netip.MustParseAddrPort(v)
		case "self":
			p.Self = netip.MustParseAddr(v)
		case "start":
			p.Start = noon.Add(s.duration(v))
		case "hold":
			p.Hold = s.duration(v)
		case "try":
			p.Try = s.number(v)
		case "ttl":
			p.OpenerTTL = s.number(v)
		default:
			s.t.Fatalf("what is %q?", w)
		}
	}
	var err error
	if s.m, err = New(s.now, p, [32]byte{1}); err != nil {
		s.t.Fatal(err)
	}
	s.peer = peer(p)
	s.say("%s", s.m.Method())
	s.poll()
}

func (s *script) wake() time.Time {
	if s.k != nil {
		return s.k.Wake()
	}
	return s.m.Wake()
}

func (s *script) until(end time.Time) {
	for {
		at := s.wake()
		if at.IsZero() || at.After(end) {
			break
		}
		if at.After(s.now) {
			s.now = at
		}
		s.poll()
		if s.k != nil && s.k.Lost(s.now) {
			s.say("lost")
			break
		}
	}
	s.now = end
}

func (s *script) receive(socket int, from netip.AddrPort, b []byte) {
	if s.k != nil {
		if s.k.Receive(s.now, socket, from, b) {
			s.say("works")
		}
	} else {
		s.m.Receive(s.now, socket, from, b)
	}
	s.poll()
}

func (s *script) poll() {
	var out []Datagram
	if s.k != nil {
		out = s.k.Poll(s.now, nil)
	} else {
		out = s.m.Poll(s.now, nil)
	}
	for i, g := range out {
		x, ok := s.peer.parse(g.Data)
		if !ok {
			s.t.Fatalf("%x cannot be read", g.Data)
		}
		what := "request"
		if x.answer {
			what = "answer"
		} else {
			s.last[g.To] = lastRequest{x.id, len(g.Data), g.Socket}
			if len(g.Data) >= smallSize4 {
				s.big[g.To] = s.last[g.To]
			}
		}
		if x.nominate {
			what += " nominates"
		}
		if len(g.Data) != probeSize {
			what += fmt.Sprintf(" %d bytes", len(g.Data))
		}
		if g.TTL != 0 {
			what += fmt.Sprintf(" ttl %d", g.TTL)
		}
		switch {
		case len(out) <= 6 || i == 0 || i == len(out)-1:
			s.say("%d > %s %s", g.Socket, g.To, what)
		case i == 1:
			s.say("… and %d more", len(out)-2)
		}
	}
	if path, o := s.m.Done(); o != s.said {
		s.said = o
		if o == Connected {
			s.say("connected: %d > %s, %s, %d bytes", path.Socket, path.Remote, path.RTT, path.Size)
		} else {
			s.say("%s", o)
		}
	}
}

func (s *script) trace() {
	t := s.m.Trace(s.now)
	s.say("%s, %s after %s: %s", t.Method, t.Outcome, t.Took, t.Why)
	for _, x := range t.Tries {
		said := fmt.Sprintf("%s %s by %d: %d datagrams from %s on", x.Origin, x.Addr, x.Socket, x.Datagrams, x.Began)
		if x.Heard != Never {
			said += fmt.Sprintf(", heard %s", x.Heard)
		}
		if x.Answered != Never {
			said += fmt.Sprintf(", answered %s after %s", x.Answered, x.RTT)
		}
		if x.Refused {
			said += ", refused"
		}
		s.say("%s", said)
	}
	if t.Others > 0 {
		s.say("%d to others", t.Others)
	}
}
