package main

import (
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/rivo/uniseg"

	"simplebit/rendezvous/apiclient"
)

// FuzzName takes any name of a torrent or device: what is shown is printable, and what is cut fits.
func FuzzName(f *testing.F) {
	f.Fuzz(func(t *testing.T, name string, width int) {
		width = 1 + max(width, 0)%200
		job := apiclient.Job{Name: name, Message: name, Error: name, State: apiclient.StatePaused, Size: 1}
		for _, shown := range []string{cut(formatName(job), width), formatBarLine(job, width+1), formatProgress(job)} {
			if strings.ContainsFunc(shown, func(r rune) bool { return !unicode.IsPrint(r) }) {
				t.Errorf("%q is not printable", shown)
			}
		}
		text := apiclient.Answer(name)
		network := apiclient.Network{Summary: name, Mapping: apiclient.Dependence(name), Public: text, Hairpin: text, Double: text, Reachable: text,
			Candidates: []apiclient.Candidate{{Kind: name, Addr: name}}}
		page := formatDevice(apiclient.Device{ID: name, Name: name, Addr: name, Software: "agent " + name, Network: &network}, noon, time.UTC, width)
		const lines = 20
		if strings.Count(page, "\n") != lines || strings.ContainsFunc(page, func(r rune) bool { return r != '\n' && !unicode.IsPrint(r) }) {
			t.Errorf("%q is not %d printable lines", page, lines)
		}
		if shown := cut(clean(name), width); uniseg.StringWidth(shown) > width {
			t.Errorf("%q takes %d columns, not %d", shown, uniseg.StringWidth(shown), width)
		}
	})
}
