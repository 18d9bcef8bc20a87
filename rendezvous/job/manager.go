package job

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/base32"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"simplebit/rendezvous/metainfo"
	"simplebit/wire/control"
)

// Config is what a Manager works with. All fields but Log are needed.
type Config struct {
	Store    Store
	Infos    Infos
	Metadata Metadata
	Trackers Trackers
	Devices  Devices
	// Dialable tells whether an address that a stranger named may be contacted.
	Dialable func(netip.AddrPort) bool
	Log      *slog.Logger
}

// Manager holds the jobs. Its methods may be called from any goroutine.
type Manager struct {
	cfg  Config
	ctx  context.Context
	stop context.CancelFunc
	runs sync.WaitGroup

	mu   sync.Mutex
	jobs map[string]*job
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
	m := &Manager{cfg: cfg, jobs: map[string]*job{}}
	m.ctx, m.stop = context.WithCancel(context.Background())
	for _, r := range records {
		var t *metainfo.Torrent
		if info, err := cfg.Infos.Get(ctx, r.InfoHash.String()); err == nil {
			if t, err = metainfo.ParseInfo(info, r.InfoHash); err != nil {
				cfg.Log.Error("stored info dictionary is damaged: it is fetched again", "job", r.ID, "err", err)
			}
		}
		m.launch(r, t)
	}
	return m, nil
}

// Close ends all loops and waits for them. The devices go on with what they have.
func (m *Manager) Close() {
	m.stop()
	m.runs.Wait()
}

// launch starts a job's loop.
func (m *Manager) launch(r Record, t *metainfo.Torrent) *job {
	j := &job{
		cfg: &m.cfg, log: m.cfg.Log.With("job", r.ID), inbox: make(chan func(), 64),
		rec: r, torrent: t, known: map[netip.AddrPort]bool{},
	}
	j.ctx, j.end = context.WithCancel(m.ctx)
	j.publish() // before update starts others that look at the view
	j.update()
	m.mu.Lock()
	m.jobs[r.ID] = j
	m.mu.Unlock()
	m.runs.Go(j.run)
	return j
}

// New is a wish for a new job: a magnet, or a .torrent file's bytes.
type New struct {
	Magnet  string
	Torrent []byte
	Target  string // "device:NAME" or "device:ID"
}

// Add stores a job and starts it. Its errors wrap ErrInvalid, ErrNotFound (no
// such device) or ErrConflict (the device has the torrent already).
func (m *Manager) Add(ctx context.Context, n New) (View, error) {
	name, ok := strings.CutPrefix(n.Target, "device:")
	if !ok {
		return View{}, errorf(ErrInvalid, fmt.Sprintf("target %q: want device:NAME", n.Target))
	}
	device, err := m.cfg.Devices.Resolve(ctx, name)
	if err != nil {
		return View{}, err
	}
	if device.Revoked {
		return View{}, errorf(ErrConflict, fmt.Sprintf("device %s was revoked: choose another", device.Name))
	}
	r := Record{ID: newID(), DeviceID: device.ID, Added: time.Now().UTC(), Generation: uint64(time.Now().UnixMilli())}
	t, err := describeTorrent(&r, n)
	if err != nil {
		return View{}, errorf(ErrInvalid, err.Error())
	}
	old, err := m.clash(device, r.InfoHash)
	if err != nil {
		return View{}, err
	}
	if t == nil {
		// Another job, or one that was removed, may have fetched it already.
		if info, err := m.cfg.Infos.Get(ctx, r.InfoHash.String()); err == nil {
			t, _ = metainfo.ParseInfo(info, r.InfoHash)
		}
	} else if err := m.cfg.Infos.Put(ctx, r.InfoHash.String(), t.Info); err != nil {
		return View{}, err
	}
	if old != nil {
		// The wish to remove it has been overtaken; the newer generation tells the device.
		r.Generation = max(r.Generation, old.view.Load().Generation+1)
		if err := m.forget(ctx, old); err != nil {
			return View{}, err
		}
	}
	if err := m.cfg.Store.Put(ctx, r.ID, r); err != nil {
		return View{}, err
	}
	j := m.launch(r, t)
	m.cfg.Devices.Changed(device.ID)
	return j.current(time.Now()), nil
}

