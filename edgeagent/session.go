package edgeagent

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"simplebit/wire/control"
	"simplebit/wire/link"
)

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
	relaying *relaying

	trust trust // run's, and that of the seek for which it waits

	mu   sync.Mutex   // guards home and link
	link connectivity // for status
}

// connectivity is whether there is a connection.
type connectivity struct {
	Connected bool
	Since     time.Time // of Connected
	Transport link.Transport
	Observed  netip.AddrPort
	Error     string // why not
}

func (s *session) device() control.DeviceID {
	return control.DeviceIDOf(s.key.Public().(ed25519.PublicKey))
}

// surrogate is what is known of it.
func (s *session) surrogate() surrogate {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.home
}

// learn stores what a welcome has told of the surrogate. Without it the next start is slower, and people see an old name: a disk
// that does not take it is no reason to do without a surrogate.
func (s *session) learn(c *connection) {
	was := s.surrogate()
	now := was.welcomed(c)
	if now == was {
		return
	}
	s.mu.Lock()
	s.home = now
	s.mu.Unlock()
	if err := s.state.saveSurrogate(now); err != nil {
		s.cfg.Log.Error("what the surrogate told of itself is not stored", "name", now.Name, "tcp", now.TCP, "err", err)
	}
}

func (s *session) current() connectivity {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.link
}

func (s *session) note(l connectivity) {
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
		by.tcpFirst = s.trust.left(began, s.network.moves())
		c, err := s.connect(ctx, by, s.surrogate())
		for err == nil {
			c, err = s.hold(ctx, by, c)
		}
		if ctx.Err() != nil {
			return nil
		}
		if final(err) {
			return err
		}
		if failures++; time.Since(began) > time.Minute {
			failures = 1
		}
		s.note(connectivity{Error: err.Error()})
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

func (s *session) connect(ctx context.Context, by road, home surrogate) (*connection, error) {
	hello := control.Hello{Version: control.Version, Software: s.cfg.Software, Name: home.Name, Port: s.port}
	return connect(ctx, by, home, s.key, hello)
}

// hold keeps a connection until it ends, and returns why, or until there is a better one, which it returns.
func (s *session) hold(ctx context.Context, by road, c *connection) (better *connection, err error) {
	s.learn(c)
	began := time.Now()
	s.note(connectivity{Connected: true, Since: began, Transport: c.conn.Transport(), Observed: c.welcome.Observed})
	s.network.greet(c.greeting())
	s.cfg.Log.Info("connected to the surrogate", "as", c.welcome.Name, "transport", c.conn.Transport(), "observed", c.welcome.Observed)
	serving, stop := context.WithCancel(ctx)
	defer stop()
	ended, sought := make(chan struct{}), make(chan *connection, 1)
	go func() {
		var found *connection
		if c.byTCP() {
			found = s.seek(ctx, by, ended)
		}
		if found != nil {
			stop()
			c.close() // frees who writes there: the surrogate waits for the first word on the better one
		}
		sought <- found
	}()
	err = s.serve(serving, c)
	close(ended)
	if better = <-sought; better != nil {
		return better, nil
	}
	s.network.part()
	if !c.byTCP() && ctx.Err() == nil {
		s.judge(time.Since(began), err)
	}
	if errors.As(err, new(control.Refused)) {
		return nil, err
	}
	return nil, fmt.Errorf("surrogate %s: %w", s.surrogate().Addr, err)
}

// judge notes why a session by QUIC has ended, and after how long.
func (s *session) judge(lasted time.Duration, err error) {
	now, bad := time.Now(), s.trust.bad
	quiet, silent := fellSilent(err)
	worked := max(0, lasted-quiet)
	s.trust.ended(now, s.network.moves(), worked, silent, s.cfg.retryQUIC)
	if s.trust.bad > bad {
		s.cfg.Log.Warn("UDP worked for a moment only, control goes over TCP where it can", "worked", worked.Round(time.Second).String(), "again", s.trust.until.Sub(now).String())
	}
}

// seek tries from time to time whether UDP works, while control runs over TCP, until it has a connection or the one over TCP
// has ended. An attempt that is under way then is made to its end. While QUIC is left alone (see trust) there is none, whatever
// STUN says.
func (s *session) seek(ctx context.Context, by road, ended <-chan struct{}) *connection {
	again := time.NewTicker(s.cfg.retryQUIC)
	defer again.Stop()
	for {
		select {
		case <-again.C:
		case <-s.network.hears:
		case <-ended:
			return nil
		}
		if s.trust.left(time.Now(), s.network.moves()) {
			continue
		}
		home := s.surrogate()
		home.TCP = 0
		c, err := s.connect(ctx, by, home)
		if err == nil {
			return c
		}
		s.cfg.Log.Debug("control still runs over TCP", "err", err)
	}
}
