package job

import (
	"context"
	"math"
	"sync/atomic"
	"time"

	"simplebit/wire/control"
)

// fewPeers is the number of peers below which a downloading device is short of them.
const fewPeers = 4

// part is a job's part in the swarm of its torrent, from joining to leaving it.
// Only the job's loop uses it, but for the callbacks of join.
type part struct {
	Member
	joined  time.Time
	last    *Stats                // the device's figures as last reported; nil until then
	stats   atomic.Pointer[Stats] // what the trackers are told, also after leaving
	open    atomic.Bool           // the device uses addresses now
	hungry  bool                  // as last told
	learned chan []byte           // the info dictionary, once
}

// join begins to take part.
func (j *job) join() {
	p := &part{joined: time.Now(), learned: make(chan []byte, 1)}
	j.part = p
	j.tally()
	id, device := j.rec.InfoHash, j.rec.DeviceID
	wish := Participation{
		InfoHash: id, Tiers: j.rec.Tiers, Peers: j.rec.Peers,
		Info:  func(ctx context.Context) ([]byte, error) { return j.cfg.info(ctx, id) },
		Stats: func() Stats { return *p.stats.Load() },
		Candidates: func(list []control.Candidate) {
			if p.open.Load() {
				j.cfg.Devices.Candidates(device, control.Candidates{ID: id, Peers: list})
			}
		},
		Learned: func(info []byte) {
			select {
			case p.learned <- info:
			default:
			}
		},
	}
	if j.info != nil {
		wish.InfoSize, wish.Private = j.info.bytes, j.info.private
	}
	p.Member = j.cfg.Swarms.Join(wish)
	p.Endpoint(j.cfg.Devices.Endpoint(device))
	j.steer(false)
}

// leave ends it. What the trackers are told stays as it was.
func (j *job) leave() {
	j.part.open.Store(false)
	j.part.Leave()
	j.part = nil
}

// tally works out what the trackers are told: they count from the last "started"
// event (BEP 3), the device over all time.
func (j *job) tally() {
	p, r := j.part, j.progress
	if p == nil {
		return
	}
	var s Stats
	if told := p.stats.Load(); told != nil {
		s = *told
	}
	s.Left = -1
	if r.ID != [20]byte{} {
		if p.last != nil {
			s.Uploaded = grown(s.Uploaded, p.last.Uploaded, r.Uploaded)
			s.Downloaded = grown(s.Downloaded, p.last.Downloaded, r.Downloaded)
		}
		p.last = &Stats{Uploaded: r.Uploaded, Downloaded: r.Downloaded}
	}
	switch {
	case j.info == nil:
	case r.ID == [20]byte{} && j.rec.Completed: // it has not reported to this process
		s.Left = 0
	default:
		s.Left = max(0, j.info.size-r.Have)
	}
	p.stats.Store(&s)
}

// grown adds to a sum what a device's count has grown by. The count falls when the
// device was killed, and has forgotten some: the sum never does.
func grown(sum, before, now int64) int64 {
	return sum + min(max(0, now-before), math.MaxInt64-sum)
}

// steer tells the swarm what the device can use now. A device that has begun anew
// may have forgotten the addresses that it was sent.
func (j *job) steer(began bool) {
	p := j.part
	if p == nil {
		return
	}
	state := j.progress.State
	open := state == control.StateDownloading || state == control.StateSeeding
	began = began || !p.open.Load()
	p.open.Store(open)
	if open && began {
		p.Offer()
	}
	if hungry := j.hungry(); hungry != p.hungry {
		p.hungry = hungry
		p.Hungry(hungry)
	}
}

// hungry tells whether more peers are needed: a device to which nothing happens
// reports nothing.
func (j *job) hungry() bool {
	return j.info == nil || j.progress.State == control.StateDownloading && len(j.progress.Peers) < fewPeers
}

// learnedInfo is where the info dictionary comes from, or nil.
func (j *job) learnedInfo() <-chan []byte {
	if j.part == nil {
		return nil
	}
	return j.part.learned
}
