package edgeagent

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"sync"
	"time"

	"simplebit/nat"
	"simplebit/wire/control"
)

// layoutTime is how long one layout may take to arrive.
const layoutTime = 10 * time.Minute

// final reports whether the surrogate refused the device for good: trying again
// is no use without a person.
func final(err error) bool {
	var refused control.Refused
	return errors.As(err, &refused) && refused.Code != control.RefusedBusy
}

// session keeps the agent connected to its surrogate.
type session struct {
	cfg   Config
	home  surrogate
	key   ed25519.PrivateKey
	state *state
	set   *torrents
	port  uint16

	network  *network
	punching *punching

	mu   sync.Mutex // guards link, and home.Name once running
	link link
}

// link is the state of the connection, for status.
type link struct {
	Connected bool
	Since     time.Time // of Connected
	Observed  netip.AddrPort
	Error     string // why not
}

func (s *session) device() control.DeviceID {
	return control.DeviceIDOf(s.key.Public().(ed25519.PublicKey))
}

func (s *session) name() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.home.Name
}

// rename stores the device's name in force. It is only for people: a disk that
// does not take it is no reason to do without a surrogate.
func (s *session) rename(name string) {
	if name == s.name() {
		return
	}
	s.mu.Lock()
	s.home.Name = name
	s.mu.Unlock()
	if err := s.state.saveSurrogate(s.home); err != nil {
		s.cfg.Log.Error("new device name not stored", "name", name, "err", err)
	}
}

func (s *session) current() link {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.link
}

func (s *session) note(l link) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.link = l
}

// seen takes that the surrogate sees the device at another address.
func (s *session) seen(at netip.AddrPort) {
	s.cfg.Log.Debug("the surrogate sees the device elsewhere", "observed", at)
	s.mu.Lock()
	s.link.Observed = at
	s.mu.Unlock()
	s.network.observed(at)
}

// run connects again and again until ctx ends or the surrogate refuses the
// device for good.
func (s *session) run(ctx context.Context, by road) error {
	defer by.transport.Close()
	for failures := 0; ; {
		began := time.Now()
		err := s.once(ctx, by)
		if ctx.Err() != nil {
			return nil
		}
		if final(err) {
			return err
		}
		if failures++; time.Since(began) > time.Minute {
			failures = 1
		}
		s.note(link{Error: err.Error()})
		wait := s.cfg.retry(failures)
		s.cfg.Log.Warn("no surrogate, trying again", "in", wait.Round(time.Millisecond).String(), "err", err)
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return nil
		}
	}
}

// backoff is how long to wait before the n-th attempt in a row to reach the
// surrogate, n from 1: 1 s, doubling to 1 min, and half of that more or less as
// jitter from [0, 1) says, so that the devices of a surrogate that restarts do
// not all come at once.
func backoff(n int, jitter float64) time.Duration {
	full := min(time.Second<<min(n-1, 6), time.Minute)
	return full/2 + time.Duration(jitter*float64(full))
}

// once holds one connection from dialling to its end.
func (s *session) once(ctx context.Context, by road) error {
	hello := control.Hello{Version: control.Version, Software: s.cfg.Software, Name: s.home.Name, Port: s.port}
	c, err := connect(ctx, by, s.home, s.key, hello)
	if err != nil {
		return err
	}
	defer c.close()
	s.rename(c.welcome.Name)
	s.note(link{Connected: true, Since: time.Now(), Observed: c.welcome.Observed})
	s.network.greet(c.greeting())
	defer s.network.part()
	s.cfg.Log.Info("connected to the surrogate", "as", c.welcome.Name, "observed", c.welcome.Observed)
	err = s.serve(ctx, c)
	if errors.As(err, new(control.Refused)) {
		return err
	}
	return fmt.Errorf("surrogate %s: %w", s.home.Addr, err)
}

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
	helpers.Go(func() { ended <- s.takeLayouts(ctx, c) })

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
			s.set.candidates(m)
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

// takeLayouts stores the layouts that the surrogate streams.
func (s *session) takeLayouts(ctx context.Context, c *connection) error {
	for {
		stream, err := c.conn.AcceptUniStream(ctx)
		if err != nil {
			return err
		}
		stream.SetReadDeadline(time.Now().Add(layoutTime))
		if err := s.set.layout(stream); err != nil {
			stream.CancelRead(1)
			s.cfg.Log.Warn("layout not stored", "err", err)
		}
	}
}
