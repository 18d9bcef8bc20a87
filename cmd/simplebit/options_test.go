package main

import (
	"slices"
	"strings"
	"testing"
)

func TestTimesToSeedMayBeInDays(t *testing.T) {
	for text, want := range map[string]int64{"0": 0, "90m": 5400, "48h": 172800, "7d": 604800, "0.5d": 43200, "1h30m": 5400, "61s": 61, "1500ms": 1, "3650d": 315360000, "87600h": 315360000} {
		if got, err := parseSeedTime(text); err != nil || got != want {
			t.Errorf("%q: %d, %v, want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "5", "d", "-1h", "10ms", "1w", "forever", "999999d", "3650.1d", "87601h", "0.000001d", "1.2.3d", "9999999h9999999h"} {
		if got, err := parseSeedTime(text); err == nil || got != 0 {
			t.Errorf("%q was read as %d", text, got)
		}
	}
}

func TestOptionsAndChoicesReachTheSurrogate(t *testing.T) {
	for line, want := range map[string][]string{
		"add magnet:?xt=x --to attic": nil,
		"add magnet:?xt=x --to attic --down 2M --up 500K --sequential --ratio 2 --seed-time 48h --max-peers 30": {
			`{"down":2097152,"up":512000,"max_peers":30,"sequential":true,"ratio":2,"seed_time":172800}`, "null"},
		"add magnet:?xt=x --to attic --only *.flac --only a,b --skip x": {"null",
			`[{"priority":"skip","patterns":["*"]},{"priority":"normal","patterns":["*.flac","a,b"]},{"priority":"skip","patterns":["x"]}]`},
		"set k3 --down none --sequential=false": {`{"down":0,"sequential":false}`},
		"set k3 --max-peers 0 --ratio none --seed-time 0 --skip *.nfo": {`{"max_peers":0,"ratio":0,"seed_time":0}`,
			`[{"priority":"skip","patterns":["*.nfo"]}]`},
		"files k3": nil,
		"files k3 --skip s --high h --normal n --low l": {
			`[{"priority":"low","patterns":["l"]},{"priority":"normal","patterns":["n"]},{"priority":"high","patterns":["h"]},{"priority":"skip","patterns":["s"]}]`},
	} {
		w := newWorld(t)
		if _, stderr, status := w.run(t.Context(), strings.Fields(line)...); status != 0 || !slices.Equal(w.fake.asked, want) {
			t.Errorf("%s: status %d, asked %q %s\nwant %q", line, status, w.fake.asked, stderr, want)
		}
	}
}
