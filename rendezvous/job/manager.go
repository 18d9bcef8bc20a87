package job

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/base32"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"simplebit/rendezvous/metainfo"
	"simplebit/wire/control"
)

// Config is what a Manager works with. All fields but Log are needed.
type Config struct {
	Store   Store
	Infos   Infos
	Swarms  Swarms
	Devices Devices
	Log     *slog.Logger
}

// Manager holds the jobs. Its methods may be called from any goroutine.
type Manager struct {
	cfg  Config
	ctx  context.Context
	stop context.CancelFunc
	runs sync.WaitGroup

	// books is held while a job is added or dropped: whether a device has the
	// torrent, and whether some job needs the info dictionary, does not change.
	books sync.Mutex

	mu      sync.Mutex
	jobs    map[string]*job              // by id
	devices map[string]map[InfoHash]*job // by device and torrent
}

// Open starts the loops of all stored jobs. They end with Close.
func Open(ctx context.Context, cfg Config) (*Manager, error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	records, err := cfg.Store.All(ctx)
	if err != nil {
		return nil, fmt.Errorf("jobs cannot be read from the store: %w", err)
	}
	m := &Manager{cfg: cfg, jobs: map[string]*job{}, devices: map[string]map[InfoHash]*job{}}
	m.ctx, m.stop = context.WithCancel(context.Background())
	for _, r := range records {
		var t *metainfo.Torrent
		if len(r.Choices) == 0 { // else it was stored and the record was not: the job learns it again
			t = m.stored(ctx, r.InfoHash)
		}
		j := m.launch(r, t)
		if r.Removed && cfg.Devices.Lookup(r.DeviceID).Revoked {
			m.drop(ctx, j)
		}
	}
	return m, nil
}

// stored returns the description of a torrent whose info dictionary is in the
// store, or nil.
func (m *Manager) stored(ctx context.Context, id InfoHash) *metainfo.Torrent {
	info, err := m.cfg.Infos.Get(ctx, id.String())
	if err != nil {
		if !errors.Is(err, ErrNotFound) {
			m.cfg.Log.Error("info dictionary not read: it is fetched again", "torrent", id.String(), "err", err)
		}
		return nil
	}
	t, err := metainfo.ParseInfo(info, id)
	if err != nil {
		m.cfg.Log.Error("stored info dictionary is damaged: it is fetched again", "torrent", id.String(), "err", err)
		return nil
	}
	return t
}

// Close ends all loops and waits for them; each leaves its swarm. The devices go
// on with what they have.
func (m *Manager) Close() {
	m.stop()
	m.runs.Wait()
}

// launch starts a job's loop.
func (m *Manager) launch(r Record, t *metainfo.Torrent) *job {
	j := &job{
		cfg: &m.cfg, log: m.cfg.Log.With("job", r.ID), inbox: make(chan func(), 64),
		ended: make(chan struct{}), rec: r, info: summarise(t, r.Options.Files),
	}
	j.ctx, j.end = context.WithCancel(m.ctx)
	j.update()
	m.enter(j)
	m.runs.Go(j.run)
	return j
}

// newID makes a job's id: 40 random bits in base32.
func newID() string {
	var b [5]byte
	rand.Read(b[:])
	return strings.ToLower(base32.StdEncoding.EncodeToString(b[:]))
}

// enter makes a job known.
func (m *Manager) enter(j *job) {
	v := j.view.Load()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.jobs[v.ID] = j
	if m.devices[v.DeviceID] == nil {
		m.devices[v.DeviceID] = map[InfoHash]*job{}
	}
	m.devices[v.DeviceID][v.InfoHash] = j
}

// leave forgets a job.
func (m *Manager) leave(j *job) {
	v := j.view.Load()
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.jobs, v.ID)
	delete(m.devices[v.DeviceID], v.InfoHash)
}

func (m *Manager) all() []*job {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Collect(maps.Values(m.jobs))
}

// on returns the jobs of a device.
func (m *Manager) on(device string) []*job {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Collect(maps.Values(m.devices[device]))
}

// with returns the jobs of a torrent.
func (m *Manager) with(id InfoHash) []*job {
	return slices.DeleteFunc(m.all(), func(j *job) bool { return j.view.Load().InfoHash != id })
}

// of returns the job of a torrent on a device, or nil.
func (m *Manager) of(device control.DeviceID, id [20]byte) *job {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.devices[string(device)][id]
}

// List returns all jobs, oldest first.
func (m *Manager) List() []View {
	now := time.Now()
	var views []View
	for _, j := range m.all() {
		views = append(views, j.current(now))
	}
	slices.SortFunc(views, func(a, b View) int {
		return cmp.Or(a.Added.Compare(b.Added), cmp.Compare(a.ID, b.ID))
	})
	return views
}

// Get returns one job by its whole id, or ErrNotFound.
func (m *Manager) Get(id string) (View, error) {
	j, err := m.find(id)
	if err != nil {
		return View{}, err
	}
	return j.current(time.Now()), nil
}

func (m *Manager) find(id string) (*job, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if j := m.jobs[id]; j != nil {
		return j, nil
	}
	return nil, errorf(ErrNotFound, fmt.Sprintf("there is no job %q: `simplebit ls` shows them", id))
}

// Pause stops a job until it is resumed. Pausing twice is no error.
func (m *Manager) Pause(ctx context.Context, id string) (View, error) {
	return m.alter(ctx, id, (*job).pause)
}

// Resume lets a job go on, also after an error.
func (m *Manager) Resume(ctx context.Context, id string) (View, error) {
	return m.alter(ctx, id, (*job).resume)
}

// Verify has the device hash all that it holds of the torrent; it resumes the job.
func (m *Manager) Verify(ctx context.Context, id string) (View, error) {
	return m.alter(ctx, id, (*job).verify)
}

// Remove drops a job. The record stays until the device has dropped the
// torrent, with deleteData also its files. Removing again has the device try again.
func (m *Manager) Remove(ctx context.Context, id string, deleteData bool) error {
	v, err := m.run(ctx, id, func(j *job, ctx context.Context) error { return j.remove(ctx, deleteData) })
	if err != nil {
		return err
	}
	if v.On.Revoked {
		m.Revoked(ctx, v.DeviceID) // it never drops the torrent
	}
	return nil
}

// alter changes a job that is not being removed.
func (m *Manager) alter(ctx context.Context, id string, f func(*job, context.Context) error) (View, error) {
	return m.run(ctx, id, func(j *job, ctx context.Context) error {
		if j.rec.Removed {
			return errorf(ErrConflict, fmt.Sprintf("job %s is being removed", id))
		}
		return f(j, ctx)
	})
}

// run runs f on a job's loop.
func (m *Manager) run(ctx context.Context, id string, f func(*job, context.Context) error) (View, error) {
	j, err := m.find(id)
	if err != nil {
		return View{}, err
	}
	if err := j.do(ctx, func() error { return f(j, ctx) }); err != nil {
		return View{}, err
	}
	return j.current(time.Now()), nil
}
