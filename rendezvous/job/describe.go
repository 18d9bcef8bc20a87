package job

import (
	"fmt"
	"strings"
	"time"

	"simplebit/wire/control"
)

// describe says where a job stands and, in one sentence, what it does or waits for.
func describe(now time.Time, v *View) (State, string) {
	switch {
	case v.Removed && v.On.Online && v.Progress.State == control.StateFailed:
		return StateRemoving, fmt.Sprintf("device %s cannot drop the torrent: %s; remove it again to try again", v.On.Name, v.Progress.Error)
	case v.Removed && v.On.Online:
		return StateRemoving, fmt.Sprintf("device %s is dropping the torrent", v.On.Name)
	case v.Removed:
		return StateRemoving, fmt.Sprintf("waiting for device %s to come online and drop the torrent", v.On.Name)
	case v.On.Revoked:
		return StateFailed, fmt.Sprintf("device %s was revoked: remove this job, or add it on another device", v.On.Name)
	case v.Paused && v.Fault != "":
		return StatePaused, "paused by an error: " + v.Fault
	case v.Paused:
		return StatePaused, "paused"
	case !v.hasInfo:
		return StateMetadata, describeMetadata(now, v)
	case v.finished():
		return StateFinished, describeFinished(v)
	case !v.On.Online:
		return StateWaiting, fmt.Sprintf("waiting for device %s: it is offline", v.On.Name)
	case v.Progress.Generation < v.Generation:
		return StateWaiting, fmt.Sprintf("waiting for device %s to take the job", v.On.Name)
	}
	switch v.Progress.State {
	case control.StateLayout:
		return StateWaiting, fmt.Sprintf("sending the file list and piece hashes to device %s", v.On.Name)
	case control.StateChecking:
		return StateChecking, fmt.Sprintf("checking the files on device %s: %d %%", v.On.Name, percent(v.Progress.Checked, v.Size))
	case control.StateSeeding:
		return StateSeeding, describeSeeding(v)
	case control.StateFailed:
		return StateFailed, v.Progress.Error
	case control.StateDownloading:
		if n := len(v.Progress.Peers); n > 0 {
			return StateDownloading, "downloading from " + count(n, "peer")
		}
		return StateDownloading, "no peers connected: " + describeSources(now, v)
	}
	return StateWaiting, fmt.Sprintf("device %s is starting the job", v.On.Name)
}

func describeMetadata(now time.Time, v *View) string {
	switch m := v.Metadata; {
	case m.Pieces > 0:
		return fmt.Sprintf("fetching the torrent's description from %s: %d of %d pieces", count(m.Peers, "peer"), m.Have, m.Pieces)
	case m.Peers > 0:
		return fmt.Sprintf("asking %s for the torrent's description", count(m.Peers, "peer"))
	}
	return "no peers yet to ask for the torrent's description: " + describeSources(now, v)
}

// describeSeeding says also what ends the seeding.
func describeSeeding(v *View) string {
	text := "complete, seeding to "
	if v.Progress.Selected > 0 {
		text = "all that is wanted is there, seeding to "
	}
	text += count(len(v.Progress.Peers), "peer")
	var ends []string
	if v.Options.Ratio > 0 {
		ends = append(ends, fmt.Sprintf("ratio %s (%.2f now)", ratio(v.Options.Ratio), shared(v)))
	}
	if v.Options.SeedTime > 0 {
		ends = append(ends, duration(v.Options.SeedTime)+" are over")
	}
	if len(ends) > 0 {
		text += " until " + strings.Join(ends, " or ")
	}
	return text
}

// describeFinished names the goal that was reached, as far as it is known: the
// figures are lost when the surrogate starts anew.
func describeFinished(v *View) string {
	byRatio := fmt.Sprintf("seeded to ratio %s", ratio(v.Options.Ratio))
	byTime := "seeded for " + duration(v.Options.SeedTime)
	switch o := v.Options; {
	case o.Ratio > 0 && (o.SeedTime == 0 || shared(v) >= o.Ratio):
		return "finished: " + byRatio
	case o.SeedTime > 0 && (o.Ratio == 0 || v.Progress.Size > 0):
		return "finished: " + byTime
	case o.Ratio > 0:
		return "finished: " + byRatio + " or for " + duration(o.SeedTime)
	}
	return "finished: seeded as long as was asked"
}

