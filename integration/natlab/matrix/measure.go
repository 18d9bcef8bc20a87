//go:build linux

package matrix

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"time"

	"simplebit/rendezvous/apiclient"
)

// try does one try of a pair. The error says nothing about the programs: a home could not be built, or ctx has ended. What the
// programs fail at is in the Try, and so is that one of them ended by itself.
func (s *street) try(ctx context.Context, p Pair, index int, seed [32]byte) (t Try, err error) {
	began := time.Now()
	random := rand.NewChaCha8(seed)
	t = Try{Pair: p.String(), Index: index, Class: None}
	h, err := s.move(p, random)
	if err != nil {
		return t, err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	s.play(ctx, p, h, random, &t, began)
	return t, context.Cause(ctx)
}

// play is a try on homes that are there.
func (s *street) play(ctx context.Context, p Pair, h homes, random *rand.ChaCha8, t *Try, began time.Time) {
	r := round{street: s, pair: p, homes: h, try: t}
	defer r.clear()
	err := r.prepare(ctx, random)
	if err == nil {
		t.Prepared = time.Since(began)
		err = r.fetch(ctx)
	}
	if err == nil {
		err = r.judge(ctx)
	}
	t.end(err, r.programs())
}

// round is a try under way.
type round struct {
	*street
	pair    Pair
	homes   homes
	try     *Try
	seeder  *agent
	leecher *agent
	late    bool // the one that fetches is started at time zero
	torrent []byte
	jobs    [2]string // of the seeder and the leecher
	carried int64     // by the surrogate before time zero
	agents  []*agent
	ends    []string // of connections between the two, as either side showed them
}

// prepare does all that comes before time zero.
func (r *round) prepare(ctx context.Context, random *rand.ChaCha8) error {
	places := [2]Place{r.pair.A, r.pair.B}
	agents, err := r.joinBoth(ctx, places)
	r.agents = agents
	if err != nil {
		return err
	}
	seeds := int(random.Uint64() % 2)
	if places[seeds].blocked() {
		seeds = 1 - seeds // the device that has to find out that UDP is blocked fetches
	}
	r.seeder, r.leecher = agents[seeds], agents[1-seeds]
	r.late = r.leecher.place.blocked()
	r.try.Seed = r.seeder.place
	name := r.seeder.name + ".bin"
	data, torrent := content(name, random)
	r.torrent = torrent
	if err := os.WriteFile(filepath.Join(r.seeder.downloads(), name), data, 0o600); err != nil {
		return err
	}
	for _, a := range agents {
		if a == r.leecher && r.late {
			continue
		}
		if err := a.run(ctx); err != nil {
			return err
		}
	}
	j, err := r.api.Add(ctx, apiclient.NewJob{Torrent: torrent, Target: r.seeder.target()})
	if err != nil {
		return err
	}
	r.jobs[0] = j.ID
	for _, a := range agents {
		if a.program != nil {
			if err := a.untilKnown(ctx); err != nil {
				return err
			}
		}
	}
	if err := r.seeder.untilSeeding(ctx, j.ID); err != nil {
		return err
	}
	r.carried, err = r.relayed(ctx)
	return err
}

// joinBoth enrols both devices, at the same time.
func (r *round) joinBoth(ctx context.Context, places [2]Place) ([]*agent, error) {
	agents, errs := make([]*agent, 2), make([]error, 2)
	done := make(chan struct{})
	go func() {
		defer close(done)
		agents[1], errs[1] = r.join(ctx, r.homes.devices[1], places[1])
	}()
	agents[0], errs[0] = r.join(ctx, r.homes.devices[0], places[0])
	<-done
	return agents, errors.Join(errs...)
}

// fetch begins at time zero and ends when everything has arrived, or nobody waits any longer.
func (r *round) fetch(ctx context.Context) error {
	wish := apiclient.NewJob{Torrent: r.torrent, Target: r.leecher.target()}
	zero := time.Now()
	j, err := r.api.Add(ctx, wish)
	if err != nil {
		return err
	}
	r.jobs[1] = j.ID
	if r.late {
		zero = time.Now()
		if err := r.leecher.run(ctx); err != nil {
			return err
		}
	}
	since := time.Duration(0)
	for deadline := Patience; since < deadline; {
		j, err = r.api.Job(ctx, j.ID)
		since = time.Since(zero)
		switch {
		case err != nil:
			return err
		case j.Have > 0 && r.try.First == 0:
			r.try.First = since
			deadline = since + Patience
		}
		r.note(j)
		if r.pair.Shared != "" {
			other, err := r.api.Job(ctx, r.jobs[0])
			if err != nil {
				return err
			}
			r.see(other)
		}
		if j.Have == Size {
			r.try.All = since
			return nil
		}
		// As exact as it matters: to 2 %, and to 10 ms at best.
		select {
		case <-time.After(min(max(since/50, 10*time.Millisecond), 100*time.Millisecond)):
		case <-r.leecher.ended:
			return r.leecher.fate()
		case <-r.seeder.ended:
			return r.seeder.fate()
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return fmt.Errorf("%d of %d bytes after %v: %s", j.Have, int64(Size), since.Round(time.Second), j.Message)
}

// note keeps what the surrogate shows. Connections are gone from it when there is nothing more to fetch.
func (r *round) note(j apiclient.Job) {
	r.see(j)
	r.try.Message, r.try.Paths = j.Message, j.Paths
	for _, p := range j.Peers {
		if p.Path == "relayed" || len(r.try.Peers) == 0 {
			r.try.Peers = j.Peers
			break
		}
	}
}

// see keeps where a device's connections ended, and those paths that it has given an account of.
func (r *round) see(j apiclient.Job) {
	for _, p := range j.Peers {
		if !slices.Contains(r.ends, p.Addr) {
			r.ends = append(r.ends, p.Addr)
		}
	}
	for _, p := range j.Paths {
		for _, a := range p.Attempts {
			if a.Outcome == "connected" && a.Remote != "" && !slices.Contains(r.ends, a.Remote) {
				r.ends = append(r.ends, a.Remote)
			}
		}
	}
}

// judge says by which route everything came.
func (r *round) judge(ctx context.Context) error {
	now, err := r.relayed(ctx)
	if err != nil {
		return err
	}
	r.try.Relayed = now - r.carried
	for _, id := range r.jobs {
		j, err := r.api.Job(ctx, id)
		if err != nil {
			return err
		}
		r.see(j)
		r.try.Relayed = max(r.try.Relayed, j.Relayed.Down+j.Relayed.Up)
	}
	r.try.Class = classOf(r.try.Relayed, r.homes.within(r.pair), r.ends)
	return nil
}

// programs are those of the try that run, or should.
func (r *round) programs() (all []*program) {
	for _, a := range r.agents {
		if a != nil && a.program != nil {
			all = append(all, a.program)
		}
	}
	return append(all, r.service)
}

// clear ends the agents and forgets what they had.
func (r *round) clear() {
	for _, a := range r.agents {
		if a == nil {
			continue
		}
		if a.program != nil {
			a.kill()
		}
		os.RemoveAll(a.dir)
	}
}
