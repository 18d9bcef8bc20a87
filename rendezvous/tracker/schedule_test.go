package tracker

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write the golden files anew")

// TestScheduleTranscripts plays the commands of each transcript and compares what the schedule decides:
//
//	tiers a b | c          two tiers; the order within them is as written
//	go N                   N times: waits until the next announce is due, and prints it
//	ok interval=T min=T id=X   how all following announces end: here with success
//	fail a b, refuse a, unsupported a   ends for those trackers; others as before
//	wait T                 lets time pass
//	poke, completed        as a session is told
//	order                  prints the trackers in order
func TestScheduleTranscripts(t *testing.T) {
	files, err := filepath.Glob("testdata/schedule/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no transcripts: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := replay(t, string(b))
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			} else if got != string(b) {
				t.Errorf("the transcript became\n%s", got)
			}
		})
	}
}

// replay returns the transcript with the output after each "----" written anew.
func replay(t *testing.T, transcript string) string {
	p := player{t: t, start: time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC), fails: make(map[string]error)}
	p.now = p.start
	var blocks []string
	for block := range strings.SplitSeq(transcript, "\n\n") {
		commands, _, found := strings.Cut(block, "----")
		if !found {
			blocks = append(blocks, strings.TrimSpace(block)) // a comment
			continue
		}
		p.out = commands + "----\n"
		for line := range strings.Lines(commands) {
			p.command(strings.Fields(line))
		}
		blocks = append(blocks, strings.TrimSpace(p.out))
	}
	return strings.Join(blocks, "\n\n") + "\n"
}

type player struct {
	t          *testing.T
	s          schedule
	start, now time.Time
	fails      map[string]error
	ok         Response
	out        string
}

func (p *player) command(words []string) {
	switch arg := words[1:]; words[0] {
	case "tiers":
		tier := 0
		for _, url := range arg {
			if url == "|" {
				tier++
				continue
			}
			p.s.trackers = append(p.s.trackers, trackerState{url: url, tier: tier})
		}
	case "ok":
		p.ok = Response{Interval: 30 * time.Minute, MinInterval: time.Minute}
		for _, w := range arg {
			key, value, found := strings.Cut(w, "=")
			switch {
			case !found:
				delete(p.fails, w)
			case key == "interval":
				p.ok.Interval = p.duration(value)
			case key == "min":
				p.ok.MinInterval = p.duration(value)
			}
		}
	case "fail", "refuse", "unsupported":
		for _, url := range arg {
			p.fails[url] = map[string]error{
				"fail": errors.New("down"), "refuse": &FailureError{Reason: "no"}, "unsupported": &Error{url, ErrUnsupported},
			}[words[0]]
		}
	case "wait":
		p.now = p.now.Add(p.duration(arg[0]))
	case "poke":
		p.s.more = true
	case "completed":
		p.s.complete()
	case "order":
		for _, t := range p.s.trackers {
			p.out += t.url + " "
		}
		p.out += "\n"
	case "go":
		n, err := strconv.Atoi(arg[0])
		if err != nil {
			p.t.Fatal(err)
		}
		for range n {
			p.announce()
		}
	default:
		p.t.Fatalf("unknown command %q", words)
	}
}

func (p *player) duration(s string) time.Duration {
	d, err := time.ParseDuration(s)
	if err != nil {
		p.t.Fatal(err)
	}
	return d
}

func (p *player) announce() {
	next, ok := p.s.next(p.now)
	if !ok {
		p.out += "nothing to do\n"
		return
	}
	if next.at.Before(p.now) {
		p.t.Errorf("the next announce is %v in the past", p.now.Sub(next.at))
	}
	p.now = next.at
	url := p.s.trackers[next.tracker].url
	err := p.fails[url]
	result := "ok"
	if err != nil {
		result = err.Error()
	}
	p.out += strings.TrimRight(fmt.Sprintf("%-9v %s %s: %s", p.now.Sub(p.start), url, next.event, result), " ") + "\n"
	p.s.record(p.now, next, p.ok, err, 0.5)
}

func TestRetriesAreSpread(t *testing.T) {
	down := errors.New("down")
	for _, c := range []struct {
		failures    int
		err         error
		least, most time.Duration
	}{
		{1, down, 7500 * time.Millisecond, 12500 * time.Millisecond},
		{2, down, 15 * time.Second, 25 * time.Second},
		{1, &FailureError{}, 45 * time.Second, 75 * time.Second},
		{1000, down, 1350 * time.Second, 2250 * time.Second},
	} {
		if least, most := backoff(c.failures, c.err, 0), backoff(c.failures, c.err, 0.9999999999999999); least != c.least || most.Round(time.Microsecond) != c.most {
			t.Errorf("after %d failures by %v the wait is %v to %v, want %v to %v", c.failures, c.err, least, most, c.least, c.most)
		}
	}
}
