package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"simplebit/rendezvous/apiclient"
)

func (p *program) showCommand() *cli.Command {
	return &cli.Command{Name: "show", Usage: "show everything about a job", ArgsUsage: "JOB", Action: p.show}
}

func (p *program) show(c *cli.Context) error {
	client, job, err := p.namedJob(c)
	if err != nil {
		return err
	}
	if job, err = client.Job(c.Context, job.ID); err != nil { // has more than a list of jobs
		return err
	}
	if wantsJSON(c) {
		return p.printJSON(job)
	}
	fmt.Fprint(p.stdout, formatJob(job, p.now, p.zone, p.columns()))
	return nil
}

// formatJob is the page of "show". Width 0 is no limit.
func formatJob(job apiclient.Job, now time.Time, zone *time.Location, width int) string {
	var b strings.Builder
	field := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "  %-10s%s\n", name, fmt.Sprintf(format, args...))
	}
	fmt.Fprintln(&b, formatName(job))
	field("job", "%s, added %s", clean(job.ID), job.Added.In(zone).Format("2006-01-02 15:04"))
	field("info-hash", "%s%s", clean(job.InfoHash), choose(job.Private, " (private torrent)", ""))
	field("target", "%s (%s)", clean(job.Target), choose(job.TargetOnline, "online", "offline"))
	field("state", "%s", job.State)
	if job.Message != "" && job.Message != job.Error {
		field("message", "%s", clean(job.Message))
	}
	if job.Error != "" {
		field("error", "%s", clean(job.Error))
	}
	if have, size := wantedBytes(job); size > 0 {
		field("have", "%s of %s, %s%s%s", formatSize(have), formatSize(size), formatPercent(have, size), prefixed(", done in ", formatETA(job)),
			choose(job.Selected > 0, " (of "+formatSize(job.Size)+" in all)", ""))
	}
	if options := formatOptions(job.Options); options != "" {
		field("options", "%s", options)
	}
	if len(job.Choices) > 0 {
		field("files", "%s; once they are known", formatChoices(job.Choices))
	}
	field("rates", "down %s, up %s", formatRate(job.DownRate), formatRate(job.UpRate))
	field("traffic", "received %s, sent %s", formatSize(job.Downloaded), formatSize(job.Uploaded))
	if r := job.Relayed; r.Down > 0 || r.Up > 0 {
		field("relayed", "received %s, sent %s through the surrogate, for want of a path", formatSize(r.Down), formatSize(r.Up))
	}
	if job.Known > 0 {
		field("addresses", "%d known, %d reachable", job.Known, job.Reachable)
	}
	if job.DHT.Enabled {
		field("DHT", "%s", formatDHT(job.DHT, now))
	}
	if len(job.Peers) > 0 {
		fmt.Fprintf(&b, "\n%s:\n%s", formatCount(len(job.Peers), "peer"), indent(peerTable(job.Peers, width-2)))
	}
	if len(job.Paths) > 0 {
		fmt.Fprintf(&b, "\npaths to %s:\n%s", formatCount(len(job.Paths), "device"), indent(formatPaths(job.Paths, now, width-2)))
	}
	if len(job.Trackers) > 0 {
		fmt.Fprintf(&b, "\n%s:\n%s", formatCount(len(job.Trackers), "tracker"), indent(trackerTable(job.Trackers, now)))
	}
	return b.String()
}

// formatChoices writes choices of files as they are made: "skip *; normal *.flac".
func formatChoices(choices []apiclient.Choice) string {
	var parts []string
	for _, c := range choices {
		parts = append(parts, clean(string(c.Priority)+" "+strings.Join(c.Patterns, ", ")))
	}
	return strings.Join(parts, "; ")
}

func formatDHT(d apiclient.DHT, now time.Time) string {
	text := formatCount(d.Nodes, "node") + ", " + formatCount(d.Peers, "peer") + " found"
	if d.Next.After(now) {
		text += ", next search in " + formatDuration(d.Next.Sub(now))
	}
	return text + prefixed("; ", clean(d.Error))
}

func peerTable(peers []apiclient.Peer, width int) string {
	var rows [][]string
	for _, peer := range peers {
		rows = append(rows, []string{clean(peer.Addr), clean(peer.Client), clean(peer.Transport), clean(peer.Path),
			formatRate(peer.Down), formatRate(peer.Up)})
	}
	return formatTable([]column{{title: "ADDRESS"}, {title: "CLIENT", elastic: true}, {title: "TRANSPORT"}, {title: "PATH"},
		{title: "DOWN", right: true}, {title: "UP", right: true}}, rows, max(width, 0))
}

// trackerTable is never cut: the end of an error is often what explains it.
func trackerTable(trackers []apiclient.Tracker, now time.Time) string {
	var rows [][]string
	for _, tracker := range trackers {
		next := ""
		if !tracker.Next.IsZero() {
			next = "in " + formatDuration(tracker.Next.Sub(now))
		}
		answer := "ok"
		if tracker.Error != "" {
			answer = clean(tracker.Error)
		} else if tracker.Warning != "" {
			answer = "warning: " + clean(tracker.Warning)
		}
		rows = append(rows, []string{clean(tracker.URL), fmt.Sprint(tracker.Seeders), fmt.Sprint(tracker.Leechers), fmt.Sprint(tracker.Downloads), next, answer})
	}
	return formatTable([]column{{title: "URL"}, {title: "SEEDERS", right: true}, {title: "LEECHERS", right: true},
		{title: "DOWNLOADS", right: true}, {title: "NEXT", right: true}, {title: "ANSWER"}}, rows, 0)
}

func indent(lines string) string {
	return "  " + strings.ReplaceAll(strings.TrimSuffix(lines, "\n"), "\n", "\n  ") + "\n"
}

// prefixed is text after prefix, or nothing when there is no text.
func prefixed(prefix, text string) string {
	if text == "" {
		return ""
	}
	return prefix + text
}

func choose(condition bool, yes, no string) string {
	if condition {
		return yes
	}
	return no
}
