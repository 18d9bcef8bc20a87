package api_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"simplebit/rendezvous/api"
	"simplebit/rendezvous/apiclient"
)

var day = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// backend is Jobs, Devices and Invites at once, in memory, with a record of what
// was asked of it.
type backend struct {
	mu      sync.Mutex
	jobs    map[string]apiclient.Job
	asked   []string
	fail    error // returned by every call when set
	torrent []byte
	known   []apiclient.Device
}

func newBackend() *backend {
	return &backend{jobs: map[string]apiclient.Job{
		"aaaaaaaa": {ID: "aaaaaaaa", Name: "debian.iso", Target: "device:attic", State: apiclient.StateDownloading, Added: day},
	}}
}

func (b *backend) note(format string, args ...any) error {
	b.asked = append(b.asked, fmt.Sprintf(format, args...))
	return b.fail
}

type jobs struct{ *backend }

func (b jobs) Add(_ context.Context, n apiclient.NewJob) (apiclient.Job, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.torrent = n.Torrent
	if n.Target == "device:nobody" {
		return apiclient.Job{}, fmt.Errorf("there is no device named nobody: %w", api.ErrInvalid)
	}
	wish := "add " + n.Magnet + " " + n.Target
	if n.Options != nil {
		wish += " " + show(n.Options)
	}
	if n.Choices != nil {
		wish += " " + show(n.Choices)
	}
	return apiclient.Job{ID: "bbbbbbbb", Target: n.Target, State: apiclient.StateMetadata, Added: day}, b.note("%s", wish)
}

func (b jobs) List(context.Context) ([]apiclient.Job, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	var all []apiclient.Job
	for _, j := range b.jobs {
		all = append(all, j)
	}
	return all, b.note("list")
}

func (b jobs) order(what, id string, state apiclient.State) (apiclient.Job, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.note("%s %s", what, id); err != nil {
		return apiclient.Job{}, err
	}
	j, ok := b.jobs[id]
	if !ok {
		return apiclient.Job{}, fmt.Errorf("there is no job %q: %w", id, api.ErrNotFound)
	}
	if state != "" {
		j.State = state
	}
	return j, nil
}

func (b jobs) Get(_ context.Context, id string) (apiclient.Job, error) {
	return b.order("get", id, "")
}

func (b jobs) Pause(_ context.Context, id string) (apiclient.Job, error) {
	return b.order("pause", id, apiclient.StatePaused)
}

func (b jobs) Resume(_ context.Context, id string) (apiclient.Job, error) {
	return b.order("resume", id, apiclient.StateDownloading)
}

func (b jobs) Verify(_ context.Context, id string) (apiclient.Job, error) {
	return b.order("verify", id, apiclient.StateChecking)
}

func (b jobs) Remove(_ context.Context, id string, data bool) error {
	_, err := b.order(fmt.Sprintf("remove data=%v", data), id, "")
	return err
}

func (b jobs) SetOptions(_ context.Context, id string, c apiclient.OptionsChange) (apiclient.Job, error) {
	return b.order("set "+show(c), id, "")
}

func (b jobs) Files(_ context.Context, id string) ([]apiclient.File, error) {
	if _, err := b.order("files", id, ""); err != nil {
		return nil, err
	}
	return []apiclient.File{{Path: "a/b", Size: 5, Priority: apiclient.PrioritySkip}}, nil
}

func (b jobs) ChooseFiles(_ context.Context, id string, choices []apiclient.Choice) (apiclient.Job, error) {
	return b.order("choose "+show(choices), id, "")
}

// show writes what was asked as the JSON that asks it.
func show(v any) string {
	text, _ := json.Marshal(v)
	return string(text)
}

type devices struct{ *backend }

func (b devices) List(context.Context) ([]apiclient.Device, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.known, b.note("devices")
}

func (b devices) Get(_ context.Context, name string) (apiclient.Device, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, d := range b.known {
		if d.Name == name {
			return d, b.note("device %s", name)
		}
	}
	return apiclient.Device{}, fmt.Errorf("there is no device %q: %w", name, api.ErrNotFound)
}

func (b devices) Rename(_ context.Context, name, to string) (apiclient.Device, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if to == "taken" {
		return apiclient.Device{}, fmt.Errorf("another device is called taken: %w", api.ErrConflict)
	}
	return apiclient.Device{ID: "id", Name: to, Created: day}, b.note("rename %s %s", name, to)
}

func (b devices) Revoke(_ context.Context, name string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.note("revoke %s", name)
}

type invites struct{ *backend }

func (b invites) Invite(context.Context) (apiclient.Invite, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return apiclient.Invite{URL: "simplebit://198.18.0.1:4433/?pin=p&token=t", Expires: day.Add(15 * time.Minute)}, b.note("invite")
}

var errDisk = errors.New("store: disk I/O error at secret place")
