package main

import (
	"fmt"
	"math"
	"strings"
	"time"
	"unicode"

	"github.com/rivo/uniseg"

	"simplebit/rendezvous/apiclient"
)

// formatSize writes bytes with a binary prefix and about three digits:
// "999 B", "1.0 KiB", "12.3 MiB", "100 MiB".
func formatSize(bytes int64) string {
	if bytes < 1024 {
		return fmt.Sprintf("%d B", max(bytes, 0))
	}
	value, prefix := float64(bytes), 0
	// 1023.5 and above would round to 1024 of a unit that ends there.
	for value >= 1023.5 && prefix < 6 {
		value /= 1024
		prefix++
	}
	unit := " " + " KMGTPE"[prefix:prefix+1] + "iB"
	if value < 99.95 {
		return fmt.Sprintf("%.1f%s", value, unit)
	}
	return fmt.Sprintf("%.0f%s", value, unit)
}

// formatRate writes bytes per second.
func formatRate(bytesPerSecond int64) string { return formatSize(bytesPerSecond) + "/s" }

// formatPercent writes the share of size, rounded down: only all of it is 100%.
// It returns "" while the size is unknown.
func formatPercent(have, size int64) string {
	if size <= 0 {
		return ""
	}
	if have >= size {
		return "100%"
	}
	return fmt.Sprintf("%.1f%%", math.Floor(float64(max(have, 0))/float64(size)*1000)/10)
}

// formatDuration writes a duration with its two largest units, from seconds to days.
func formatDuration(d time.Duration) string {
	const day = 24 * time.Hour
	switch d = max(d, 0).Round(time.Second); {
	case d < time.Minute:
		return fmt.Sprintf("%ds", d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", d/time.Minute, d%time.Minute/time.Second)
	case d < day:
		return fmt.Sprintf("%dh%02dm", d/time.Hour, d%time.Hour/time.Minute)
	case d < 100*day:
		return fmt.Sprintf("%dd%02dh", d/day, d%day/time.Hour)
	}
	return ">100d"
}

// formatETA writes how long the rest takes at the present rate, or "" when that
// cannot be said.
func formatETA(job apiclient.Job) string {
	done, of := progressed(job)
	rest := of - done
	if job.State != apiclient.StateDownloading || rest <= 0 || job.DownRate <= 0 {
		return ""
	}
	seconds := math.Ceil(float64(rest) / float64(job.DownRate))
	const most = 365 * 24 * 3600
	return formatDuration(time.Duration(min(seconds, most)) * time.Second)
}

// formatCount writes a number with its noun.
func formatCount(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// formatProgress writes what a job does, for a line of its own:
// "12.3 MiB of 100 MiB  12.3%  5.1 MiB/s  ETA 17s  3 peers  downloading".
func formatProgress(job apiclient.Job) string {
	done, of := progressed(job)
	if of <= 0 {
		return formatActivity(job)
	}
	return formatSize(done) + " of " + formatSize(of) + "  " + formatActivity(job)
}

// formatActivity is formatProgress without the sizes.
func formatActivity(job apiclient.Job) string {
	var parts []string
	if share := formatPercent(progressed(job)); share != "" {
		parts = append(parts, share)
	}
	if job.State == apiclient.StateDownloading {
		parts = append(parts, formatRate(job.DownRate))
	}
	if eta := formatETA(job); eta != "" {
		parts = append(parts, "ETA "+eta)
	}
	if job.State == apiclient.StateDownloading || len(job.Peers) > 0 {
		parts = append(parts, formatCount(len(job.Peers), "peer"))
	}
	return strings.Join(append(parts, formatState(job)), "  ")
}

// progressed returns the bytes of what the job is at, fetching or checking, and of
// how many. What is skipped does not count. The second is 0 while it is not known.
func progressed(job apiclient.Job) (done, of int64) {
	if job.State == apiclient.StateChecking {
		return job.Checked, job.Size
	}
	return wantedBytes(job)
}

// wantedBytes returns what is there of the files that are not skipped, and their size.
func wantedBytes(job apiclient.Job) (have, size int64) {
	if job.Selected > 0 {
		return job.SelectedHave, job.Selected
	}
	return job.Have, job.Size
}

// formatState writes the state, with the reason wherever the numbers do not
// speak for themselves.
func formatState(job apiclient.Job) string {
	state, reason := string(job.State), job.Message
	if job.Error != "" {
		reason = job.Error
	} else if len(job.Peers) > 0 && job.State == apiclient.StateDownloading || job.State == apiclient.StateSeeding {
		reason = ""
	}
	switch {
	case reason == "":
		return state
	case len(reason) >= len(state) && strings.EqualFold(reason[:len(state)], state):
		// The sentence begins with the word itself.
		return clean(reason)
	}
	return state + ": " + clean(reason)
}

// formatBar draws a share of size as a bar of width columns, brackets included.
func formatBar(have, size int64, width int) string {
	inner := max(width-2, 1)
	full := 0
	if size > 0 {
		full = int(float64(inner) * min(max(float64(have)/float64(size), 0), 1))
	}
	if full == inner {
		return "[" + strings.Repeat("=", inner) + "]"
	}
	return "[" + strings.Repeat("=", full) + ">" + strings.Repeat(" ", inner-full-1) + "]"
}

// formatName is a job's name for people: it has none before its metadata came.
func formatName(job apiclient.Job) string {
	if job.Name == "" {
		return job.InfoHash
	}
	return clean(job.Name)
}

// clean makes one printable line of a text from a network: no control
// character, escape sequence or reordering of it reaches the terminal.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case !unicode.IsPrint(r):
			return unicode.ReplacementChar
		}
		return r
	}, strings.TrimSpace(s))
}

// cut shortens s to at most width columns, with "…" where something is missing.
func cut(s string, width int) string {
	if uniseg.StringWidth(s) <= width {
		return s
	}
	var b strings.Builder
	used := 0
	clusters := uniseg.NewGraphemes(s)
	for clusters.Next() && used+clusters.Width() < width {
		used += clusters.Width()
		b.WriteString(clusters.Str())
	}
	return b.String() + "…"
}
