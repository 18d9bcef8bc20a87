package main

import (
	"fmt"
	"strings"
	"time"

	"simplebit/rendezvous/apiclient"
)

// formatPaths writes how the target and the other devices stand to each other, and the attempts between them with all that was
// tried, the latest first. Width 0 is no limit.
func formatPaths(paths []apiclient.Path, now time.Time, width int) string {
	var b strings.Builder
	for _, p := range paths {
		fmt.Fprintf(&b, "%s: %s\n", clean(p.Device), formatPathState(p, now))
		for i := len(p.Attempts) - 1; i >= 0; i-- {
			a := p.Attempts[i]
			fmt.Fprintf(&b, "  %s\n", formatAttempt(a, now))
			if len(a.Tries) > 0 {
				b.WriteString(indent(indent(tryTable(a.Tries, width-4))))
			}
		}
	}
	return b.String()
}

func formatPathState(p apiclient.Path, now time.Time) string {
	state := clean(p.State)
	switch {
	case p.State == "path":
		state = "there is a punched path"
	case p.State == "trying":
		state = "an attempt is under way"
	case p.State == "connected":
		state = "connected, by no attempt that is remembered"
	case p.State == "hopeless":
		state = "no direct way between the two networks"
	case p.State == "relayed" && p.Next.After(now):
		state = "relayed by the surrogate, next attempt at a path in " + formatDuration(p.Next.Sub(now))
	case p.State == "relayed":
		state = "relayed by the surrogate"
	case p.State == "waiting" && p.Next.After(now):
		state = "next attempt in " + formatDuration(p.Next.Sub(now))
	}
	return state + prefixed(": ", clean(p.Why))
}

// formatAttempt is one line: "5m00s ago: connected, 203.0.113.7:6882, after 151 ms, round trip 41.3 ms: it answered first (known
// addresses)". A lost path is as old as its loss, where that is known.
func formatAttempt(a apiclient.Attempt, now time.Time) string {
	var b strings.Builder
	at := a.Began
	if a.Kept > 0 {
		at = at.Add(time.Duration(a.Took)*time.Millisecond + time.Duration(min(a.Kept, 1<<32))*time.Second)
	}
	if age := now.Sub(at); age >= 0 {
		fmt.Fprintf(&b, "%s ago: ", formatDuration(age))
	}
	b.WriteString(formatOutcome(a))
	if a.Remote != "" {
		fmt.Fprintf(&b, "%s%s%s", choose(a.Ended != "", "; it was ", ", "), clean(a.Remote), choose(a.LAN, " in the local network", ""))
	}
	if a.Took > 0 {
		fmt.Fprintf(&b, ", after %d ms", a.Took)
	}
	if a.RTT > 0 {
		fmt.Fprintf(&b, ", round trip %.1f ms", float64(a.RTT)/1000)
	}
	b.WriteString(prefixed(": ", clean(a.Why)))
	if a.Method != "" {
		fmt.Fprintf(&b, " (%s%s)", clean(a.Method), choose(a.Others > 0, ", "+formatCount(a.Others, "datagram")+" to others", ""))
	}
	return b.String()
}

func formatOutcome(a apiclient.Attempt) string {
	switch {
	case a.Outcome == "pending":
		return "under way"
	case a.Outcome == "silent" && a.Told:
		return "silent, the other device told nothing"
	case a.Outcome == "silent":
		return "silent, the device told nothing"
	case a.Kept > 0:
		return clean(a.Outcome) + " after " + formatDuration(time.Duration(min(a.Kept, 1<<32))*time.Second) + prefixed(": ", clean(a.Ended))
	}
	return clean(a.Outcome) + prefixed(": ", clean(a.Ended))
}

func tryTable(tries []apiclient.Try, width int) string {
	moment := func(ms int64) string {
		if ms < 0 {
			return "never"
		}
		return fmt.Sprintf("%d ms", ms)
	}
	var rows [][]string
	for _, t := range tries {
		rows = append(rows, []string{clean(t.Addr), clean(t.Kind), moment(t.Began), moment(t.Heard), moment(t.Answered), fmt.Sprint(t.Datagrams)})
	}
	return formatTable([]column{{title: "ADDRESS"}, {title: "KIND"}, {title: "BEGAN", right: true}, {title: "HEARD", right: true},
		{title: "ANSWERED", right: true}, {title: "DATAGRAMS", right: true}}, rows, max(width, 0))
}
