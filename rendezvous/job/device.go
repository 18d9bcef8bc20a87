package job

import (
	"context"
	"errors"
	"fmt"
	"time"

	"simplebit/rendezvous/metainfo"
	"simplebit/wire/control"
)

// Wish is what one device should do about one torrent.
type Wish struct {
	control.Assign
	Remove     bool // drop it; Assign does not matter
	DeleteData bool // with Remove: and its files
}

// Desired returns what the device should hold: every job whose info dictionary
// is known, and those to be dropped.
func (m *Manager) Desired(device control.DeviceID) map[[20]byte]Wish {
	desired := map[[20]byte]Wish{}
	for _, j := range m.on(string(device)) {
		v := j.view.Load()
		if !v.hasInfo && !v.Removed {
			continue
		}
		w := Wish{
			Assign:     control.Assign{ID: v.InfoHash, Generation: v.Generation, Paused: v.Paused, Verify: v.Verify},
			Remove:     v.Removed,
			DeleteData: v.DeleteData,
		}
		v.Options.assign(&w.Assign)
		desired[v.InfoHash] = w
	}
	return desired
}

// Torrent returns the description of a torrent that some job has, for a
// device's layout.
func (m *Manager) Torrent(ctx context.Context, id [20]byte) (*metainfo.Torrent, error) {
	info, err := m.cfg.Infos.Get(ctx, InfoHash(id).String())
	if err != nil {
		return nil, fmt.Errorf("info dictionary %x: %w", id, err)
	}
	return metainfo.ParseInfo(info, id)
}

// Observed takes a device's report about a torrent.
func (m *Manager) Observed(device control.DeviceID, p control.Progress) {
	if j := m.of(device, p.ID); j != nil {
		j.post(func() { j.observed(p) })
	}
}

// Wants tells whether the device should hold the torrent.
func (m *Manager) Wants(device control.DeviceID, id [20]byte) bool {
	j := m.of(device, id)
	return j != nil && !j.view.Load().Removed
}

// Gone takes that a device does not hold a torrent: a removed job is done. A device
// that says so all the time does not have the store try what it cannot.
func (m *Manager) Gone(device control.DeviceID, id [20]byte) {
	j := m.of(device, id)
	if j == nil {
		return
	}
	if v := j.view.Load(); v.Removed && m.mayDrop(j) {
		m.drop(m.ctx, j)
	}
}

func (m *Manager) mayDrop(j *job) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return j.drops.take(time.Now())
}

// Unusable takes addresses that were of no use to a device.
func (m *Manager) Unusable(device control.DeviceID, u control.Unusable) {
	if j := m.of(device, u.ID); j != nil && len(u.Peers) > 0 {
		j.post(func() { j.unusable(u.Peers) })
	}
}

// Connected takes that a device's session began or ended.
func (m *Manager) Connected(device control.DeviceID) {
	for _, j := range m.on(string(device)) {
		j.post(j.connected)
	}
}

// Moved takes that a connected device is seen at another address.
func (m *Manager) Moved(device control.DeviceID) {
	for _, j := range m.on(string(device)) {
		j.post(j.moved)
	}
}

// Revoked takes that the device's key was revoked: removals need not wait for it.
func (m *Manager) Revoked(ctx context.Context, device string) {
	for _, j := range m.on(device) {
		if j.view.Load().Removed {
			m.drop(ctx, j)
		}
	}
}

// drop ends a removed job whose device holds the torrent no longer, or never
// comes back, and deletes the info dictionary with its last job. What the store
// does not delete is dropped another time.
func (m *Manager) drop(ctx context.Context, j *job) {
	m.books.Lock()
	defer m.books.Unlock()
	v := j.view.Load()
	if !v.Removed {
		return // added again meanwhile
	}
	var err error
	if len(m.with(v.InfoHash)) == 1 {
		err = m.cfg.Infos.Delete(ctx, v.InfoHash.String())
	}
	if err == nil {
		err = j.forget(ctx)
	}
	switch {
	case err == nil:
		m.leave(j)
	case !errors.Is(err, ErrNotFound):
		m.cfg.Log.Error("removed job still stored", "job", v.ID, "err", err)
	}
}