// describeTorrent fills the record from the magnet or the torrent.
func describeTorrent(r *Record, n New) (*metainfo.Torrent, error) {
	if (n.Magnet == "") == (len(n.Torrent) == 0) {
		return nil, fmt.Errorf("give a magnet or a torrent file, one of the two")
	}
	if n.Magnet == "" {
		t, err := metainfo.Parse(n.Torrent)
		if err != nil {
			return nil, err
		}
		r.InfoHash, r.Name, r.Tiers = t.InfoHash, t.Name, t.Trackers
		return t, nil
	}
	mag, err := metainfo.ParseMagnet(n.Magnet)
	if err != nil {
		return nil, err
	}
	r.InfoHash, r.Name, r.Peers = mag.InfoHash, cmp.Or(mag.Name, InfoHash(mag.InfoHash).String()), mag.Peers
	for _, tr := range mag.Trackers {
		r.Tiers = append(r.Tiers, []string{tr}) // a magnet knows no tiers: each is one of its own
	}
	return nil, nil
}

// clash looks for a job of the same torrent on the same device: one that is
// being removed is returned, any other is an error.
func (m *Manager) clash(device Device, id InfoHash) (*job, error) {
	for _, j := range m.all() {
		if v := j.view.Load(); v.DeviceID == device.ID && v.InfoHash == id {
			if !v.Removed {
				return nil, errorf(ErrConflict, fmt.Sprintf("device %s has this torrent already: job %s", device.Name, v.ID))
			}
			return j, nil
		}
	}
	return nil, nil
}

// forget ends a job and deletes its record.
func (m *Manager) forget(ctx context.Context, j *job) error {
	v := j.view.Load()
	if err := m.cfg.Store.Delete(ctx, v.ID); err != nil {
		return err
	}
	j.end()
	m.mu.Lock()
	delete(m.jobs, v.ID)
	m.mu.Unlock()
	return nil
}

// newID makes a job's id: 40 random bits in base32.
func newID() string {
	var b [5]byte
	rand.Read(b[:])
	return strings.ToLower(base32.StdEncoding.EncodeToString(b[:]))
}

func (m *Manager) all() []*job {
	m.mu.Lock()
	defer m.mu.Unlock()
	jobs := make([]*job, 0, len(m.jobs))
	for _, j := range m.jobs {
		jobs = append(jobs, j)
	}
	return jobs
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
// torrent, with deleteData also its files.
func (m *Manager) Remove(ctx context.Context, id string, deleteData bool) error {
	v, err := m.alter(ctx, id, func(j *job, ctx context.Context) error { return j.remove(ctx, deleteData) })
	if err != nil {
		return err
	}
	if v.On.Revoked {
		return m.drop(ctx, v)
	}
	return nil
}

func (m *Manager) alter(ctx context.Context, id string, f func(*job, context.Context) error) (View, error) {
	j, err := m.find(id)
	if err != nil {
		return View{}, err
	}
	if j.view.Load().Removed {
		return View{}, errorf(ErrConflict, fmt.Sprintf("job %s is being removed", id))
	}
	if err := j.do(ctx, func() error { return f(j, ctx) }); err != nil {
		return View{}, err
	}
	return j.current(time.Now()), nil
}

// drop ends a removed job whose device holds the torrent no longer, and deletes
// the info dictionary with its last job.
func (m *Manager) drop(ctx context.Context, v View) error {
	j, err := m.find(v.ID)
	if err != nil {
		return nil
	}
	if err := m.forget(ctx, j); err != nil {
		return err
	}
	for _, other := range m.all() {
		if other.view.Load().InfoHash == v.InfoHash {
			return nil
		}
	}
	return m.cfg.Infos.Delete(ctx, v.InfoHash.String())
}

// of returns the job of a torrent on a device, or nil.
func (m *Manager) of(device control.DeviceID, id [20]byte) *job {
	for _, j := range m.all() {
		if v := j.view.Load(); v.DeviceID == string(device) && v.InfoHash == id {
			return j
		}
	}
	return nil
}
