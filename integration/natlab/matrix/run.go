//go:build linux

package matrix

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
)

// SideBySide is how many labs are at work at a time unless a Config says otherwise: what measured best on two cores.
const SideBySide = 12

// triesPerLab is how many tries a lab serves: what it holds of earlier ones makes it slow.
const triesPerLab = 20

// broken is how often in a row a lab may fail.
const broken = 3

// Config says what to measure. Bin and Rows are required.
type Config struct {
	Bin        string // folder of our binaries rendezvous and edgeagent
	Rows       []Row
	SideBySide int    // labs at a time; default [SideBySide]
	Seed       uint64 // of the order of tries, and of what is random in them
	// Progress is told of each try that is over, one at a time.
	Progress func(t Try, done, of int)
}

// task is a try to be done.
type task struct {
	Pair
	index int
}

// Run does all tries and returns them by the names of their pairs. It needs natlab.Enter. When ctx ends it returns its error with
// what was done until then. Everything that the programs store lies in /run, which ends with the namespaces.
func Run(ctx context.Context, c Config) (map[string][]Try, error) {
	dir, err := os.MkdirTemp("/run", "m")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	var tasks []task
	for _, r := range c.Rows {
		for i := range r.Tries {
			tasks = append(tasks, task{r.Pair, i})
		}
	}
	rand.New(rand.NewPCG(c.Seed, 0)).Shuffle(len(tasks), func(i, j int) { tasks[i], tasks[j] = tasks[j], tasks[i] })
	if c.SideBySide <= 0 {
		c.SideBySide = SideBySide
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	queue := make(chan task)
	go func() {
		defer close(queue)
		for _, t := range tasks {
			select {
			case queue <- t:
			case <-ctx.Done():
				return
			}
		}
	}()
	var mu sync.Mutex
	results, done := map[string][]Try{}, 0
	var running sync.WaitGroup
	for range min(c.SideBySide, len(tasks)) {
		running.Go(func() {
			w := worker{Config: c, dir: dir, labs: map[bool]*street{}}
			for t := range queue {
				one, err := w.do(ctx, t)
				if err != nil {
					stop(err)
					break
				}
				mu.Lock()
				results[one.Pair] = append(results[one.Pair], one)
				done++
				if c.Progress != nil {
					c.Progress(one, done, len(tasks))
				}
				mu.Unlock()
			}
			if err := w.leave(ctx); err != nil {
				stop(err)
			}
		})
	}
	running.Wait()
	return results, context.Cause(ctx)
}

// worker does one try after the other, in labs that it makes anew from time to time: one whose surrogate relays, and one whose
// does not.
type worker struct {
	Config
	dir  string
	labs map[bool]*street
}

// do does a try, again in a new lab if one could not be built. A try in which one of our programs ended is not done again.
func (w *worker) do(ctx context.Context, t task) (one Try, err error) {
	for range broken {
		if one, err = w.attempt(ctx, t); err == nil {
			return one, nil
		}
		if cause := context.Cause(ctx); cause != nil {
			return one, cause
		}
	}
	return one, fmt.Errorf("%s: %w", t.Pair, err)
}

// attempt does a try, and ends its lab when that has served or has failed.
func (w *worker) attempt(ctx context.Context, t task) (one Try, err error) {
	s := w.labs[t.NoRelay]
	if s == nil {
		s, err = newStreet(ctx, w.dir, w.Bin, !t.NoRelay)
		if errors.Is(err, errEnded) && ctx.Err() == nil {
			return Try{Pair: t.Pair.String(), Index: t.index, Class: None, Why: oneLine(err.Error())}, nil
		} else if err != nil {
			return one, err
		}
		w.labs[t.NoRelay] = s
	}
	one, err = s.try(ctx, t.Pair, t.index, w.seed(t))
	if err == nil && s.tries < triesPerLab && !s.service.over() {
		return one, nil
	}
	delete(w.labs, t.NoRelay)
	return one, errors.Join(err, s.close())
}

// leave ends the labs. A surrogate that ended by itself after its last try is an error.
func (w *worker) leave(ctx context.Context) (err error) {
	for _, s := range w.labs {
		if s.service.over() && ctx.Err() == nil {
			err = errors.Join(err, s.service.fate())
		}
		err = errors.Join(err, s.close())
	}
	clear(w.labs)
	return err
}

// seed is that of a try.
func (w *worker) seed(t task) [32]byte {
	return sha256.Sum256(fmt.Appendf(nil, "%d %v %d", w.Seed, t.Pair, t.index))
}
