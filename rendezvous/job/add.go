package job

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	"simplebit/rendezvous/metainfo"
	"simplebit/wire/control"
)

// New is a wish for a new job: a magnet, or a .torrent file's bytes.
type New struct {
	Magnet  string
	Torrent []byte
	Target  string // "device:NAME" or "device:ID"
	Options OptionsChange
	Choices []Choice // of files, by patterns; those of a magnet are kept until its files are known
}

// Add stores a job and starts it; one that is being removed it makes new, with
// the same id. Its errors wrap ErrInvalid, ErrNotFound (no
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
	now := time.Now()
	r := Record{ID: newID(), DeviceID: device.ID, Added: now.UTC(), Generation: generationAt(now), Choices: n.Choices}
	t, err := describeTorrent(&r, n)
	if err != nil {
		return View{}, errorf(ErrInvalid, err.Error())
	}
	if r.Options, err = n.Options.apply(Options{}); err != nil {
		return View{}, errorf(ErrInvalid, err.Error())
	}
	if err := checkChoices(n.Choices); err != nil {
		return View{}, err
	}
	m.books.Lock()
	defer m.books.Unlock()
	old := m.of(control.DeviceID(device.ID), r.InfoHash)
	if old != nil && !old.view.Load().Removed {
		return View{}, errorf(ErrConflict, fmt.Sprintf("device %s has this torrent already: job %s", device.Name, old.view.Load().ID))
	}
	fresh := t != nil
	if !fresh {
		t = m.stored(ctx, r.InfoHash) // another job, or the one that is being removed, may have fetched it
	}
	if t != nil {
		r.Name = t.Name
		if err := r.settleChoices(t); err != nil {
			return View{}, err
		}
	} else if byIndex(n.Choices) {
		return View{}, errNoFiles
	}
	if fresh {
		if err := m.cfg.Infos.Put(ctx, r.InfoHash.String(), t.Info); err != nil {
			return View{}, err
		}
	}
	if old != nil {
		if err := old.do(ctx, func() error { return old.renew(ctx, r, t) }); err != nil {
			return View{}, err
		}
		return old.current(time.Now()), nil
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
