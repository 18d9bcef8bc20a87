package tracker

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"
)

// Scrape is what a tracker knows of a torrent's swarm (BEP 48, BEP 15).
type Scrape struct {
	Seeders     int           // complete peers
	Leechers    int           // incomplete peers
	Downloads   int           // how many peers ever became complete
	MinInterval time.Duration // least time between scrapes that the tracker asks for, up to 24 hours; 0 if it does not say
}

var errNotListed = errors.New("its answer to the scrape does not list the torrent")

// scrapeURL returns where an HTTP tracker is scraped; false if its address says that it is not. BEP 48 puts "scrape" in
// the place of "announce" in the path; by the older convention, which makes that unambiguous, it begins the last part.
func scrapeURL(tracker *url.URL, infoHash [20]byte) (*url.URL, bool) {
	u := *tracker
	var ok bool
	if u.Path, ok = scrapePath(u.Path); !ok {
		return nil, false
	}
	if u.RawPath != "" {
		if u.RawPath, ok = scrapePath(u.RawPath); !ok {
			return nil, false
		}
	}
	return withQuery(&u, string(appendEscaped([]byte("info_hash="), infoHash[:]))), true
}

func scrapePath(path string) (string, bool) {
	last := strings.LastIndexByte(path, '/') + 1
	rest, ok := strings.CutPrefix(path[last:], "announce")
	return path[:last] + "scrape" + rest, ok
}

// parseScrape reads the body of an answer about one torrent.
func parseScrape(b []byte, infoHash [20]byte) (Scrape, error) {
	var s Scrape
	var f failure
	listed := false
	d := decoder{b: b}
	numbers := func(key string, kind byte) error {
		if kind != 'i' {
			return d.skip(3)
		}
		n, err := d.integer()
		switch key {
		case "complete":
			s.Seeders = clampCount(n)
		case "incomplete":
			s.Leechers = clampCount(n)
		case "downloaded":
			s.Downloads = clampCount(n)
		}
		return err
	}
	file := func(key string, kind byte) error {
		if key != string(infoHash[:]) || kind != 'd' {
			return d.skip(2)
		}
		listed = true
		return d.fields(numbers)
	}
	flag := func(key string, kind byte) error {
		if key != "min_request_interval" || kind != 'i' {
			return d.skip(2)
		}
		n, err := d.integer()
		s.MinInterval = clampSeconds(n, 0, 0, mostInterval)
		return err
	}
	err := d.whole(func(key string, kind byte) error {
		switch {
		case key == "files" && kind == 'd':
			return d.fields(file)
		case key == "flags" && kind == 'd':
			return d.fields(flag)
		case (key == "failure reason" || key == "failure_reason") && isText(kind): // BEP 3, BEP 48
			reason, err := d.text()
			f.reason(reason)
			return err
		case key == "retry in" && isText(kind):
			retry, err := d.text()
			f.retry(string(retry))
			return err
		case key == "retry in" && kind == 'i':
			n, err := d.integer()
			f.minutes(n)
			return err
		}
		return d.skip(1)
	})
	switch {
	case err != nil:
		return Scrape{}, fmt.Errorf("%w: %w", ErrMalformed, err)
	case f.err() != nil:
		return Scrape{}, f.err()
	case !listed:
		return Scrape{}, errNotListed
	}
	return s, nil
}
