package tracker

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"simplebit/integration/transcript"
)

// TestScheduleTranscripts plays the commands of each transcript and compares what the schedule decides:
//
//	tiers a b | c          two tiers; the order within them is as written
//	go N                   N times: waits until the next announce is due, and prints it
//	add a b | c            merges more tiers
//	ok interval=T min=T counts downloads   how all following announces end: here with success
//	fail a b, refuse a, unsupported a, never a, later a   ends for those trackers; others as before
//	scrape ok, scrape fail, scrape never    how all following scrapes end
//	scrapes N              N times: waits until the next scrape is due, and prints it
//	wait T                 lets time pass
//	poke, completed        as a session is told
//	hungry T               for a time, pokes every 10 s and prints the announces that come due
//	news a b               all following answers of those trackers, and of no others, name a new peer
//	order                  prints the trackers in order
func TestScheduleTranscripts(t *testing.T) {
	transcript.Run(t, "testdata/schedule", func(t *testing.T) func([]string) string {
		p := player{t: t, start: time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC), fails: make(map[string]error)}
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
	s          schedule
	start, now time.Time
	fails      map[string]error
	scrapeFail error
	ok         Response
	news       []string
	peers      int // that were named
	out        string
}

func (p *player) command(words []string) {
	switch arg := words[1:]; words[0] {
	case "tiers", "add":
		tiers := [][]string{nil}
		for _, url := range arg {
			if url == "|" {
				tiers = append(tiers, nil)
				continue
			}
			last := len(tiers) - 1
			tiers[last] = append(tiers[last], url)
		}
		p.s.add(tiers, inOrder)
	case "ok":
		p.ok = Response{Interval: 30 * time.Minute, MinInterval: time.Minute}
		for _, w := range arg {
			key, value, found := strings.Cut(w, "=")
			switch {
			case w == "counts":
				p.ok.HasCounts = true
			case w == "downloads":
				p.ok.HasDownloads = true
			case !found:
				delete(p.fails, w)
			case key == "interval":
				p.ok.Interval = p.duration(value)
			case key == "min":
				p.ok.MinInterval = p.duration(value)
			}
		}
	case "fail", "refuse", "unsupported", "never", "later":
		for _, url := range arg {
			p.fails[url] = ending(words[0], url)
		}
	case "scrape":
		p.scrapeFail = ending(arg[0], "a")
	case "downloads":
		p.s.downloads = true
	case "wait":
		p.now = p.now.Add(p.duration(arg[0]))
	case "poke":
		p.s.poke(p.now)
	case "hungry":
		p.hungry(p.duration(arg[0]))
	case "news":
		p.news = arg
	case "completed":
		p.s.complete()
	case "order":
		for _, t := range p.s.trackers {
			p.out += t.url + " "
		}
		p.out += "\n"
	case "go", "scrapes":
		n, err := strconv.Atoi(arg[0])
		if err != nil {
			p.t.Fatal(err)
		}
		step := map[string]func(){"go": p.announce, "scrapes": p.scrape}[words[0]]
		for range n {
			step()
		}
	default:
		p.t.Fatalf("unknown command %q", words)
	}
}

func inOrder(n int) []int {
	order := make([]int, n)
	for i := range order {
		order[i] = i
	}
	return order
}

// ending is the error that a word of a transcript stands for.
func ending(word, url string) error {
	return map[string]error{
		"fail": errors.New("down"), "refuse": &FailureError{Reason: "no"}, "unsupported": &Error{url, ErrUnsupported},
		"never": &Error{url, &FailureError{Reason: "no", Never: true}}, "later": &Error{url, &FailureError{Reason: "no", RetryIn: time.Hour}},
	}[word]
}

func (p *player) scrape() {
	url, at := p.s.nextScrape(p.now)
	if url == "" {
		p.out += "nothing to scrape\n"
		return
	}
	p.now = at
	result := "ok"
	if p.scrapeFail != nil {
		result = p.scrapeFail.Error()
	}
	p.out += fmt.Sprintf("%-9v %s scrape: %s\n", p.now.Sub(p.start), url, result)
	p.s.recordScrape(p.now, url, Scrape{}, p.scrapeFail, 0.5)
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
	r := p.ok
	if slices.Contains(p.news, url) {
		p.peers++
		r.Peers = []netip.AddrPort{netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(p.peers)}), 6881)}
	}
	p.s.record(p.now, next, r, err, 0.5)
}

func (p *player) hungry(d time.Duration) {
	for end := p.now.Add(d); p.now.Before(end); {
		p.s.poke(p.now)
		tick := p.now.Add(10 * time.Second)
		for {
			next, ok := p.s.next(p.now)
			if !ok || !next.at.Before(tick) {
				break
			}
			p.announce()
		}
		p.now = tick
	}
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

func TestNoMoreThanHundredTrackersAreUsed(t *testing.T) {
	var s schedule
	var tiers [][]string
	for i := range 300 {
		tiers = append(tiers, []string{fmt.Sprint(i / 2), fmt.Sprint(i), ""})
	}
	s.add(tiers, inOrder)
	seen := make(map[string]bool)
	for _, tr := range s.trackers {
		if seen[tr.url] || tr.url == "" {
			t.Errorf("tracker %q is there twice, or empty", tr.url)
		}
		seen[tr.url] = true
	}
	if len(s.trackers) != 100 {
		t.Errorf("%d trackers", len(s.trackers))
	}
}
