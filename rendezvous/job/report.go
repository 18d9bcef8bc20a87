package job

import (
	"cmp"

	"simplebit/wire/control"
)

// observed takes the device's report.
func (j *job) observed(p control.Progress) {
	if p.Generation > maxGeneration {
		return
	}
	before := j.progress
	j.progress = p
	j.rebase()
	j.fetched = j.fetched || p.State == control.StateDownloading
	if p.Generation > j.rec.Generation {
		// The device has seen a later wish than the store: one restored from a backup.
		if err := j.change(j.ctx, func(r *Record) { r.Generation = p.Generation }); err != nil {
			j.log.Error("job not stored", "err", err)
		}
		return
	}
	active := p.State == control.StateDownloading || p.State == control.StateSeeding
	began := p.State != before.State || p.Generation != before.Generation
	if active && began {
		j.offerAll()
	}
	if p.State == control.StateFailed && p.Generation == j.rec.Generation && !j.rec.Paused {
		j.fail(cmp.Or(p.Error, "the device gave no reason"))
	}
	if p.State == control.StateSeeding && !j.rec.Completed {
		next := j.rec
		next.Completed = true
		if err := j.cfg.Store.Put(j.ctx, next.ID, next); err != nil {
			j.log.Error("job not stored", "err", err)
			return
		}
		j.rec = next
		if j.busy != nil && j.fetched {
			j.busy.announcer.Completed()
		}
		j.log.Info("complete", "bytes", p.Size)
	}
}

// connected takes that the device's session began or ended.
func (j *job) connected() {
	// State, rates and peers are of the moment: nobody vouches for them until the next report.
	j.progress.State, j.progress.DownRate, j.progress.UpRate, j.progress.Peers = 0, 0, 0, nil
}

// rebase notes what the device had moved when announcing began: a tracker counts
// from its last "started" event (BEP 3), the device over all time.
func (j *job) rebase() {
	p := j.progress
	if j.busy == nil || p.ID == [20]byte{} {
		return
	}
	if base := j.busy.base; base == nil {
		j.busy.base = &Stats{Uploaded: p.Uploaded, Downloaded: p.Downloaded}
	} else if p.Uploaded < base.Uploaded || p.Downloaded < base.Downloaded {
		// A device that was killed has forgotten some.
		j.busy.base = &Stats{Uploaded: min(base.Uploaded, p.Uploaded), Downloaded: min(base.Downloaded, p.Downloaded)}
	}
}

// stats are the figures for the trackers.
func (j *job) stats() Stats {
	v := j.view.Load()
	s := Stats{Left: -1}
	if v.base != nil {
		s.Uploaded, s.Downloaded = v.Progress.Uploaded-v.base.Uploaded, v.Progress.Downloaded-v.base.Downloaded
	}
	if v.hasInfo {
		s.Left = max(0, v.Size-v.Progress.Have)
	}
	return s
}
