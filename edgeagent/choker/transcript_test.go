package choker

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"simplebit/integration/transcript"
)

// TestTranscripts plays the commands of each transcript and compares what is decided:
//
//	slots N, seeding, leeching    what the questions say
//	peers A B … KEY=VALUE …       adds or changes interested peers: gave, took (KiB/s), snubbed, joined (ago)
//	gone A B …                    they are not interested any more
//	wait T                        lets time pass
//	rounds N                      N times an interval and a round
//	fill                          a choice between two rounds
//	load N KEY=VALUE …            N rounds of Slots: rate, limit (KiB/s), idle (%), used (default all), waiting (default 1)
//
// After each choice those who have a slot are printed, those who have it by chance behind a question mark.
func TestTranscripts(t *testing.T) {
	transcript.Run(t, "testdata", func(t *testing.T) func([]string) string {
		p := player{t: t, swarm: newSwarm()}
		return func(words []string) string {
			p.out = ""
			p.command(words)
			return p.out
		}
	})
}

type player struct {
	*swarm
	t     *testing.T
	slots Slots
	out   string
}

func (p *player) command(words []string) {
	var ids []uint32
	options := map[string]string{}
	for _, w := range words[1:] {
		if key, value, ok := strings.Cut(w, "="); ok {
			options[key] = value
		} else if n, err := strconv.Atoi(w); err == nil {
			ids = append(ids, uint32(n))
		} else {
			options[w] = "yes"
		}
	}
	switch words[0] {
	case "slots":
		p.q.Slots = int(ids[0])
	case "seeding", "leeching":
		p.q.Seeding = words[0] == "seeding"
	case "peers":
		for _, id := range ids {
			p.change(p.peer(id), options)
		}
	case "gone":
		p.peers = slices.DeleteFunc(p.peers, func(q *Peer) bool { return slices.Contains(ids, q.ID) })
	case "wait":
		for d := range options {
			p.q.Now = p.q.Now.Add(p.duration(d))
		}
	case "rounds":
		for range ids[0] {
			p.q.Now = p.q.Now.Add(Interval)
			p.choose(true)
			p.show()
		}
	case "fill":
		p.choose(false)
		p.show()
	case "load":
		for range ids[0] {
			p.load(options)
		}
	default:
		p.t.Fatalf("unknown command %q", words[0])
	}
}

func (p *player) change(q *Peer, options map[string]string) {
	for key, value := range options {
		switch key {
		case "gave":
			q.Gave = p.number(value) << 10
		case "took":
			q.Took = p.number(value) << 10
		case "snubbed":
			q.Snubbed = value == "yes"
		case "joined":
			q.Joined = p.q.Now.Add(-p.duration(value))
		default:
			p.t.Fatalf("unknown option %q", key)
		}
	}
}

func (p *player) number(s string) int64 {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		p.t.Fatal(err)
	}
	return n
}

func (p *player) duration(s string) time.Duration {
	d, err := time.ParseDuration(s)
	if err != nil {
		p.t.Fatal(err)
	}
	return d
}

func (p *player) show() {
	p.out += fmt.Sprintf("%4.0fs ", p.q.Now.Sub(start).Seconds())
	for _, q := range p.peers {
		switch {
		case q.Optimistic:
			p.out += fmt.Sprintf(" %d?", q.ID)
		case q.Unchoked:
			p.out += fmt.Sprintf(" %d", q.ID)
		}
	}
	p.out += "\n"
}

func (p *player) load(options map[string]string) {
	l := Load{Used: p.slots.Count(), Waiting: 1}
	for key, value := range options {
		n := p.number(value)
		switch key {
		case "rate":
			l.Rate = n << 10
		case "limit":
			l.Limit = n << 10
		case "idle":
			l.Idle = float64(n) / 100
		case "used":
			l.Used = int(n)
		case "waiting":
			l.Waiting = int(n)
		default:
			p.t.Fatalf("unknown option %q", key)
		}
	}
	p.slots = p.slots.Next(l)
	p.out += fmt.Sprintf("%d slots\n", p.slots.Count())
}

var start = time.Unix(1_000_000_000, 0)

// swarm is a set of interested peers that get and lose slots as Choose has it.
type swarm struct {
	q     Question
	peers []*Peer // by ID
}

func newSwarm() *swarm {
	return &swarm{q: Question{Now: start, Slots: 4, Rand: rand.New(rand.NewPCG(1, 1))}}
}

// peer returns the peer, a new one if need be that has been connected for an hour.
func (s *swarm) peer(id uint32) *Peer {
	at, ok := slices.BinarySearchFunc(s.peers, id, func(p *Peer, id uint32) int { return cmp.Compare(p.ID, id) })
	if !ok {
		s.peers = slices.Insert(s.peers, at, &Peer{ID: id, Since: s.q.Now, Joined: s.q.Now.Add(-time.Hour)})
	}
	return s.peers[at]
}

// choose has Choose decide and does what it says.
func (s *swarm) choose(round bool) {
	s.q.Round = round
	peers := make([]Peer, len(s.peers))
	for i, p := range s.peers {
		peers[i] = *p
	}
	chosen := Choose(s.q, peers)
	for _, p := range s.peers {
		i := slices.IndexFunc(chosen, func(c Choice) bool { return c.ID == p.ID })
		if has := i >= 0; has != p.Unchoked {
			p.Unchoked, p.Since = has, s.q.Now
		}
		p.Served = p.Served || p.Unchoked
		p.Optimistic = i >= 0 && chosen[i].Optimistic
	}
}
