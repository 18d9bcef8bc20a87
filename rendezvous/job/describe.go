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
		return StateSeeding, fmt.Sprintf("complete, seeding to %s", peers(len(v.Progress.Peers)))
	case control.StateFailed:
		return StateFailed, v.Progress.Error
	case control.StatePaused, 0:
		return StateWaiting, fmt.Sprintf("device %s is starting the job", v.On.Name)
	}
	if n := len(v.Progress.Peers); n > 0 {
		return StateDownloading, "downloading from " + peers(n)
	}
	return StateDownloading, "no peers connected: " + describeSources(now, v)
}

func describeMetadata(now time.Time, v *View) string {
	switch m := v.Metadata; {
	case m.Pieces > 0:
		return fmt.Sprintf("fetching the torrent's description from %s: %d of %d pieces", peers(m.Peers), m.Have, m.Pieces)
	case m.Peers > 0:
		return fmt.Sprintf("asking %s for the torrent's description", peers(m.Peers))
	}
	return "no peers yet to ask for the torrent's description: " + describeSources(now, v)
}

// describeSources says what the job's sources of peers have yielded.
func describeSources(now time.Time, v *View) string {
	if len(v.Trackers) == 0 && v.Known == 0 {
		return "the magnet or torrent names no tracker and no peer"
	}
	var parts []string
	switch v.Known {
	case 0:
	case 1:
		parts = append(parts, "1 address known, which has not answered yet")
	default:
		parts = append(parts, fmt.Sprintf("%d addresses known, none has answered yet", v.Known))
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
	if len(parts) == 0 {
		return "the trackers have not answered yet"
	}
	return strings.Join(parts, "; ")
}

func again(now, next time.Time) string {
	if !next.After(now) {
		return ""
	}
	return fmt.Sprintf(" (asked again in %s)", next.Sub(now).Round(time.Second))
}

func peers(n int) string {
	if n == 1 {
		return "1 peer"
	}
	return fmt.Sprintf("%d peers", n)
}

func percent(part, whole int64) int64 {
	if whole <= 0 {
		return 0
	}
	return int64(100 * (float64(min(part, whole)) / float64(whole))) // part*100 could overflow
}
