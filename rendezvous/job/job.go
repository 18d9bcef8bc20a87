package job

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"simplebit/rendezvous/metainfo"
	"simplebit/wire/control"
)

// feedEvery is the time between two looks at whether more peers are needed.
const feedEvery = 10 * time.Second

// lastTry is how long the store may take for what is left when the loop ends.
const lastTry = 3 * time.Second

// maxGeneration is far beyond what any clock gives: a device that reports more lies.
const maxGeneration = 1 << 62

// job is one job's loop. Only functions that run on the loop (see post) touch
// its fields; view may be read from anywhere.
type job struct {
	cfg   *Config
	log   *slog.Logger
	ctx   context.Context // ends with the job
	end   context.CancelFunc
	ended chan struct{} // the loop has
	inbox chan func()
	view  atomic.Pointer[View]

	rec      Record
	info     *summary // nil until the info dictionary is known
	progress control.Progress
	fetched  bool   // the device was seen downloading
	unstored []byte // the info dictionary, when the store did not take it
	unkept   bool   // the store has not taken rec
	part     *part  // in the swarm; nil while paused, removed or finished

	pace    pace              // of what the device's reports change in rec
	waiting *control.Progress // a report that has yet to change rec, without its peers; nil: none
	wake    <-chan time.Time  // when to look at waiting; nil: never
	drops   pace              // of tries to drop it that the device causes; under Manager.mu
}

// summary is what a job keeps in memory of its torrent: the piece hashes may be
// megabytes, and the store has them.
type summary struct {
	size    int64 // bytes without padding
	wanted  int64 // of these, by the choice of files when this was made
	bytes   int   // of the info dictionary
	private bool
}

func summarise(t *metainfo.Torrent, files []control.FileRun) *summary {
	if t == nil {
		return nil
	}
	s := &summary{size: t.Size(), bytes: len(t.Info), private: t.Private}
	for i, p := range expand(files, len(t.Files)) {
		if f := t.Files[i]; !f.Pad && p != control.FileSkip {
			s.wanted += f.Length
		}
	}
	return s
}

// run is the loop.
func (j *job) run() {
	defer close(j.ended)
	tick := time.NewTicker(feedEvery)
	defer tick.Stop()
	for j.ctx.Err() == nil {
		select {
		case <-tick.C:
			if j.unkept {
				j.keep()
			}
			j.feed()
			j.update()
		case info := <-j.learnedInfo():
			j.learned(info)
			j.update()
		case f := <-j.inbox:
			if f(); j.ctx.Err() == nil {
				j.update()
			}
		case <-j.wake:
			j.waited()
			j.update()
		case <-j.ctx.Done():
		}
	}
	j.conclude()
	if j.part != nil {
		j.leave()
	}
}

// post runs f on the loop, later; it does nothing when the job has ended.
func (j *job) post(f func()) {
	select {
	case j.inbox <- f:
	case <-j.ctx.Done():
	}
}

// do runs f on the loop and waits for it.
func (j *job) do(ctx context.Context, f func() error) error {
	result := make(chan error, 1)
	select {
	case j.inbox <- func() { result <- f() }:
	case <-j.ended:
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-result:
		return err
	case <-j.ended:
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-result:
		return err // f itself has ended the job
	default:
		return errorf(ErrNotFound, fmt.Sprintf("job %s has ended", j.view.Load().ID))
	}
}

// change stores a changed record and only then acts on it.
func (j *job) change(ctx context.Context, f func(*Record)) error {
	next := j.changed(f)
	if err := j.cfg.Store.Put(ctx, next.ID, next); err != nil {
		return err
	}
	j.unkept = false
	j.obey(next)
	return nil
}

// amend makes a change that nobody waits for: it counts at once, and is stored
// when the store takes it. Should that not happen before a restart, the device,
// which then knows a later generation, tells it again.
func (j *job) amend(f func(*Record)) {
	j.obey(j.changed(f))
	j.keep()
}

// changed is the changed record. The device is told by its generation, which also
// follows the clock: a store that is restored from a backup must not use a
// generation twice.
func (j *job) changed(f func(*Record)) Record {
	next := j.rec
	f(&next)
	next.Generation = max(next.Generation+1, generationAt(time.Now()))
	return next
}

// obey acts on a changed record.
func (j *job) obey(next Record) {
	j.rec = next
	j.update()
	j.cfg.Devices.Changed(j.rec.DeviceID)
}

// keep stores the record; if that fails, the loop tries again every feedEvery, and
// once when it ends.
func (j *job) keep() {
	ctx := j.ctx
	if ctx.Err() != nil {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(context.WithoutCancel(ctx), lastTry)
		defer cancel()
	}
	err := j.cfg.Store.Put(ctx, j.rec.ID, j.rec)
	if err != nil && !j.unkept {
		j.log.Error("job not stored, trying again", "err", err)
	}
	j.unkept = err != nil
}

// update joins or leaves the swarm as the record asks, and publishes the view.
func (j *job) update() {
	wanted := !j.rec.Paused && !j.rec.Removed && !j.rec.finished()
	switch {
	case wanted && j.part == nil:
		j.join()
	case !wanted && j.part != nil:
		j.leave()
	}
	j.publish()
}

// publish shows the job as it is.
func (j *job) publish() {
	v := &View{Record: j.rec, On: j.cfg.Devices.Lookup(j.rec.DeviceID), Progress: j.progress}
	if j.info != nil {
		v.hasInfo, v.Private, v.Size = true, j.info.private, j.info.size
	}
	if j.part != nil {
		v.member, v.joined = j.part.Member, j.part.joined
	}
	if v.Progress.ID == [20]byte{} && j.info != nil {
		j.remember(&v.Progress)
	}
	j.view.Store(v)
}

// remember fills in what the device had by the record, until it reports to this
// process. A choice of files that was made in this process begins a generation, in
// which the device has not finished: wanted is that of the last one it had.
func (j *job) remember(p *control.Progress) {
	switch {
	case j.rec.Completed:
		p.Have = j.info.size
	case j.rec.finished():
		p.Have, p.Selected, p.SelectedHave = j.info.wanted, j.info.wanted, j.info.wanted
	}
}

// current is the published view with the figures that others keep.
func (j *job) current(now time.Time) View {
	v := *j.view.Load()
	v.On = j.cfg.Devices.Lookup(v.DeviceID)
	if v.member != nil {
		v.SwarmStatus = v.member.Status()
	}
	v.State, v.Message = describe(now, &v)
	return v
}

// fail pauses the job with the reason.
func (j *job) fail(reason string) {
	j.log.Warn("job paused by an error", "err", reason)
	j.amend(func(r *Record) { r.Paused, r.Fault = true, reason })
}
