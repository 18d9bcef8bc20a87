package tracker

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

// BEP 48: "announce" in the path becomes "scrape".
func TestScrapeAddressFollowsFromTheAnnounces(t *testing.T) {
	const query = "info_hash=%01%00%00%00%00%00%00%00%00%00%00%00%00%00%00%00%00%00%00%00"
	for tracker, want := range map[string]string{
		"http://a/announce":                    "http://a/scrape?" + query,
		"http://a/x/announce":                  "http://a/x/scrape?" + query,
		"http://a/announce.php?key=k%20y#part": "http://a/scrape.php?key=k%20y&" + query,
		"http://a/%2F/announce":                "http://a/%2F/scrape?" + query,
		"http://a/announce%20x":                "http://a/scrape%20x?" + query,
		"http://a/announce/k":                  "",
		"http://a/a":                           "",
		"http://a/xannounce":                   "",
		"http://a/?x=/announce":                "",
		"http://a":                             "",
		"http://a/x%2Fannounce":                "",
	} {
		u, err := url.Parse(tracker)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		if s, ok := scrapeURL(u, [20]byte{1}); ok {
			got = s.String()
		}
		if got != want {
			t.Errorf("%s gives %q, want %q", tracker, got, want)
		}
	}
}

var scrapedHash = [20]byte([]byte("aaaaaaaaaaaaaaaaaaaa"))

func TestScrapeAnswers(t *testing.T) {
	for _, c := range []struct {
		name, in string
		want     Scrape
	}{
		{"one", "d5:filesd20:aaaaaaaaaaaaaaaaaaaad8:completei11e10:downloadedi13772e10:incompletei19eeee", Scrape{11, 19, 13772, 0}},
		{"among others", "d5:filesd20:AAAAAAAAAAAAAAAAAAAAd8:completei1ee20:aaaaaaaaaaaaaaaaaaaad8:completei2e4:name1:xeee", Scrape{2, 0, 0, 0}},
		{"flags", "d5:filesd20:aaaaaaaaaaaaaaaaaaaadee5:flagsd20:min_request_intervali7200eee", Scrape{0, 0, 0, 2 * time.Hour}},
		{"out of bounds", "d5:filesd20:aaaaaaaaaaaaaaaaaaaad8:completei-1e10:downloadedi9223372036854775807eee5:flagsd20:min_request_intervali9223372036854775807eee",
			Scrape{0, 0, 1<<31 - 1, 24 * time.Hour}},
		{"wrong types", "d5:filesd20:aaaaaaaaaaaaaaaaaaaad8:complete1:510:downloadedleee5:flagslee", Scrape{}},
	} {
		got, err := parseScrape([]byte(c.in), scrapedHash)
		if err != nil || got != c.want {
			t.Errorf("%s: %+v, %v, want %+v", c.name, got, err, c.want)
		}
		for n := range len(c.in) {
			if _, err := parseScrape([]byte(c.in[:n]), scrapedHash); !errors.Is(err, ErrMalformed) {
				t.Errorf("%s: the first %d bytes give %v", c.name, n, err)
			}
		}
	}
	for _, c := range []struct{ name, in, says string }{
		{"another torrent", "d5:filesd20:AAAAAAAAAAAAAAAAAAAAd8:completei1eeee", "does not list the torrent"},
		{"no torrent", "d5:filesdee", "does not list the torrent"},
		{"a list", "d5:filesl20:aaaaaaaaaaaaaaaaaaaaee", "does not list the torrent"},
		{"a refusal", "d14:failure reason9:forbiddene", "refused: forbidden"},
		{"a refusal as BEP 48 writes it", "d14:failure_reason9:forbiddene", "refused: forbidden"},
		{"a page", "<html>", "not bencoded"},
		{"nested", "d5:filesd20:aaaaaaaaaaaaaaaaaaaad1:x" + strings.Repeat("l", 1<<20), "nested"},
		{"more", "d5:filesd20:aaaaaaaaaaaaaaaaaaaadeeede", "2 bytes follow"},
	} {
		if _, err := parseScrape([]byte(c.in), scrapedHash); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s gives %v, want %q", c.name, err, c.says)
		}
	}
}

func FuzzScrape(f *testing.F) {
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := parseScrape(b, scrapedHash)
		if err != nil {
			return
		}
		if s.Seeders < 0 || s.Leechers < 0 || s.Downloads < 0 || s.MinInterval < 0 || s.MinInterval > 24*time.Hour {
			t.Errorf("out of bounds: %+v", s)
		}
		again := fmt.Appendf(nil, "d5:filesd20:%sd8:completei%de10:downloadedi%de10:incompletei%deee5:flagsd20:min_request_intervali%deee",
			scrapedHash, s.Seeders, s.Downloads, s.Leechers, s.MinInterval/time.Second)
		if got, err := parseScrape(again, scrapedHash); err != nil || got != s {
			t.Errorf("%+v is read again as %+v, %v", s, got, err)
		}
	})
}

func TestScrapeOverHTTP(t *testing.T) {
	var got *http.Request
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		got = r
		answer("d5:filesd20:aaaaaaaaaaaaaaaaaaaad8:completei1e10:downloadedi2e10:incompletei3eeee")(w, r)
	})
	client := NewClient(Config{UserAgent: "Test/1"})
	r, err := client.Scrape(t.Context(), s.URL+"/announce?passkey=k", scrapedHash)
	if err != nil || r != (Scrape{Seeders: 1, Downloads: 2, Leechers: 3}) || got.RequestURI != "/scrape?passkey=k&info_hash=aaaaaaaaaaaaaaaaaaaa" || got.UserAgent() != "Test/1" {
		t.Errorf("%+v, %v from %s", r, err, got.RequestURI)
	}
	_, err = client.Scrape(t.Context(), s.URL+"/a?passkey=secret", scrapedHash)
	if !errors.Is(err, ErrUnsupported) || !strings.Contains(err.Error(), "cannot be scraped") || strings.Contains(err.Error(), "secret") {
		t.Errorf("error %v", err)
	}
}
