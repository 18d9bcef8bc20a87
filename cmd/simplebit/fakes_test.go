package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"simplebit/rendezvous/api"
	"simplebit/rendezvous/apiclient"
)

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// surrogate stands in for jobs, devices and invites behind a real api.New.
type surrogate struct {
	mu      sync.Mutex
	jobs    []apiclient.Job
	next    map[string][]apiclient.Job // what Get answers one after the other; the last stays
	devices []apiclient.Device
	torrent []byte   // the last one added
	asked   []string // options and choices, as JSON
	looked  func()   // is called when a job is got, unless nil
}

func newSurrogate() *surrogate {
	peers := []apiclient.Peer{
		{Addr: "198.18.1.2:51413", Client: "Transmission 3.00", Transport: "tcp", Path: "dialled", Down: 4 << 20, Up: 0},
		{Addr: "[2001:db8::7]:6881", Client: "qBittorrent\x1b[31m 4.5.2", Transport: "utp", Path: "punched", Down: 1 << 20, Up: 120 << 10},
		{Addr: "198.18.3.2:6881", Client: "", Transport: "tcp", Path: "accepted"},
	}
	loading := apiclient.Job{
		ID: "k3jx7m2q", InfoHash: "cab507494d02ebb1178b38f2e9d7be299c86b862", Name: "debian-13.2.0-amd64-netinst.iso", Target: "device:attic",
		TargetOnline: true, State: apiclient.StateDownloading, Message: "downloading from 3 peers", Size: 100 << 20, Have: 12_900_000,
		Downloaded: 13_000_000, Uploaded: 4096, DownRate: 5_350_000, UpRate: 120 << 10, Added: noon.Add(-time.Hour), Peers: peers,
		Options: apiclient.Options{Down: 2 << 20, Sequential: true, Ratio: 2, SeedTime: 48 * 3600}, Known: 117, Reachable: 12,
		DHT: apiclient.DHT{Enabled: true, Nodes: 143, Peers: 51, Next: noon.Add(4 * time.Minute)},
		Trackers: []apiclient.Tracker{
			{URL: "http://tracker.example:6969/announce", Seeders: 12, Leechers: 3, Downloads: 4711, Warning: "your client is\nold", Next: noon.Add(29*time.Minute + 10*time.Second)},
			{URL: "http://down.example/announce", Error: "dial tcp 203.0.113.9:80: connect: connection refused"},
		},
	}
	done := loading
	done.State, done.Have, done.DownRate, done.Message = apiclient.StateSeeding, done.Size, 0, "complete; sharing"
	waiting := apiclient.Job{ID: "k4aaaaaa", InfoHash: "0000000000000000000000000000000000000001", Target: "device:cellar", State: apiclient.StateMetadata,
		Message: "waiting for a peer that has the metadata; the trackers know none", Added: noon,
		Choices: []apiclient.Choice{{Priority: apiclient.PrioritySkip, Patterns: []string{"*"}}, {Priority: apiclient.PriorityNormal, Patterns: []string{"*.flac", "scans\x1b[2J"}}}}
	full := apiclient.Job{ID: "zzzzzzzz", InfoHash: "0000000000000000000000000000000000000002", Name: "café\x1b[2J 映画", Target: "device:attic", TargetOnline: true,
		State: apiclient.StatePaused, Size: 3 << 30, Have: 1 << 30, Added: noon, Private: true, Message: "paused by an error",
		Error: "disk full: writing café.part: 12345 bytes free in /srv; free some space and resume"}
	broken := full
	broken.ID, broken.Name, broken.State, broken.Error = "yyyyyyyy", "broken", apiclient.StateFailed, "the torrent has no pieces"
	finished := done
	finished.ID, finished.Name, finished.State, finished.Message = "ffffffff", "album", apiclient.StateFinished, "finished: seeded to ratio 2.0"
	finished.Selected, finished.SelectedHave, finished.Have = 40<<20, 40<<20, 41<<20
	finished.Peers, finished.Trackers, finished.DHT, finished.Known, finished.Reachable, finished.UpRate = nil, nil, apiclient.DHT{}, 0, 0, 0
	return &surrogate{
		jobs: []apiclient.Job{loading, waiting, full, broken, finished},
		next: map[string][]apiclient.Job{"k3jx7m2q": {loading, done}},
		devices: []apiclient.Device{
			{ID: "abcdefghijklmnopqrstuvwxyz234567abcdefghijklmnopqrst", Name: "attic", Online: true, Addr: "198.18.9.9:40001", Software: "simplebit 0.1", Created: noon},
			{ID: "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb", Name: "old", Revoked: true, Created: noon},
		},
	}
}

