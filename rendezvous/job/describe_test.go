package job

import (
	"strings"
	"testing"
	"time"

	"simplebit/wire/control"
)

func TestAJobSaysWhatItDoesOrWaitsFor(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	view := func(change func(*View)) *View {
		v := &View{On: Device{Name: "attic", Online: true}, hasInfo: true, Size: 200}
		v.Generation, v.Progress.Generation = 3, 3
		change(v)
		return v
	}
	for _, c := range []struct {
		view  *View
		state State
		text  string
	}{
		{view(func(v *View) { v.Removed, v.On.Online = true, false }), StateRemoving, "waiting for device attic to come online"},
		{view(func(v *View) { v.Removed = true }), StateRemoving, "attic is dropping the torrent"},
		{view(func(v *View) {
			v.Removed, v.Progress.State, v.Progress.Error = true, control.StateFailed, "unlink /d: permission denied"
		}), StateRemoving, "cannot drop the torrent: unlink /d: permission denied"},
		{view(func(v *View) {}), StateWaiting, "attic is starting the job"},
		{view(func(v *View) { v.Size, v.Progress.State, v.Progress.Checked = 1<<60, control.StateChecking, 1<<60 }), StateChecking, "100 %"},
		{view(func(v *View) { v.Size, v.Progress.State, v.Progress.Checked = 0, control.StateChecking, 5 }), StateChecking, "0 %"},
		{view(func(v *View) { v.On.Revoked = true }), StateFailed, "attic was revoked"},
		{view(func(v *View) { v.Paused = true }), StatePaused, "paused"},
		{view(func(v *View) { v.Paused, v.Fault = true, "disk full" }), StatePaused, "disk full"},
		{view(func(v *View) { v.hasInfo = false }), StateMetadata, "no tracker and no peer"},
		{view(func(v *View) {
			v.hasInfo, v.Trackers = false, []TrackerStatus{{URL: "http://t", Error: "tracker t: refused", Next: now.Add(time.Minute)}}
		}),
			StateMetadata, "tracker t: refused (asked again in 1m0s)"},
		{view(func(v *View) {
			v.hasInfo, v.Trackers = false, []TrackerStatus{{URL: "http://t", Next: now.Add(time.Minute)}}
		}),
			StateMetadata, "knows no other peers"},
		{view(func(v *View) {
			v.hasInfo, v.Trackers = false, []TrackerStatus{{URL: "http://t", Next: now.Add(time.Minute), Peers: 1}}
		}),
			StateMetadata, "http://t knows no other peers (asked again in 1m0s)"},
		{view(func(v *View) {
			v.hasInfo, v.Known, v.Trackers = false, 1, []TrackerStatus{{URL: "http://t", Next: now.Add(time.Minute), Peers: 2}}
		}),
			StateMetadata, "1 address known, which has not answered yet"},
		{view(func(v *View) { v.hasInfo, v.Trackers = false, []TrackerStatus{{URL: "http://t"}} }), StateMetadata, "not answered yet"},
		{view(func(v *View) { v.hasInfo, v.Metadata = false, MetadataStatus{Peers: 2, Pieces: 5, Have: 1} }), StateMetadata, "from 2 peers: 1 of 5"},
		{view(func(v *View) { v.On.Online = false }), StateWaiting, "attic: it is offline"},
		{view(func(v *View) { v.Progress.Generation = 2 }), StateWaiting, "to take the job"},
		{view(func(v *View) { v.Progress.State = control.StateLayout }), StateWaiting, "sending the file list"},
		{view(func(v *View) { v.Progress.State, v.Progress.Checked = control.StateChecking, 50 }), StateChecking, "25 %"},
		{view(func(v *View) { v.Progress.State, v.Known = control.StateDownloading, 7 }), StateDownloading, "no peers connected: 7 addresses known"},
		{view(func(v *View) { v.Progress.State, v.Progress.Peers = control.StateDownloading, make([]control.Peer, 1) }), StateDownloading, "from 1 peer"},
		{view(func(v *View) { v.Progress.State = control.StateSeeding }), StateSeeding, "complete"},
		{view(func(v *View) { v.Progress.State, v.Progress.Error = control.StateFailed, "layout damaged" }), StateFailed, "layout damaged"},
	} {
		state, text := describe(now, c.view)
		if state != c.state || !strings.Contains(text, c.text) {
			t.Errorf("got %s %q, want %s with %q", state, text, c.state, c.text)
		}
	}
}
