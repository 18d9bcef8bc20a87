package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"simplebit/cmd/rate"
	"simplebit/edgeagent"
)

func status(args []string, out io.Writer) error {
	o, err := parse("status", args, 0, out)
	if err != nil {
		return err
	}
	st, err := edgeagent.ReadStatus(o.state)
	if err != nil {
		return err
	}
	if o.json {
		e := json.NewEncoder(out)
		e.SetIndent("", "  ")
		return e.Encode(st)
	}
	printStatus(out, time.Now(), st)
	return nil
}

func printStatus(out io.Writer, now time.Time, st edgeagent.Status) {
	fmt.Fprintf(out, "device     %s (%s)\n", st.Name, st.Device)
	if st.Connected {
		fmt.Fprintf(out, "surrogate  %s, connected for %s", st.Surrogate, age(now, st.Since))
		if st.Transport == "tcp" {
			fmt.Fprint(out, " by TCP, as UDP does not work")
		}
		if st.Observed != "" {
			fmt.Fprintf(out, ", sees this device at %s", st.Observed)
		}
		fmt.Fprintln(out)
	} else if st.Error == "" {
		fmt.Fprintf(out, "surrogate  %s, connecting\n", st.Surrogate)
	} else {
		fmt.Fprintf(out, "surrogate  %s, not connected: %s\n", st.Surrogate, st.Error)
	}
	printNetwork(out, now, st.Network)
	printPaths(out, now, st)
	fmt.Fprintf(out, "memory     %s for blocks, %s free\n", size(st.MemoryBytes), size(st.MemoryFree))
	fmt.Fprintf(out, "limits     down %s, up %s, %d connections\n", formatLimit(st.DownLimit), formatLimit(st.UpLimit), st.MaxPeers)
	if len(st.Torrents) == 0 {
		fmt.Fprintln(out, "no torrents")
	}
	for _, t := range st.Torrents {
		have, of := size(t.Have), size(t.Size).String()
		if t.Selected > 0 {
			have, of = size(t.SelectedHave), fmt.Sprintf("%s wanted (%s in all)", size(t.Selected), size(t.Size))
		}
		fmt.Fprintf(out, "%s  %-11s  %s of %s  down %s/s  up %s/s  %d peers  unfinished pieces %s\n",
			t.InfoHash, t.State, have, of, size(t.DownRate), size(t.UpRate), t.Peers, size(t.Partial))
		if line := wishes(t); line != "" {
			fmt.Fprintf(out, "  %s\n", line)
		}
		if t.Error != "" {
			fmt.Fprintf(out, "  %s\n", t.Error)
		}
	}
}

// printNetwork prints what the device sits behind, the sentence first.
func printNetwork(out io.Writer, now time.Time, n edgeagent.NetworkStatus) {
	switch {
	case n.Summary != "":
		fmt.Fprintf(out, "network    %s (found out %s ago)\n", n.Summary, age(now, n.Checked))
		if !n.Blocked {
			fmt.Fprintf(out, "           %s\n", strings.Join(behaviour(n), ", "))
		}
	case n.Error != "":
		fmt.Fprintf(out, "network    unknown: %s\n", n.Error)
	default:
		fmt.Fprintln(out, "network    unknown so far")
	}
	if len(n.Candidates) > 0 {
		fmt.Fprintf(out, "addresses  %s\n", strings.Join(n.Candidates, ", "))
	}
}

// printPaths prints how other devices are reached.
func printPaths(out io.Writer, now time.Time, st edgeagent.Status) {
	for _, p := range st.Paths {
		where := ""
		if p.LAN {
			where = " on the same network"
		}
		fmt.Fprintf(out, "path       %s at %s%s, round trip %.1f ms, for %s\n", p.Device, p.Addr, where, p.RTT, age(now, p.Since))
	}
	for _, r := range st.Relayed {
		seen := ""
		if r.Addr != "" {
			seen = " at " + r.Addr
		}
		fmt.Fprintf(out, "relayed    %s%s for %.8s, over %s, for %s\n", r.Device, seen, r.InfoHash, strings.ToUpper(r.Transport), age(now, r.Since))
	}
}

