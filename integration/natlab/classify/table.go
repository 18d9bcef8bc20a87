//go:build linux

package classify

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"simplebit/nat"
)

// Verdict is what somebody says about a kind, or why nothing.
type Verdict struct {
	nat.Behaviour
	Missing string // such as "not installed"; empty: there is a verdict
}

// Row is what is said about one kind.
type Row struct {
	Name    string
	Expect  nat.Behaviour // what natlab says
	Kernel  Verdict       // Classify in a lab
	Virtual Verdict       // Classify in natlab/virtual
	Agent   Verdict       // nat/discovery in a lab, as our agent uses it, against a server of nat/stun
	Coturn  Verdict       // turnutils_natdiscovery in a lab, against the same server
	// Explained is why some differ though nothing is wrong, Wrong what should not differ.
	Explained, Wrong []string
	// Before is what was wrong when the row was done before: what nobody says again was for want of answers in time.
	Before []string
}

// attempts is how often a row is done that has something wrong.
const attempts = 3

// sideBySide is how many labs Table has at a time: they mostly wait.
const sideBySide = 10

// Table finds out about the kinds of these names, or all, and returns a row for each. It builds labs, so Enter must have
// been called. A row with something wrong is done up to three times. It takes about 10 s for each ten rows, and fails for names that there are not, if labs cannot be built, and
// if ctx ends.
func Table(ctx context.Context, names ...string) ([]Row, error) {
	if len(names) == 0 {
		names = Names()
	}
	places := make([]place, len(names))
	for i, name := range names {
		var err error
		if places[i], err = parsePlace(name); err != nil {
			return nil, err
		}
	}
	rows, errs := make([]Row, len(names)), make([]error, len(names))
	var running sync.WaitGroup
	turns := make(chan struct{}, sideBySide)
	for i, p := range places {
		turns <- struct{}{}
		running.Go(func() {
			defer func() { <-turns }()
			if rows[i], errs[i] = p.settle(ctx); errs[i] != nil {
				errs[i] = fmt.Errorf("classify %s: %w", names[i], errs[i])
			}
			rows[i].Name = names[i]
		})
	}
	running.Wait()
	return rows, errors.Join(errs...)
}

// settle finds out about one place, again if something is wrong: a busy machine loses answers.
func (p place) settle(ctx context.Context) (r Row, err error) {
	var before []string
	for range attempts {
		r, err = p.row(ctx)
		r.Before = before
		if err != nil || len(r.Wrong) == 0 {
			break
		}
		before = append(slices.Clip(before), r.Wrong...)
	}
	return r, err
}

// row finds out about one place, once.
func (p place) row(ctx context.Context) (r Row, err error) {
	if err := context.Cause(ctx); err != nil {
		return r, err
	}
	s, err := p.build()
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, s.lab.Close()) }()
	r.Expect = s.router.Expect()
	if r.Kernel, err = s.kernelVerdict(ctx); err != nil {
		return r, err
	}
	v, err := p.virtual()
	if err != nil {
		return r, err
	}
	if r.Virtual.Behaviour, err = Classify(ctx, v); err != nil {
		return r, err
	}
	u, err := s.serve()
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, u.close()) }()
	var errAgent, errCoturn error
	var both sync.WaitGroup
	both.Go(func() { r.Agent, errAgent = s.agent(ctx, u) })
	if r.Expect.Step != 0 {
		both.Wait() // who measures the steps of ports must be alone
	}
	both.Go(func() { r.Coturn, errCoturn = s.coturn(ctx, u) })
	both.Wait()
	if err := errors.Join(errAgent, errCoturn); err != nil {
		return r, err
	}
	r.judge()
	return r, nil
}

func (s *scene) kernelVerdict(ctx context.Context) (v Verdict, err error) {
	k, err := s.kernel()
	if err != nil {
		return v, err
	}
	v.Behaviour, err = Classify(ctx, k)
	return v, errors.Join(err, k.Close())
}
