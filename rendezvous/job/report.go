package job

import (
	"cmp"
	"time"

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
	if p.Generation <= j.rec.Generation {
		j.steer(p.State != before.State || p.Generation != before.Generation)
		if p.State == control.StateFailed && p.Generation == j.rec.Generation && !j.rec.Paused {
			j.fail(cmp.Or(p.Error, "the device gave no reason")) // once until a person resumes the job
			return
		}
	}
	j.settle(p)
}

// settle keeps what lasts of a report: that the device has seen a later wish than
// the store, one restored from a backup; that everything was there once; and that
// the device has seeded as long as asked. A report that changes the record too soon
// after others waits, until a later one takes its place or enough time has gone by.
func (j *job) settle(p control.Progress) {
	ahead, next := p.Generation > j.rec.Generation, j.rec.heard(&p)
	completed, finished := next.Completed != j.rec.Completed, next.Finished != j.rec.Finished
	if ahead || j.rec.concerned(&p) {
		j.waiting = nil
	}
	switch now := time.Now(); {
	case !ahead && !completed && !finished:
		return
	case completed: // once in a job's life
	case !j.pace.take(now):
		p.Peers = nil
		j.waiting = &p
		if j.wake == nil {
			j.wake = time.After(j.pace.wait(now))
		}
		return
	}
	if ahead {
		j.amend(func(r *Record) { r.Generation = p.Generation })
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

// heard is the record after a report of the device; one of a later wish does not count.
func (r Record) heard(p *control.Progress) Record {
	if p.Generation > r.Generation {
		return r
	}
	has := p.State == control.StateSeeding || p.State == control.StateFinished
	if has && (p.Selected == 0 || p.Have >= p.Size) {
		r.Completed = true
	}
	if r.concerned(p) {
		r.Finished = 0 // files have been lost, or it has changed its mind
		if p.State == control.StateFinished {
			r.Finished = r.Generation
		}
	}
	return r
}

// concerned tells whether a report says if all that the present wish asks is done.
func (r *Record) concerned(p *control.Progress) bool {
	switch p.State {
	case control.StateFinished, control.StateDownloading, control.StateSeeding:
		return p.Generation == r.Generation
	}
	return false
}

// waited takes the report that came too soon.
func (j *job) waited() {
	p := j.waiting
	j.waiting, j.wake = nil, nil
	if p != nil {
		j.settle(*p)
	}
}

// conclude stores what the loop has not stored when it ends.
func (j *job) conclude() {
	if j.waiting != nil {
		j.rec, j.unkept = j.rec.heard(j.waiting), true // of a later wish the device tells again
	}
	if j.unkept {
		j.keep()
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
