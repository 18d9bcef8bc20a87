//go:build linux

package classify

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"simplebit/integration/natlab"
	"simplebit/nat"
)

// Verdict is what somebody says about a kind, or why nothing.
type Verdict struct {
	nat.Behaviour
	Marks   natlab.Marks // only the kernel's and the virtual verdict have them
	Missing string       // such as "not installed"; empty: there is a verdict
}

// Row is what is said about one kind.
type Row struct {
	Name    string
	Expect  nat.Behaviour // what natlab says
	Marks   natlab.Marks  // the same
	Kernel  Verdict       // Classify in a lab
	Virtual Verdict       // Classify in natlab/virtual
	Agent   Verdict       // nat/discovery in a lab, as our agent uses it, against a server of nat/stun
	Coturn  Verdict       // turnutils_natdiscovery in a lab, against the same server
	// Explained is why some differ though nothing is wrong, Wrong what should not differ.
	Explained, Wrong []string
	// Before is what was wrong when the row was done before, or why a witness said nothing: what nobody says again was for want
	// of answers in time. Again counts for each witness how often the row was done again for its sake.
	Before []string
	Again  map[string]int

	suspects []string // of Wrong
}

// attempts is how often a row is done that has something wrong, or a witness that says nothing.
const attempts = 3

// sideBySide is how many labs Table has at a time: they mostly wait.
const sideBySide = 10

// Table finds out about the kinds of these names, or all, and returns a row for each. It builds labs, so Enter must have
// been called. A row with something wrong, or a witness that says nothing, is done up to three times. It takes about 10 s for
// each ten rows, and fails for names that there are not, if labs cannot be built, if a witness never says anything, and if
// ctx ends.
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
			if rows[i], errs[i] = settle(ctx, p.row); errs[i] != nil {
				errs[i] = fmt.Errorf("classify %s: %w", names[i], errs[i])
			}
			rows[i].Name = names[i]
		})
	}
	running.Wait()
	return rows, errors.Join(errs...)
}

// silentError is of a witness that said nothing, most often for want of answers.
type silentError struct {
	who string
	err error
}

func (e *silentError) Error() string { return e.who + ": " + e.err.Error() }

func (e *silentError) Unwrap() error { return e.err }

// silent is the error of a witness, nil where there is none.
func silent(who string, err error) error {
	if err == nil {
		return nil
	}
	return &silentError{who, err}
}

// settle finds out about one place, again if something is wrong: a busy machine loses answers.
func settle(ctx context.Context, row func(context.Context) (Row, error)) (r Row, err error) {
	var before []string
	again := make(map[string]int)
	for attempt := 1; ; attempt++ {
		r, err = row(ctx)
		r.Before, r.Again = before, again
		var quiet *silentError
		lines, suspects := r.Wrong, r.suspects
		switch {
		case errors.As(err, &quiet):
			lines, suspects = []string{err.Error()}, []string{quiet.who}
		case err != nil || len(r.Wrong) == 0:
			return r, err
		}
		if attempt == attempts || ctx.Err() != nil {
			return r, err
		}
		before = append(slices.Clip(before), lines...)
		for _, who := range suspects {
			again[who]++
		}
	}
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
	return s.row(ctx)
}

// row finds out about the scene.
func (s *scene) row(ctx context.Context) (r Row, err error) {
	r.Expect, r.Marks = s.router.Expect(), s.router.Marks()
	if r.Kernel.Behaviour, err = s.behaviour(ctx, s.inKernel); err != nil {
		return r, err
	}
	if r.Virtual, err = s.verdict(ctx, s.inVirtual); err != nil {
		return r, err
	}
	u, err := s.serve()
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, u.close()) }()
	var errAgent, errMarks, errCoturn error
	var both sync.WaitGroup
	both.Go(func() {
		// Marks make routers say that a port is closed, which they do so often a second only: our agent counts on hearing them.
		r.Agent, errAgent = s.agent(ctx, u)
		r.Kernel.Marks, errMarks = s.marks(ctx, s.inKernel, r.Kernel.Behaviour)
	})
	if r.Expect.Step != 0 {
		both.Wait() // who measures the steps of ports must be alone
	}
	both.Go(func() { r.Coturn, errCoturn = s.coturn(ctx, u) })
	both.Wait()
	if err := errors.Join(errAgent, errMarks, silent("coturn", errCoturn)); err != nil {
		return r, err
	}
	r.judge()
	return r, nil
}

// worlds has something found out in the world of a family.
type worlds func(six bool, find func(World) error) error

func (s *scene) inKernel(six bool, find func(World) error) error {
	k, err := s.kernel(six)
	if err != nil {
		return err
	}
	return errors.Join(silent("kernel", find(k)), k.Close())
}

func (s *scene) inVirtual(six bool, find func(World) error) error {
	v, err := s.virtual(six)
	if err != nil {
		return err
	}
	return find(v)
}

// verdict is what the classifier finds there.
func (s *scene) verdict(ctx context.Context, in worlds) (v Verdict, err error) {
	if v.Behaviour, err = s.behaviour(ctx, in); err == nil {
		v.Marks, err = s.marks(ctx, in, v.Behaviour)
	}
	return v, err
}

func (s *scene) behaviour(ctx context.Context, in worlds) (b nat.Behaviour, err error) {
	err = in(s.only6(), func(w World) (err error) {
		b, err = Classify(ctx, w)
		return err
	})
	return b, err
}

func (s *scene) marks(ctx context.Context, in worlds, b nat.Behaviour) (m natlab.Marks, err error) {
	err = in(s.only6(), func(w World) (err error) {
		m, err = Marks(ctx, w, b)
		return err
	})
	if err == nil && s.twoFamilies() {
		err = in(true, func(w World) (err error) {
			m.IPv6, err = Classify(ctx, w)
			return err
		})
	}
	return m, err
}
