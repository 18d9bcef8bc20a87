package main

import (
	"strings"
	"testing"
	"time"
	"unicode"

	"simplebit/rendezvous/apiclient"
)

// punched are paths to devices in every state, one of which would like to write on the terminal.
func punched() []apiclient.Path {
	tried := apiclient.Attempt{
		Began: noon.Add(-5 * time.Minute), Outcome: "connected", Controlling: true, Method: "predicted ports", Remote: "203.0.113.7:40114",
		RTT: 41_250, Took: 312, Why: "it answered first", Others: 12,
		Tries: []apiclient.Try{
			{Addr: "203.0.113.7:40112", Kind: "reflexive", Heard: -1, Answered: -1, Datagrams: 4},
			{Addr: "203.0.113.7:40114", Kind: "learned", Began: 151, Heard: 190, Answered: 231, Datagrams: 7},
		},
	}
	failed := apiclient.Attempt{Began: noon.Add(-7 * time.Minute), Outcome: "failed", Method: "known addresses", Took: 3000, Why: "nothing was heard from the peer"}
	again := tried
	again.Outcome, again.LAN, again.Remote, again.Tries = "lost", true, "192.168.1.7:6882", tried.Tries[:1]
	again.Ended, again.Kept = "nothing was heard on it for 15s", 200
	theirs := tried
	theirs.Outcome, theirs.Ended, theirs.Tries, theirs.Others = "lost", "the other device lost it, or nobody has vouched for it", nil, 0
	quiet := apiclient.Attempt{Began: noon.Add(-9 * time.Minute), Outcome: "silent"}
	alone := failed
	alone.Outcome, alone.Told, alone.Tries = "silent", true, tried.Tries[:1]
	liar := apiclient.Attempt{Began: noon.Add(time.Hour), Outcome: "\x1b[2J", Method: "\x07", Remote: "\x1b]0;x", Took: -1, RTT: -1, Why: "nice\nweather",
		Others: -1, Ended: "\x1b[1m", Kept: 1 << 62, Tries: []apiclient.Try{{Addr: "\u202e", Kind: "\x1b", Began: -9, Datagrams: -1}}}
	return []apiclient.Path{
		{Device: "attic", State: "path", Attempts: []apiclient.Attempt{failed, tried}},
		{Device: "barn", State: "waiting", Next: noon.Add(65 * time.Second), Attempts: []apiclient.Attempt{quiet, alone, theirs, failed, again}},
		{Device: "camper", State: "waiting"},
		{Device: "den", State: "trying", Attempts: []apiclient.Attempt{{Began: noon, Outcome: "pending"}}},
		{Device: "eaves", State: "connected"},
		{Device: "flat", State: "hopeless", Why: "UDP reaches neither device; this surrogate relays nothing"},
		{Device: "garage", State: "relayed", Next: noon.Add(40 * time.Second), Why: "no path found in 1.5 s, tries go on", Attempts: []apiclient.Attempt{failed}},
		{Device: "hut", State: "relayed", Why: "both routers pick a random port for every destination"},
		{Device: "li\x1bar", State: "\x1b[31m", Attempts: []apiclient.Attempt{liar}},
	}
}

func TestPathsAreShownOnPrintableLines(t *testing.T) {
	text := "\x1b[2J\r\n\u202e"
	page := formatPaths([]apiclient.Path{{Device: text, State: text, Why: text, Attempts: []apiclient.Attempt{
		{Outcome: text, Remote: text, Why: text, Method: text, Ended: text, Tries: []apiclient.Try{{Addr: text, Kind: text}}}}}}, noon, 0)
	if strings.Count(page, "\n") != 4 || strings.ContainsFunc(page, func(r rune) bool { return r != '\n' && !unicode.IsPrint(r) }) {
		t.Errorf("%q is not 4 printable lines", page)
	}
}
