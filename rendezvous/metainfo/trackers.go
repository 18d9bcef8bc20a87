package metainfo

import (
	"net/url"
	"strings"
)

// trackerTiers reads the trackers of a .torrent file: the announce-list (BEP 12), or else the announce key. Values of
// the wrong type and addresses that cannot be used are left out, since a torrent works without them.
func trackerTiers(announce, announceList []byte) [][]string {
	var set trackerSet
	var tiers [][]string
	for tier := range items(announceList) {
		var urls []string
		for raw := range items(tier) {
			urls = set.add(urls, string(text(raw)))
		}
		if len(urls) > 0 {
			tiers = append(tiers, urls)
		}
	}
	if tiers == nil {
		if urls := set.add(nil, string(text(announce))); urls != nil {
			tiers = [][]string{urls}
		}
	}
	return tiers
}

// trackerSet drops repeated trackers, and those beyond MaxTrackers.
type trackerSet map[string]bool

// add appends raw to urls if it is usable and new.
func (s *trackerSet) add(urls []string, raw string) []string {
	u, ok := cleanTracker(raw)
	if !ok || (*s)[u] || len(*s) == MaxTrackers {
		return urls
	}
	if *s == nil {
		*s = make(trackerSet)
	}
	(*s)[u] = true
	return append(urls, u)
}

// cleanTracker returns the address of a tracker without surrounding space, and whether it is one that clients can
// announce to. An address without a path is kept: some trackers have none.
func cleanTracker(raw string) (string, bool) {
	raw = strings.TrimSpace(raw)
	if raw == "" || len(raw) > MaxTrackerURL || strings.Map(visibleRune, raw) != raw {
		return "", false
	}
	u, err := url.Parse(raw)
	if err != nil || u.Hostname() == "" {
		return "", false
	}
	switch u.Scheme {
	case "http", "https", "udp":
		return raw, true
	}
	return "", false
}
