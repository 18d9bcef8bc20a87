package dht

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"simplebit/integration/transcript"
)

// TestScheduleTranscripts plays the commands of each transcript and prints when which torrent is searched for:
//
//	add a b, remove a, poke a   as sessions are started, stopped and poked
//	search nodes=N fresh=N takes=T   how the searches that begin from now on go
//	reachable              nodes have been found
//	run T                  lets time pass
func TestScheduleTranscripts(t *testing.T) {
	transcript.Run(t, "testdata/schedule", func(t *testing.T) func([]string) string {
		p := player{t: t, outcome: outcome{nodes: 20, fresh: 1}, takes: 10 * time.Second}
		p.start = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
		p.now = p.start
		return func(words []string) string {
			p.out = ""
			p.command(words)
			return p.out
		}
	})
}

type player struct {
	t          *testing.T
	agenda     agenda[string]
	start, now time.Time
	outcome    outcome
	takes      time.Duration
	under      []underway
	out        string
}

// underway is a search, in the order of the ends.
type underway struct {
	torrent string
	ends    time.Time
	outcome outcome
}

func (p *player) command(words []string) {
	for _, w := range words[1:] {
		switch key, value, _ := strings.Cut(w, "="); words[0] {
		case "add":
			p.agenda.add(w)
		case "remove":
			p.agenda.remove(w)
		case "poke":
			p.agenda.poke(w)
		case "search":
			n, err := strconv.Atoi(value)
			switch {
			case key == "takes":
				p.takes = p.duration(value)
			case err != nil:
				p.t.Fatal(err)
			case key == "nodes":
				p.outcome.nodes = n
			case key == "fresh":
				p.outcome.fresh = n
			}
		case "run":
			p.run(p.now.Add(p.duration(w)))
		default:
			p.t.Fatalf("unknown command %q", words)
		}
	}
	if words[0] == "reachable" {
		p.agenda.reachable()
	}
}

func (p *player) duration(s string) time.Duration {
	d, err := time.ParseDuration(s)
	if err != nil {
		p.t.Fatal(err)
	}
	return d
}

func (p *player) run(until time.Time) {
	for {
		begin, wake := p.agenda.next(p.now)
		for _, k := range begin {
			p.under = append(p.under, underway{k, p.now.Add(p.takes), p.outcome})
		}
		if len(begin) > 0 {
			p.out += fmt.Sprintf("%-8v %s\n", p.now.Sub(p.start), strings.Join(begin, " "))
		}
		if len(p.under) > maxSearches {
			p.t.Errorf("%d searches are under way", len(p.under))
		}
		next := until
		if !wake.IsZero() && wake.Before(next) {
			next = wake
		}
		if len(p.under) > 0 && !p.under[0].ends.After(next) {
			next = p.under[0].ends
		}
		p.now = next
		for len(p.under) > 0 && !p.under[0].ends.After(p.now) {
			u := p.under[0]
			p.under = p.under[1:]
			p.agenda.end(u.torrent, p.now, u.outcome, 0.5)
		}
		if !p.now.Before(until) {
			return
		}
	}
}

func TestSearchesAreSpread(t *testing.T) {
	now := time.Unix(1e9, 0)
	for _, c := range []struct {
		outcome  outcome
		failures int // before
		random   float64
		want     time.Duration
	}{
		{outcome{nodes: 1}, 0, 0, 13*time.Minute + 30*time.Second},
		{outcome{nodes: 1}, 9, 0.5, 15 * time.Minute},
		{outcome{nodes: 1}, 0, 0.999999, 16*time.Minute + 30*time.Second},
		{outcome{}, 0, 0, 3750 * time.Millisecond},
		{outcome{}, 0, 0.999999, 6250 * time.Millisecond},
		{outcome{}, 1, 0.5, 10 * time.Second},
		{outcome{}, 3, 0.5, 40 * time.Second},
		{outcome{}, 4, 0.5, time.Minute},
		{outcome{}, 1000, 0.5, time.Minute},
	} {
		s := schedule{begun: now, failures: c.failures}
		if s.end(now, c.outcome, c.random); s.due().Sub(now).Round(10*time.Millisecond) != c.want {
			t.Errorf("after %+v and %d failures the next search is due in %v, want %v", c.outcome, c.failures, s.due().Sub(now), c.want)
		}
	}
}
