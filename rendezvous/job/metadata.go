package job

import (
	"context"
	"crypto/sha1"
	"fmt"

	"simplebit/rendezvous/metainfo"
)

// info reads an info dictionary from the store. ErrNotFound when it is not there.
func (c *Config) info(ctx context.Context, id InfoHash) ([]byte, error) {
	info, err := c.Infos.Get(ctx, id.String())
	if err == nil && sha1.Sum(info) != id {
		return nil, fmt.Errorf("the stored info dictionary of %s is damaged", id)
	}
	return info, err
}

// learned takes the info dictionary that the swarm gave.
func (j *job) learned(info []byte) {
	if j.info != nil || j.rec.Removed {
		return
	}
	t, err := metainfo.ParseInfo(info, j.rec.InfoHash)
	if err != nil {
		j.fail("the torrent's description cannot be used: " + err.Error())
		return
	}
	if err = j.cfg.Infos.Put(j.ctx, j.rec.InfoHash.String(), info); err == nil {
		j.info = summarise(t, j.rec.Options.Files)
		err = j.described(t)
	}
	if err != nil {
		j.log.Error("the torrent's description is not stored, trying again", "err", err)
		j.info, j.unstored = nil, info
		return
	}
	j.unstored = nil
	j.log.Info("metadata is there", "name", t.Name, "files", len(t.Files), "bytes", t.Size())
	if j.part != nil {
		j.part.Known(len(info), t.Private)
	}
}

// described changes the record by what the description says. Choices of files that
// it does not allow pause the job.
func (j *job) described(t *metainfo.Torrent) error {
	return j.change(j.ctx, func(r *Record) {
		r.Name = t.Name
		if err := r.settleChoices(t); err != nil {
			r.Paused, r.Fault = true, err.Error()+": choose with `simplebit files "+r.ID+"`, then resume"
		}
	})
}

// feed looks for what is missing: peers while there are few, and the info
// dictionary, which another job of the torrent may have stored. It is called every
// feedEvery.
func (j *job) feed() {
	if j.part == nil {
		return
	}
	if j.info == nil {
		info := j.unstored
		if info == nil {
			info, _ = j.cfg.info(j.ctx, j.rec.InfoHash)
		}
		if info != nil {
			j.learned(info)
		}
	}
	if j.part != nil && j.hungry() {
		j.part.hungry = true
		j.part.Hungry(true)
	}
}
