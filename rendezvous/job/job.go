package job

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"simplebit/rendezvous/metainfo"
	"simplebit/wire/control"
)

const (
	batch         = 100              // candidates in one message
	fewPeers      = 4                // below this a downloading device is given more
	feedEvery     = 10 * time.Second // between two looks at whether more peers are needed
	offerAgain    = time.Minute      // between two offers of all that is known to a device that has few peers
	fetchRetry    = 15 * time.Second // between two metadata fetches that failed
	metadataQueue = 200              // addresses waiting for a metadata fetch

	// maxGeneration is far beyond what any clock gives: a device that reports more lies.
	maxGeneration = 1 << 62
)

// job is one job's loop. Only functions that run on the loop (see post) touch
// its fields; view may be read from anywhere.
type job struct {
	cfg   *Config
	log   *slog.Logger
	runs  *sync.WaitGroup // of the manager
	ctx   context.Context // ends with the job
	end   context.CancelFunc
	ended chan struct{} // the loop has
	inbox chan func()
	view  atomic.Pointer[View]

	rec      Record
	info     *summary // nil until the info dictionary is known
	progress control.Progress
	fetched  bool // the device was seen downloading
	known    *known
	offered  time.Time // when all that is known was last offered
	busy     *activity // announcing and fetching; nil while paused or removed
}

// summary is what a job keeps in memory of its torrent: the piece hashes may be
// megabytes, and the store has them.
type summary struct {
	size    int64 // bytes without padding
	private bool
}

func summarise(t *metainfo.Torrent) *summary {
	if t == nil {
		return nil
	}
	return &summary{t.Size(), t.Private}
}

// run is the loop.
func (j *job) run() {
	defer close(j.ended)
	tick := time.NewTicker(feedEvery)
	defer tick.Stop()
	for j.ctx.Err() == nil {
		select {
		case now := <-tick.C:
			j.feed(now)
		case f := <-j.inbox:
			if f(); j.ctx.Err() == nil {
				j.update()
			}
		case <-j.ctx.Done():
		}
	}
	if j.busy != nil {
		j.busy.stop()
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

// change stores a changed record and only then acts on it. The device is told
// by its generation, which also follows the clock: a store that is restored from
// a backup must not use a generation twice.
func (j *job) change(ctx context.Context, f func(*Record)) error {
	next := j.rec
	f(&next)
	next.Generation = max(next.Generation+1, generationAt(time.Now()))
	if err := j.cfg.Store.Put(ctx, next.ID, next); err != nil {
		return err
	}
	j.rec = next
	j.update()
	j.cfg.Devices.Changed(j.rec.DeviceID)
	return nil
}

// update starts or ends announcing and fetching as the record asks, and
// publishes the view.
func (j *job) update() {
	wanted := !j.rec.Paused && !j.rec.Removed
	switch {
	case wanted && j.busy == nil:
		j.start()
	case !wanted && j.busy != nil:
		j.busy.stop()
		j.busy = nil
	}
	j.publish()
}

// publish shows the job as it is.
func (j *job) publish() {
	v := &View{Record: j.rec, On: j.cfg.Devices.Lookup(j.rec.DeviceID), Progress: j.progress, Known: j.known.count()}
	if j.info != nil {
		v.hasInfo, v.Private, v.Size = true, j.info.private, j.info.size
	}
	if j.busy != nil {
		v.announcer, v.base = j.busy.announcer, j.busy.base
	}
	j.view.Store(v)
}

// current is the published view with the figures that others keep.
func (j *job) current(now time.Time) View {
	v := *j.view.Load()
	v.On = j.cfg.Devices.Lookup(v.DeviceID)
	v.Metadata = j.cfg.Metadata.MetadataStatus(v.InfoHash)
	if v.announcer != nil {
		v.Trackers = v.announcer.Status()
	}
	v.State, v.Message = describe(now, &v)
	return v
}

// fail pauses the job with the reason.
func (j *job) fail(reason string) {
	j.log.Warn("job paused by an error", "err", reason)
	if err := j.change(j.ctx, func(r *Record) { r.Paused, r.Fault = true, reason }); err != nil {
		j.log.Error("job not stored", "err", err)
	}
}