// networked are devices in networks of every kind, one of which would like to write on the terminal.
func networked() []apiclient.Device {
	router := apiclient.Network{
		Summary: "behind a home router that allows direct connections", Checked: noon.Add(-5 * time.Minute), Public: "no",
		Mapping: "endpoint-independent", Filtering: "address and port-dependent", PortPreserved: "yes", Hairpin: "no", Lifetime: 60,
		Double: "no", Reachable: "no",
		Candidates: []apiclient.Candidate{
			{Kind: "host", Addr: "192.168.1.7:6882", TCP: true}, {Kind: "host", Addr: "[2001:db8::7]:6882", TCP: true},
			{Kind: "mapped", Addr: "203.0.113.7:6882", TCP: true}, {Kind: "reflexive", Addr: "203.0.113.7:40112"},
		},
	}
	unknown := apiclient.Network{Checked: noon, Public: "unknown", Mapping: "unknown", Filtering: "unknown", PortPreserved: "unknown",
		Hairpin: "unknown", Double: "unknown", Reachable: "unknown", Summary: "on a network that shows too little to tell"}
	var all []apiclient.Device
	device := func(name string, n apiclient.Network, change func(*apiclient.Network)) {
		change(&n)
		all = append(all, apiclient.Device{ID: name + "234567", Name: name, Online: true, Addr: "203.0.113.7:40112", Control: "quic",
			Software: "edgeagent 0.1", Created: noon, Network: &n})
	}
	device("router", router, func(*apiclient.Network) {})
	device("mapped", router, func(n *apiclient.Network) { n.Reachable = "yes" })
	device("cone", router, func(n *apiclient.Network) { n.Filtering, n.Reachable = "endpoint-independent", "unknown" })
	device("carrier", router, func(n *apiclient.Network) {
		n.Double, n.Candidates = "yes", n.Candidates[:1]
		n.Summary = "behind two or more routers in a row that allow direct connections"
	})
	device("strict", router, func(n *apiclient.Network) {
		n.Mapping, n.PortPreserved = "address and port-dependent", "no"
		n.Summary = "behind a home router that uses another port for everyone: direct connections are hard"
	})
	device("inturn", router, func(n *apiclient.Network) {
		n.Mapping, n.PortPreserved, n.PortStep, n.Lifetime = "address and port-dependent", "no", -2, 1<<62
		n.Summary = "behind a home router that changes ports in a foreseeable way: most direct connections work"
	})
	device("server", router, func(n *apiclient.Network) { n.Public, n.Filtering, n.Reachable = "yes", "endpoint-independent", "yes" })
	device("office", router, func(n *apiclient.Network) { n.Public = "yes" })
	device("mall", unknown, func(n *apiclient.Network) {
		n.Blocked, n.Candidates = true, router.Candidates[:1]
		n.Summary = "on a network that lets no UDP through, which most direct connections need"
	})
	all[len(all)-1].Control = "tcp"
	device("lost", unknown, func(n *apiclient.Network) { n.Checked = noon.Add(time.Hour) })
	device("liar", unknown, func(n *apiclient.Network) {
		n.Summary, n.Mapping, n.Public = "\x1b[2Jnice\nweather", "\x1b[31m", "\u202e"
		n.Candidates = []apiclient.Candidate{{Kind: "\x07", Addr: "\x1b]0;x"}}
	})
	away := all[0]
	away.ID, away.Name, away.Online, away.Addr, away.Control, away.Software = "away", "away", false, "", "", ""
	return append(all, away, apiclient.Device{ID: "hotel", Name: "hotel", Online: true, Addr: "203.0.113.9:1", Control: "tcp", Software: "edgeagent 0.1", Created: noon}, apiclient.Device{ID: "elder", Name: "elder", Online: true, Addr: "203.0.113.8:1", Software: "edgeagent 0.0", Created: noon},
		apiclient.Device{ID: "gone", Name: "gone", Created: noon})
}

type jobs struct{ *surrogate }

func (s jobs) Add(_ context.Context, wish apiclient.NewJob) (apiclient.Job, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.torrent = wish.Torrent
	if wish.Options != nil || wish.Choices != nil {
		s.note(wish.Options, wish.Choices)
	}
	if wish.Target == "device:nobody" {
		return apiclient.Job{}, fmt.Errorf("there is no device named nobody; `simplebit devices` lists them: %w", api.ErrInvalid)
	}
	if wish.Magnet == "magnet:?xt=urn:btih:short" {
		return apiclient.Job{}, fmt.Errorf("the magnet link's info-hash \"short\" has 5 characters, not 40 or 32: %w", api.ErrInvalid)
	}
	job := s.jobs[0]
	job.State, job.Message, job.Peers, job.Trackers, job.Size = apiclient.StateMetadata, "asking 2 trackers for peers", nil, nil, 0
	return job, nil
}

func (s jobs) List(context.Context) ([]apiclient.Job, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.jobs), nil
}

func (s jobs) change(id string, state apiclient.State) (apiclient.Job, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.jobs {
		if s.jobs[i].ID == id {
			if state != "" {
				s.jobs[i].State, s.jobs[i].Error, s.jobs[i].Message = state, "", "as you wished"
			}
			return s.jobs[i], nil
		}
	}
	return apiclient.Job{}, fmt.Errorf("there is no job %q: %w", id, api.ErrNotFound)
}

