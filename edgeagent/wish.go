package edgeagent

import (
	"math/bits"
	"slices"
	"time"

	"simplebit/edgeagent/picker"
	"simplebit/edgeagent/swarm"
	"simplebit/wire/control"
)

// assignment is the durable wish for one torrent, and what it has done over all
// time.
//
// The counters are stored whenever the rest is, every five minutes while they
// change, and when the torrent stops: SIGKILL loses five minutes of them at most.
// More often would wear out flash, and so would the seeding time of an idle
// torrent: where seeding does not end by time, it is stored with the others only.
type assignment struct {
	Generation uint64
	Paused     bool
	Verify     uint64 // full re-hashes asked for
	Verified   uint64 // and done
	Options    options
	Downloaded int64         // payload bytes over all time
	Uploaded   int64         // likewise
	Seeded     time.Duration // time spent with all that was wanted, running
	Root       string        // the torrent's name in the download folder, once it is the torrent's own
}

// options are how a torrent is to be moved. They change while it runs. The
// fields are those of control.Assign.
type options struct {
	Sequential bool              `json:",omitzero"`
	DownLimit  int64             `json:",omitzero"` // bytes/s
	UpLimit    int64             `json:",omitzero"`
	MaxPeers   uint16            `json:",omitzero"`
	SeedRatio  uint32            `json:",omitzero"` // thousandths
	SeedTime   uint32            `json:",omitzero"` // seconds
	Files      []control.FileRun `json:",omitzero"`
}

// take makes m the wish.
func (a *assignment) take(m control.Assign) {
	a.Generation, a.Paused, a.Verify = m.Generation, m.Paused, m.Verify
	a.Options = options{m.Sequential, m.DownLimit, m.UpLimit, m.MaxPeers, m.SeedRatio, m.SeedTime, m.Files}
}

// due is the full re-hash that is still to be done, or 0.
func (a assignment) due() uint64 {
	if a.Verify > a.Verified {
		return a.Verify
	}
	return 0
}

// sameWork reports whether both ask for the same to be done, perhaps with other
// options.
func (a assignment) sameWork(b assignment) bool {
	return a.Paused == b.Paused && a.due() == b.due()
}

func (o options) sameFiles(p options) bool { return slices.Equal(o.Files, p.Files) }

func (o options) equal(p options) bool {
	return o.sameFiles(p) && o.Sequential == p.Sequential && o.DownLimit == p.DownLimit &&
		o.UpLimit == p.UpLimit && o.MaxPeers == p.MaxPeers && o.SeedRatio == p.SeedRatio && o.SeedTime == p.SeedTime
}

// policy is what the options mean to the swarm.
func (o options) policy(pieces []picker.Priority) swarm.Policy {
	return swarm.Policy{
		Priorities: pieces, Sequential: o.Sequential, Down: o.DownLimit, Up: o.UpLimit, MaxPeers: int(o.MaxPeers),
	}
}

// finished reports whether a torrent that has all that is wanted, so many bytes,
// has seeded as long as asked: by ratio or by time, whichever comes first.
func (a assignment) finished(wanted int64) bool {
	o := a.Options
	if o.SeedTime > 0 && a.Seeded >= time.Duration(o.SeedTime)*time.Second {
		return true
	}
	if o.SeedRatio == 0 {
		return false
	}
	// Uploaded / wanted >= SeedRatio / 1000, without overflow.
	hi, lo := bits.Mul64(uint64(a.Uploaded), 1000)
	goalHi, goalLo := bits.Mul64(uint64(o.SeedRatio), uint64(wanted))
	return hi > goalHi || hi == goalHi && lo >= goalLo
}
