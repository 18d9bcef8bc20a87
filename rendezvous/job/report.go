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
	j.fetched = j.fetched || p.State == control.StateDownloading
	j.tally()
	if p.Generation > j.rec.Generation {
		// The device has seen a later wish than the store: one restored from a backup.
		j.amend(func(r *Record) { r.Generation = p.Generation })
		return
	}
	j.steer(p.State != before.State || p.Generation != before.Generation)
	if p.State == control.StateFailed && p.Generation == j.rec.Generation && !j.rec.Paused {
		j.fail(cmp.Or(p.Error, "the device gave no reason"))
		return
	}
	j.settle()
}

// settle keeps what lasts of a report: that everything was there once, and that
// the device has seeded as long as asked.
func (j *job) settle() {
	p, next := &j.progress, j.rec
	has := p.State == control.StateSeeding || p.State == control.StateFinished
	if has && (p.Selected == 0 || p.Have >= p.Size) {
		next.Completed = true
	}
	switch {
	case p.Generation != next.Generation:
	case p.State == control.StateFinished:
		next.Finished = next.Generation
	case p.State == control.StateDownloading, p.State == control.StateSeeding:
		next.Finished = 0 // files have been lost, or it has changed its mind
	}
	completed, finished := next.Completed != j.rec.Completed, next.Finished != j.rec.Finished
	if !completed && !finished {
		return
	}
	j.rec = next
	j.keep()
	if completed {
		j.log.Info("complete", "bytes", p.Size)
		if j.part != nil && j.fetched {
			j.part.Completed()
		}
	}
	if finished && next.finished() {
		j.log.Info("finished: the job leaves the swarm")
	}
}

// connected takes that the device's session began or ended.
func (j *job) connected() {
	// State, rates and peers are of the moment: nobody vouches for them until the next report.
	j.progress.State, j.progress.DownRate, j.progress.UpRate, j.progress.Peers = 0, 0, 0, nil
	j.moved()
	j.steer(false)
}

// moved takes that the device accepts peers elsewhere.
func (j *job) moved() {
	if j.part != nil {
		j.part.Endpoint(j.cfg.Devices.Endpoint(j.rec.DeviceID))
	}
}

// unusable takes addresses that the device found to be of no use.
func (j *job) unusable(peers []control.UnusablePeer) {
	if j.part != nil {
		j.part.Unusable(peers)
	}
}