func age(now, since time.Time) time.Duration { return now.Sub(since).Round(time.Second) }

// behaviour is what is known of the router, in RFC 4787's words.
func behaviour(n edgeagent.NetworkStatus) []string {
	parts := []string{"mapping " + n.Mapping, "filtering " + n.Filtering}
	for _, p := range []struct{ name, value string }{
		{"ports kept", n.PortPreserved}, {"hairpin", n.Hairpin}, {"double NAT", n.DoubleNAT}, {"reachable", n.Reachable},
	} {
		parts = append(parts, p.name+" "+p.value)
	}
	if n.PortStep != 0 {
		parts = append(parts, fmt.Sprintf("ports in steps of %d", n.PortStep))
	}
	if n.Lifetime > 0 {
		parts = append(parts, fmt.Sprintf("mappings last %s at least", seconds(n.Lifetime)))
	}
	return parts
}

// formatLimit prints bytes a second.
func formatLimit(bytes int64) string {
	if bytes == 0 {
		return "no limit"
	}
	return rate.Format(bytes) + "/s"
}

// wishes is what was asked of a torrent besides having it, empty if nothing was.
func wishes(t edgeagent.TorrentStatus) string {
	var parts []string
	l := t.Limits
	if l.Sequential {
		parts = append(parts, "in order")
	}
	if l.Down > 0 {
		parts = append(parts, "down at most "+formatLimit(l.Down))
	}
	if l.Up > 0 {
		parts = append(parts, "up at most "+formatLimit(l.Up))
	}
	if l.MaxPeers > 0 {
		parts = append(parts, fmt.Sprintf("%d connections at most", l.MaxPeers))
	}
	if l.SeedRatio > 0 {
		parts = append(parts, fmt.Sprintf("seeds to ratio %g (now %.2f)", l.SeedRatio, ratio(t)))
	}
	if l.SeedTime > 0 {
		parts = append(parts, fmt.Sprintf("seeds for %s (so far %s)", seconds(l.SeedTime), seconds(t.Seeded)))
	}
	return strings.Join(parts, ", ")
}

// ratio is what was sent of what is wanted.
func ratio(t edgeagent.TorrentStatus) float64 {
	wanted := t.Size
	if t.Selected > 0 {
		wanted = t.Selected
	}
	if wanted == 0 {
		return 0
	}
	return float64(t.Uploaded) / float64(wanted)
}

func seconds(n int64) time.Duration { return time.Duration(n) * time.Second }

// size is a number of bytes that reads and prints as 4MiB.
type size int64

var units = []string{"B", "KiB", "MiB", "GiB", "TiB"}

// String prints with one decimal where that says more.
func (s size) String() string {
	v, unit := float64(s), 0
	for v >= 1024 && unit < len(units)-1 {
		v, unit = v/1024, unit+1
	}
	return strings.TrimSuffix(strconv.FormatFloat(v, 'f', 1, 64), ".0") + " " + units[unit]
}

// Set reads a number with an optional binary unit.
func (s *size) Set(text string) error {
	number := strings.TrimRight(text, "BiKMGT ")
	factor := int64(1)
	if suffix := strings.TrimSpace(text[len(number):]); suffix != "" {
		found := false
		for i, u := range units {
			if suffix == u || i > 0 && suffix == u[:1] {
				factor, found = 1<<(10*i), true
			}
		}
		if !found {
			return fmt.Errorf("size %q: want a number of bytes or a unit of KiB, MiB, GiB", text)
		}
	}
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || n < 0 || n > 1<<50/factor {
		return fmt.Errorf("size %q: want a number of bytes or a unit of KiB, MiB, GiB", text)
	}
	*s = size(n * factor)
	return nil
}
