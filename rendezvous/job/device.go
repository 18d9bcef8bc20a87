package job

import (
	"context"
	"fmt"

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
	for _, j := range m.all() {
		v := j.view.Load()
		if v.DeviceID != string(device) || !v.hasInfo && !v.Removed {
			continue
		}
		desired[v.InfoHash] = Wish{
			Assign:     control.Assign{ID: v.InfoHash, Generation: v.Generation, Paused: v.Paused, Verify: v.Verify},
			Remove:     v.Removed,
			DeleteData: v.DeleteData,
		}
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

// Gone takes that a device does not hold a torrent: a removed job is done.
func (m *Manager) Gone(device control.DeviceID, id [20]byte) {
	j := m.of(device, id)
	if j == nil {
		return
	}
	v := j.view.Load()
	if !v.Removed {
		return // the session assigns it again
	}
	if err := m.drop(m.ctx, *v); err != nil {
		m.cfg.Log.Error("removed job still stored: it is dropped at the next start", "job", v.ID, "err", err)
	}
}

// Connected takes that a device's session began or ended.
func (m *Manager) Connected(device control.DeviceID) {
	for _, j := range m.all() {
		if j.view.Load().DeviceID == string(device) {
			j.post(j.connected)
		}
	}
}
