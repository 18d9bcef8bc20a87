package job

import (
	"context"
	"fmt"
	"math"
	"time"

	"simplebit/wire/control"
)

// Bounds of options.
const (
	MinRate     = 1 << 10 // bytes/s: with less, peers give up waiting for a block
	MaxRate     = 1 << 40 // bytes/s
	MaxPeers    = 1000
	MaxRatio    = 1e6
	MaxSeedTime = 10 * 365 * 24 * time.Hour

	minRatio = 0.001 // it is sent in thousandths
)

// Options are how a device is to go about a torrent. The zero value is the
// defaults.
type Options struct {
	Down       int64             `json:",omitempty"` // payload bytes/s from all peers; 0: no limit
	Up         int64             `json:",omitempty"` // payload bytes/s to all peers; 0: no limit
	MaxPeers   int               `json:",omitempty"` // connections; 0: the device decides
	Sequential bool              `json:",omitempty"` // pieces in the order of the content
	Ratio      float64           `json:",omitempty"` // seed until uploaded/size of what is wanted; 0: no such end
	SeedTime   time.Duration     `json:",omitempty"` // seed for so long, in whole seconds; 0: no such end
	Files      []control.FileRun `json:",omitempty"` // priorities over the layout's files, padding included; nil: all normal
}

// OptionsChange is new values for some options; nil leaves one as it is. Files
// are chosen by Choice.
type OptionsChange struct {
	Down, Up   *int64
	MaxPeers   *int
	Sequential *bool
	Ratio      *float64
	SeedTime   *time.Duration
}

// SetOptions changes options of a job. Its errors wrap ErrInvalid, ErrNotFound or
// ErrConflict (it is being removed).
func (m *Manager) SetOptions(ctx context.Context, id string, c OptionsChange) (View, error) {
	return m.alter(ctx, id, func(j *job, ctx context.Context) error {
		next, err := c.apply(j.rec.Options)
		if err != nil {
			return errorf(ErrInvalid, err.Error())
		}
		if same(next, j.rec.Options) {
			return nil
		}
		return j.change(ctx, func(r *Record) { r.Options = next })
	})
}

// apply returns the options with the change, within their bounds.
func (c OptionsChange) apply(o Options) (Options, error) {
	set(&o.Down, c.Down)
	set(&o.Up, c.Up)
	set(&o.MaxPeers, c.MaxPeers)
	set(&o.Sequential, c.Sequential)
	set(&o.Ratio, c.Ratio)
	set(&o.SeedTime, c.SeedTime)
	for name, rate := range map[string]int64{"down": o.Down, "up": o.Up} {
		if rate != 0 && (rate < MinRate || rate > MaxRate) {
			return o, fmt.Errorf("the limit %s is %d bytes per second: want %d to %d, or 0 for none", name, rate, MinRate, int64(MaxRate))
		}
	}
	switch {
	case o.MaxPeers < 0 || o.MaxPeers > MaxPeers:
		return o, fmt.Errorf("%d peers: want 1 to %d, or 0 to let the device decide", o.MaxPeers, MaxPeers)
	case o.Ratio != 0 && !(o.Ratio >= minRatio && o.Ratio <= MaxRatio): // also NaN
		return o, fmt.Errorf("the ratio %v: want %v to %.0f, or 0 for no such end", o.Ratio, minRatio, MaxRatio)
	case o.SeedTime < 0 || o.SeedTime > MaxSeedTime:
		return o, fmt.Errorf("the time to seed %v: want up to %v, or 0 for no such end", o.SeedTime, MaxSeedTime)
	case o.SeedTime%time.Second != 0:
		return o, fmt.Errorf("the time to seed %v: want whole seconds", o.SeedTime)
	}
	o.Ratio = math.Round(o.Ratio*1000) / 1000
	return o, nil
}

func set[T any](to, from *T) {
	if from != nil {
		*to = *from
	}
}

// same tells whether two options differ in nothing but Files.
func same(a, b Options) bool {
	return a.Down == b.Down && a.Up == b.Up && a.MaxPeers == b.MaxPeers && a.Sequential == b.Sequential &&
		a.Ratio == b.Ratio && a.SeedTime == b.SeedTime
}

// assign puts the options into what the device is told.
func (o *Options) assign(a *control.Assign) {
	a.DownLimit, a.UpLimit = o.Down, o.Up
	a.MaxPeers, a.Sequential = uint16(o.MaxPeers), o.Sequential
	a.SeedRatio, a.SeedTime = uint32(math.Round(o.Ratio*1000)), uint32(o.SeedTime/time.Second)
	a.Files = o.Files
}
