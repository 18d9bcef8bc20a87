package edgeagent

import (
	"context"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"simplebit/nat"
	"simplebit/wire/control"
)

// serve reports what is held and obeys until the connection ends.
func (s *session) serve(ctx context.Context, c *connection) error {
	ctx, cancel := context.WithCancel(ctx)
	var helpers sync.WaitGroup
	defer helpers.Wait()
	defer c.close() // frees whoever waits for the surrogate
	defer cancel()  // and whoever waits for this loop
	answers := make(chan control.Message)
	ended := make(chan error, 2)
	helpers.Go(func() { ended <- s.obey(ctx, c, answers) })
	helpers.Go(func() { ended <- s.takeStreams(ctx, c) })

	s.set.unusable.begin()
	defer s.set.unusable.end()
	r := reporter{s.cfg.reportEvery, map[infoHash]report{}}
	again, err := s.report(c, r)
	if err == nil {
		err = c.send(control.Synced{})
	}
	var told nat.Network // what the surrogate knows of the network
	if err == nil {
		told, err = s.tellNetwork(c, told)
	}
	if err == nil {
		err = c.sendPunched(s.punching.all())
	}
	timer := time.NewTimer(again)
	defer timer.Stop()
	for err == nil {
		select {
		case m := <-answers:
			if gone, ok := m.(control.Gone); ok {
				r.forget(gone.ID)
			}
			err = c.send(m)
			continue
		case <-s.network.changed:
			told, err = s.tellNetwork(c, told)
			continue
		case <-s.punching.changed:
			err = c.sendPunched(s.punching.untold())
			continue
		case <-s.set.changed:
		case <-timer.C:
		case err = <-ended:
			if err == nil {
				err = io.EOF
			}
			continue
		case <-ctx.Done():
			return ctx.Err()
		}
		again, err = s.report(c, r)
		timer.Reset(again)
	}
	return err
}

// tellNetwork sends what is known of the network, if it differs from what was told, and returns it.
func (s *session) tellNetwork(c *connection, told nat.Network) (nat.Network, error) {
	now := s.network.current().Network
	if now.Behaviour == told.Behaviour && slices.Equal(now.Candidates, told.Candidates) {
		return told, nil
	}
	return now, c.send(control.Network(now))
}

// report sends the reports that are due, and returns when to look again.
func (s *session) report(c *connection, r reporter) (again time.Duration, err error) {
	due, again := r.due(time.Now(), s.set.progress())
	for _, p := range due {
		if err := c.send(p); err != nil {
			return again, err
		}
	}
	for _, m := range s.set.unusable.due(time.Now(), s.cfg.reportEvery) {
		if err := c.send(m); err != nil {
			return again, err
		}
	}
	return again, nil
}

// obey carries out what the surrogate sends. Dropping a torrent may take as
// long as deleting its files does; what follows it on the stream waits, so that
// wishes are obeyed in their order.
func (s *session) obey(ctx context.Context, c *connection, answers chan<- control.Message) error {
	for {
		m, err := c.frames.Next()
		if err != nil {
			return err
		}
		var answer control.Message
		switch m := m.(type) {
		case control.Assign:
			if err := s.set.assign(m); err != nil {
				s.cfg.Log.Warn("torrent not taken", "err", err)
				answer = control.Progress{ID: m.ID, Generation: m.Generation, State: control.StateFailed, Error: err.Error()}
			}
		case control.Unassign:
			answer = control.Gone{ID: m.ID}
			if err := s.set.drop(m.ID, m.DeleteData); err != nil {
				s.cfg.Log.Error("torrent not dropped", "err", err)
				answer = s.set.get(m.ID).progress() // every Unassign has an answer
			}
		case control.Candidates:
			s.set.candidates(m, !c.byTCP())
		case control.Punch:
			s.punching.begin(m)
		case control.Observed:
			s.seen(m.Addr)
		case control.Refused:
			return m
		default:
			return fmt.Errorf("it sent a %T, which only an agent may send", m)
		}
		if answer == nil {
			continue
		}
		select {
		case answers <- answer:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
