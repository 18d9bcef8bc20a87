package tracker

import "time"

// Waits between scrapes of one tracker (BEP 48 says nothing). A failed one doubles the wait: many trackers refuse them.
const (
	scrapeInterval = 30 * time.Minute
	mostScrapeWait = 24 * time.Hour
)

// scrapeState is what a schedule knows of the scrapes of one tracker.
type scrapeState struct {
	useless  bool // cannot be scraped, or does not want to be
	failures int  // since the last success
	due      time.Time
	last     Scrape
}

// nextScrape decides which tracker is scraped next and when; empty if none is. Only those are that work and whose answers
// to announces leave open what the status shows, and one at a time.
func (s *schedule) nextScrape(now time.Time) (url string, at time.Time) {
	if s.scraping {
		return "", time.Time{}
	}
	for i := range s.trackers {
		t := &s.trackers[i]
		open := !t.last.HasCounts || s.downloads && !t.last.HasDownloads
		if t.disabled || !t.started || t.failures > 0 || t.scrape.useless || !open {
			continue
		}
		if due := later(t.scrape.due, now); url == "" || due.Before(at) {
			url, at = t.url, due
		}
	}
	return url, at
}

// recordScrape notes how a scrape that followed nextScrape ended. random is in [0, 1).
func (s *schedule) recordScrape(now time.Time, url string, r Scrape, err error, random float64) {
	s.scraping = false
	for i := range s.trackers {
		if s.trackers[i].url == url {
			s.trackers[i].scrape.record(now, r, err, random)
		}
	}
}

func (t *scrapeState) record(now time.Time, r Scrape, err error, random float64) {
	switch {
	case isFinal(err):
		t.useless = true
	case err != nil:
		t.failures++
		wait := scrapeInterval
		for n := t.failures; n > 0 && wait < mostScrapeWait; n-- {
			wait *= 2
		}
		t.due = now.Add(max(time.Duration(float64(min(wait, mostScrapeWait))*(0.75+random/2)), retryIn(err, random)))
	default:
		t.last, t.failures, t.due = r, 0, now.Add(max(scrapeInterval, r.MinInterval))
	}
}

// numbers returns what the status shows of the swarm: what the last answer says, else what the last scrape said.
func (t *trackerState) numbers() (seeders, leechers, downloads int) {
	seeders, leechers, downloads = t.scrape.last.Seeders, t.scrape.last.Leechers, t.scrape.last.Downloads
	if t.last.HasCounts {
		seeders, leechers = t.last.Seeders, t.last.Leechers
	}
	if t.last.HasDownloads {
		downloads = t.last.Downloads
	}
	return seeders, leechers, downloads
}
