package job

import (
	"context"
	"time"

	"simplebit/rendezvous/metainfo"
)

// resume clears what paused the job.
func (j *job) resume(ctx context.Context) error {
	if !j.rec.Paused {
		return nil
	}
	return j.change(ctx, func(r *Record) { r.Paused, r.Fault = false, "" })
}

func (j *job) pause(ctx context.Context) error {
	if j.rec.Paused {
		return nil
	}
	return j.change(ctx, func(r *Record) { r.Paused = true })
}

func (j *job) verify(ctx context.Context) error {
	if j.info == nil {
		return errorf(ErrConflict, "nothing to verify yet: the torrent's description is still being fetched")
	}
	return j.change(ctx, func(r *Record) { r.Verify++; r.Paused, r.Fault = false, "" })
}

// remove may be asked for again: a device that could not drop the torrent tries
// once more.
func (j *job) remove(ctx context.Context, deleteData bool) error {
	return j.change(ctx, func(r *Record) { r.Removed, r.DeleteData = true, r.DeleteData || deleteData })
}

// renew makes the loop of a removed job that of a new one for the same torrent on
// the same device.
func (j *job) renew(ctx context.Context, r Record, t *metainfo.Torrent) error {
	before := j.info
	j.info = summarise(t, r.Options.Files)
	r.ID = j.rec.ID // the store replaces one by the other at once
	r.Generation = max(r.Generation, j.rec.Generation)
	err := j.change(ctx, func(rec *Record) { *rec = r })
	if err != nil {
		j.info = before
		return err
	}
	j.fetched = false
	return nil
}

// forget deletes the record and ends the loop, so that nothing stores it again.
func (j *job) forget(ctx context.Context) error {
	return j.do(ctx, func() error {
		if err := j.cfg.Store.Delete(ctx, j.rec.ID); err != nil {
			return err
		}
		j.waiting, j.unkept = nil, false
		j.end()
		return nil
	})
}

// generationAt is the first generation of a job that is made now.
func generationAt(now time.Time) uint64 { return uint64(now.UnixMilli()) }

// errorf wraps one of this package's errors in a sentence for a person.
func errorf(kind error, sentence string) error { return &userError{kind, sentence} }

type userError struct {
	kind     error
	sentence string
}

func (e *userError) Error() string { return e.sentence }

func (e *userError) Unwrap() error { return e.kind }
