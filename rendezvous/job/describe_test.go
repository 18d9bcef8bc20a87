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
		for _, t := range v.Trackers {
			v.Tiers = append(v.Tiers, []string{t.URL})
		}
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
		{view(func(v *View) {
			v.hasInfo, v.Trackers = false, []TrackerStatus{{URL: "http://t"}}
		}), StateMetadata, ": the trackers have not answered yet"},
		{view(func(v *View) { v.hasInfo, v.Tiers = false, [][]string{{"http://t"}} }), StateMetadata, ": the trackers have not answered yet"},
		{view(func(v *View) { v.hasInfo, v.Record.Peers = false, []string{"192.0.2.1:1"} }), StateMetadata, ": looking for peers"},
		{view(func(v *View) { v.hasInfo, v.joined = false, now.Add(-settling+1) }), StateMetadata, ": looking for peers"},
		{view(func(v *View) { v.hasInfo, v.joined = false, now.Add(-settling) }), StateMetadata, "this surrogate uses no DHT"},
		{view(func(v *View) {
			v.Progress.State, v.Private, v.Tiers = control.StateDownloading, true, [][]string{{"http://t"}}
		}), StateDownloading,
			"no peers connected: the trackers have not answered yet"},
		{view(func(v *View) { v.hasInfo, v.Metadata = false, MetadataStatus{Peers: 2, Pieces: 5, Have: 1} }), StateMetadata, "from 2 peers: 1 of 5"},
		{view(func(v *View) { v.On.Online = false }), StateWaiting, "attic: it is offline"},
		{view(func(v *View) { v.Progress.Generation = 2 }), StateWaiting, "to take the job"},
		{view(func(v *View) { v.Progress.State = control.StateLayout }), StateWaiting, "sending the file list"},
		{view(func(v *View) { v.Progress.State, v.Progress.Checked = control.StateChecking, 50 }), StateChecking, "25 %"},
		{view(func(v *View) { v.Progress.State, v.Known = control.StateDownloading, 7 }), StateDownloading, "no peers connected: 7 addresses known"},
		{view(func(v *View) { v.Progress.State, v.Progress.Peers = control.StateDownloading, make([]control.Peer, 1) }), StateDownloading, "from 1 peer"},
		{view(func(v *View) { v.Progress.State, v.Known, v.Reachable = control.StateDownloading, 7, 2 }), StateDownloading,
			"no peers connected: 7 addresses known, 2 of them reachable"},
		{view(func(v *View) { v.Progress.State, v.Private = control.StateDownloading, true }), StateDownloading, "the torrent is private and names no tracker"},
		{view(func(v *View) { v.hasInfo, v.DHT = false, DHTStatus{Enabled: true} }), StateMetadata,
			"no peers yet to ask for the torrent's description: DHT: no nodes known yet"},
		{view(func(v *View) { v.hasInfo, v.DHT = false, DHTStatus{Enabled: true, Nodes: 1} }), StateMetadata, "DHT: 1 node known, searching"},
		{view(func(v *View) {
			v.hasInfo, v.DHT = false, DHTStatus{Enabled: true, Nodes: 143, Next: now.Add(4 * time.Minute)}
		}), StateMetadata, "DHT: 143 nodes known, no peers found (asked again in 4m0s)"},
		{view(func(v *View) {
			v.hasInfo, v.Known, v.DHT = false, 51, DHTStatus{Enabled: true, Nodes: 143, Peers: 51, Next: now.Add(time.Minute)}
		}), StateMetadata, ": 51 addresses known, none has answered yet; DHT: 143 nodes known, 51 peers found"},
		{view(func(v *View) {
			v.hasInfo, v.Trackers, v.DHT = false, []TrackerStatus{{URL: "http://t", Error: "tracker t: refused"}}, DHTStatus{Enabled: true, Error: "no route"}
		}), StateMetadata, "tracker t: refused; DHT: no route"},
		{view(func(v *View) { v.Progress.State = control.StateSeeding }), StateSeeding, "complete, seeding to 0 peers"},
		{view(func(v *View) {
			v.Progress.State, v.Progress.Selected, v.Progress.Uploaded = control.StateSeeding, 50, 60
			v.Options.Ratio, v.Options.SeedTime, v.Progress.Peers = 1.25, 48*time.Hour, make([]control.Peer, 1)
		}), StateSeeding, "all that is wanted is there, seeding to 1 peer until ratio 1.25 (1.20 now) or 48h are over"},
		{view(func(v *View) {
			v.Finished, v.Options.Ratio, v.On.Online = 3, 2, false
		}), StateFinished, "finished: seeded to ratio 2.0"},
		{view(func(v *View) { v.Finished, v.Options.SeedTime = 3, 90*time.Minute }), StateFinished, "finished: seeded for 1h30m"},
		{view(func(v *View) {
			v.Finished, v.Options.Ratio, v.Options.SeedTime, v.Progress.Size, v.Progress.Uploaded = 3, 2, time.Hour, 200, 399
		}), StateFinished, "finished: seeded for 1h"},
		{view(func(v *View) {
			v.Finished, v.Options.Ratio, v.Options.SeedTime, v.Progress.Size, v.Progress.Uploaded = 3, 2, time.Hour, 200, 400
		}), StateFinished, "finished: seeded to ratio 2.0"},
		{view(func(v *View) { v.Finished, v.Options.Ratio, v.Options.SeedTime = 3, 2, time.Hour }), StateFinished,
			"finished: seeded to ratio 2.0 or for 1h"},
		{view(func(v *View) { v.Finished = 3 }), StateFinished, "finished: seeded as long as was asked"},
		{view(func(v *View) { v.Finished, v.Paused = 3, true }), StatePaused, "paused"},
		{view(func(v *View) { v.Finished = 2 }), StateWaiting, "is starting the job"},
		{view(func(v *View) { v.Progress.State, v.Progress.Error = control.StateFailed, "layout damaged" }), StateFailed, "layout damaged"},
	} {
		state, text := describe(now, c.view)
		if state != c.state || !strings.Contains(text, c.text) {
			t.Errorf("got %s %q, want %s with %q", state, text, c.state, c.text)
		}
	}
}