func (s jobs) Get(_ context.Context, id string) (apiclient.Job, error) {
	if s.looked != nil {
		s.looked()
	}
	s.mu.Lock()
	if script := s.next[id]; len(script) > 0 {
		defer s.mu.Unlock()
		if len(script) > 1 {
			s.next[id] = script[1:]
		}
		return script[0], nil
	}
	s.mu.Unlock()
	return s.change(id, "")
}

func (s jobs) Pause(_ context.Context, id string) (apiclient.Job, error) {
	return s.change(id, apiclient.StatePaused)
}

func (s jobs) Resume(_ context.Context, id string) (apiclient.Job, error) {
	return s.change(id, apiclient.StateDownloading)
}

func (s jobs) Verify(_ context.Context, id string) (apiclient.Job, error) {
	return s.change(id, apiclient.StateChecking)
}

func (s jobs) Remove(_ context.Context, id string, _ bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.jobs = slices.DeleteFunc(s.jobs, func(j apiclient.Job) bool { return j.ID == id })
	return nil
}

// note keeps what was asked, for the test.
func (s jobs) note(asked ...any) {
	for _, a := range asked {
		text, _ := json.Marshal(a)
		s.asked = append(s.asked, string(text))
	}
}

func (s jobs) SetOptions(_ context.Context, id string, c apiclient.OptionsChange) (apiclient.Job, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.note(c)
	i := slices.IndexFunc(s.jobs, func(j apiclient.Job) bool { return j.ID == id })
	o := &s.jobs[i].Options
	if c.Down != nil && *c.Down > 0 && *c.Down < 1024 {
		return apiclient.Job{}, fmt.Errorf("the limit down is %d bytes per second: want 1024 to 1099511627776, or 0 for none: %w", *c.Down, api.ErrInvalid)
	}
	for _, number := range []struct{ to, from *int64 }{{&o.Down, c.Down}, {&o.Up, c.Up}, {&o.SeedTime, c.SeedTime}} {
		if number.from != nil {
			*number.to = *number.from
		}
	}
	if c.MaxPeers != nil {
		o.MaxPeers = *c.MaxPeers
	}
	if c.Sequential != nil {
		o.Sequential = *c.Sequential
	}
	if c.Ratio != nil {
		o.Ratio = *c.Ratio
	}
	return s.jobs[i], nil
}

func (s jobs) Files(_ context.Context, id string) ([]apiclient.File, error) {
	if strings.HasPrefix(id, "k4") {
		return nil, fmt.Errorf("the torrent's files are not known yet: its description is still being fetched: %w", api.ErrConflict)
	}
	return []apiclient.File{
		{Index: 0, Path: "album/01 one.flac", Size: 30 << 20, Priority: apiclient.PriorityHigh},
		{Index: 1, Path: "album/02 映画\x1b[2J.flac", Size: 10 << 20, Priority: apiclient.PriorityNormal},
		{Index: 2, Path: "album/scans/booklet.pdf", Size: 60 << 20, Priority: apiclient.PrioritySkip},
	}, nil
}

func (s jobs) ChooseFiles(_ context.Context, id string, choices []apiclient.Choice) (apiclient.Job, error) {
	s.mu.Lock()
	s.note(choices)
	s.mu.Unlock()
	if slices.Contains(choices[0].Patterns, "*.mkv") {
		return apiclient.Job{}, fmt.Errorf("no file of the torrent matches \"*.mkv\": %w", api.ErrInvalid)
	}
	return s.change(id, "")
}

type devices struct{ *surrogate }

func (s devices) List(context.Context) ([]apiclient.Device, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.devices), nil
}

func (s devices) Get(_ context.Context, name string) (apiclient.Device, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, d := range s.devices {
		if d.Name == name || d.ID == name {
			return d, nil
		}
	}
	return apiclient.Device{}, fmt.Errorf("there is no device %q: %w", name, api.ErrNotFound)
}

func (s devices) Rename(_ context.Context, name, to string) (apiclient.Device, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if to == "old" {
		return apiclient.Device{}, fmt.Errorf("another device is called old: %w", api.ErrConflict)
	}
	for i := range s.devices {
		if s.devices[i].Name == name {
			s.devices[i].Name = to
			return s.devices[i], nil
		}
	}
	return apiclient.Device{}, fmt.Errorf("there is no device %q: %w", name, api.ErrNotFound)
}

func (s devices) Revoke(ctx context.Context, name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.devices {
		if s.devices[i].Name == name {
			s.devices[i].Revoked, s.devices[i].Online = true, false
			return nil
		}
	}
	return fmt.Errorf("there is no device %q: %w", name, api.ErrNotFound)
}

type invites struct{}

func (invites) Invite(context.Context) (apiclient.Invite, error) {
	return apiclient.Invite{URL: "simplebit://198.18.0.1:4433/?pin=cGlu&token=a.b", Expires: noon.Add(15 * time.Minute)}, nil
}