// shared is the share ratio so far: what was sent, by the size of what is wanted.
func shared(v *View) float64 {
	size := v.Size
	if v.Progress.Selected > 0 {
		size = v.Progress.Selected
	}
	return float64(v.Progress.Uploaded) / float64(max(size, 1))
}

// ratio writes 2 as 2.0 and 1.125 as it is.
func ratio(r float64) string {
	if text := fmt.Sprintf("%.3f", r); !strings.HasSuffix(text, "00") {
		return strings.TrimRight(text, "0")
	}
	return fmt.Sprintf("%.1f", r)
}

// duration leaves out the units that are nought at the end: 48h.
func duration(d time.Duration) string {
	text := d.String()
	for _, nought := range []string{"m0s", "h0m"} {
		if strings.HasSuffix(text, nought) {
			text = text[:len(text)-2]
		}
	}
	return text
}

// settling is how long after the joining of a swarm it does not count that no DHT session is shown: it begins later.
const settling = 5 * time.Second

// describeSources says what the job's sources of peers have yielded.
func describeSources(now time.Time, v *View) string {
	if len(v.Tiers) == 0 && v.SwarmStatus.Known == 0 && !v.DHT.Enabled {
		switch {
		case v.Private:
			return "the torrent is private and names no tracker"
		case len(v.Peers) == 0 && now.Sub(v.joined) >= settling:
			return "the magnet or torrent names no tracker and no peer, and this surrogate uses no DHT"
		}
	}
	var parts []string
	if known, reachable := count(v.Known, "address", "es"), v.Reachable; v.Known > 0 {
		switch {
		case reachable > 0:
			parts = append(parts, fmt.Sprintf("%s known, %d of them reachable", known, reachable))
		case v.Known == 1:
			parts = append(parts, known+" known, which has not answered yet")
		default:
			parts = append(parts, known+" known, none has answered yet")
		}
	}
	for _, t := range v.Trackers {
		switch {
		case t.Error != "":
			parts = append(parts, t.Error+again(now, t.Next))
		case t.Next.After(now) && (t.Peers == 0 || v.Known == 0):
			// Peers counts this surrogate too, which Known does not.
			parts = append(parts, fmt.Sprintf("tracker %s knows no other peers%s", t.URL, again(now, t.Next)))
		}
	}
	if text := describeDHT(now, &v.DHT); text != "" {
		parts = append(parts, text)
	}
	switch {
	case len(parts) > 0:
		return strings.Join(parts, "; ")
	case len(v.Tiers) > 0:
		return "the trackers have not answered yet"
	}
	return "looking for peers"
}

func describeDHT(now time.Time, d *DHTStatus) string {
	switch nodes := count(d.Nodes, "node"); {
	case !d.Enabled:
		return ""
	case d.Error != "":
		return "DHT: " + d.Error + again(now, d.Next)
	case d.Nodes == 0:
		return "DHT: no nodes known yet"
	case d.Peers > 0:
		return fmt.Sprintf("DHT: %s known, %s found", nodes, count(d.Peers, "peer"))
	case d.Next.After(now):
		return fmt.Sprintf("DHT: %s known, no peers found%s", nodes, again(now, d.Next))
	default:
		return fmt.Sprintf("DHT: %s known, searching", nodes)
	}
}

func again(now, next time.Time) string {
	if !next.After(now) {
		return ""
	}
	return fmt.Sprintf(" (asked again in %s)", next.Sub(now).Round(time.Second))
}

// count writes a number with its noun, whose plural ends in s unless plural says how.
func count(n int, noun string, plural ...string) string {
	switch {
	case n == 1:
		return "1 " + noun
	case len(plural) > 0:
		return fmt.Sprintf("%d %s%s", n, noun, plural[0])
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

func percent(part, whole int64) int64 {
	if whole <= 0 {
		return 0
	}
	return int64(100 * (float64(min(part, whole)) / float64(whole))) // part*100 could overflow
}
