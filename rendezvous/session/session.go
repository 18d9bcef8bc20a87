package session

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"sync"
	"time"

	"simplebit/nat"
	"simplebit/wire/control"
	"simplebit/wire/link"
)

// Codes with which the surrogate closes a connection.
const (
	closeNormal   link.Code = 0
	closeProtocol link.Code = 1
	closeRefused  link.Code = 2
	closeBusy     link.Code = 3
	closeReplaced link.Code = 4
	closeLost     link.Code = 5
)

const layoutTime = 10 * time.Minute // for one layout to be taken by the device

// signal is a wake-up that any number of senders may set.
type signal chan struct{}

func (s signal) set() {
	select {
	case s <- struct{}{}:
	default:
	}
}

// session is one connected device. Its loop owns the book and the sending side
// of the session stream.
type session struct {
	cfg    Config
	device control.DeviceID
	name   string
	hello  control.Hello
	seen   netip.AddrPort // where the device was told that it is
	conn   link.Conn
	stream link.Stream
	frames *control.Reader
	book   *book
	heard  func(*session, time.Time, control.Network) bool
	barred bool // it was revoked; guarded by the hub

	limits  *allowances
	flooded bool // it told more addresses than that

	changed    signal
	revoked    signal
	candidates *waiting
	punches    chan control.Punch

	layouts []infoHash      // waiting to be streamed, the first under way
	sent    chan sentLayout // how that one ended
	again   chan infoHash   // a layout that may be sent again now
	helpers sync.WaitGroup

	received chan control.Message
	arrived  chan struct{} // closed when the first of them has come
	lost     chan error    // why no more come
	over     chan struct{} // closed when the session has ended, and is the device's no more
}

// sentLayout is how the streaming of one layout ended.
type sentLayout struct {
	id  infoHash
	err error
}

// run serves the device until the connection ends, and returns why it did. It receives beside it.
func (s *session) run(ctx context.Context) error {
	defer s.helpers.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	glance := time.NewTicker(s.cfg.seenEvery)
	defer glance.Stop()
	var compared time.Time   // when the wishes were, with what the device holds
	var due <-chan time.Time // when they are next; nil: not known to differ
	for {
		select {
		case m := <-s.received:
			changed, err := s.take(m)
			if err != nil {
				s.close(closeProtocol, err.Error())
				return err
			}
			if !changed {
				continue
			}
		case <-s.changed:
		case <-due:
			due = nil
		case id := <-s.again:
			s.book.again(id)
		case done := <-s.sent:
			if done.err != nil {
				s.cfg.Log.Warn("layout not delivered", "device", s.name, "torrent", fmt.Sprintf("%x", done.id), "err", done.err)
			}
			s.layouts = s.layouts[1:]
			s.startLayout(ctx)
		case <-s.candidates.ready:
			if c, ok := s.candidates.take(); ok {
				if err := s.send(c); err != nil {
					s.close(closeLost, "")
					return err
				}
			}
			continue
		case m := <-s.punches:
			if err := s.send(m); err != nil {
				s.close(closeLost, "")
				return err
			}
			continue
		case <-glance.C:
			if err := s.tellSeen(); err != nil {
				s.close(closeLost, "")
				return err
			}
			continue
		case <-s.revoked:
			return s.refuse(control.Refused{Code: control.RefusedRevoked, Reason: "this device was revoked: join again with a new invite"})
		case err := <-s.lost:
			s.close(closeLost, "")
			return err
		case <-ctx.Done():
			s.close(closeNormal, "the surrogate is stopping")
			return nil
		}
		if wait := s.cfg.compareEach - time.Since(compared); wait > 0 {
			if due == nil {
				due = time.After(wait)
			}
			continue
		}
		compared, due = time.Now(), nil
		if err := s.act(ctx, s.book.reconcile(s.cfg.Jobs.Desired(s.device))); err != nil {
			s.close(closeLost, "")
			return err
		}
	}
}

// receive passes on the device's frames, as fast as it may send them.
func (s *session) receive(ctx context.Context) error {
	for first := true; ; first = false {
		m, err := s.frames.Next()
		if err != nil {
			return err
		}
		if first {
			close(s.arrived)
		}
		if wait := s.limits.frame(time.Now(), m); wait > 0 {
			select {
			case <-time.After(wait):
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		select {
		case s.received <- m:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// take notes what the device reports, and tells whether wishes have to be
// compared with it.
func (s *session) take(m control.Message) (changed bool, err error) {
	switch m := m.(type) {
	case control.Progress:
		if s.book.stray(m.ID) {
			s.limits.stray(time.Now())
		}
		if changed, err = s.book.observe(m); err != nil {
			return false, err
		}
		s.cfg.Jobs.Observed(s.device, m)
		return changed, nil
	case control.Unusable:
		s.takeUnusable(m)
		return false, nil
	case control.Network:
		if s.heard(s, time.Now(), m) {
			s.cfg.Jobs.Network(s.device, nat.Network(m))
		}
		return false, nil
	case control.Punched:
		s.cfg.Jobs.Punched(s.device, m)
		return false, nil
	case control.Gone:
		s.book.forget(m.ID)
	case control.Synced:
		s.book.synced = true
	default:
		return false, fmt.Errorf("device %s sent a %T, which only a surrogate may send", s.name, m)
	}
	return true, nil
}

// takeUnusable passes on as many addresses as the device may tell.
func (s *session) takeUnusable(m control.Unusable) {
	if !s.book.holds(m.ID) {
		return // dropped meanwhile, or never held
	}
	told := len(m.Peers)
	m.Peers = m.Peers[:s.limits.addresses(time.Now(), told)]
	if len(m.Peers) < told && !s.flooded {
		s.flooded = true // once a session: a flood must not fill the log
		s.cfg.Log.Info("device calls too many addresses unusable: those beyond its allowance are ignored", "device", s.name)
	}
	if len(m.Peers) > 0 {
		s.cfg.Jobs.Unusable(s.device, m)
	}
}

// act carries out what reconcile found.
func (s *session) act(ctx context.Context, a actions) error {
	for _, m := range a.send {
		if err := s.send(m); err != nil {
			return err
		}
	}
	idle := len(s.layouts) == 0
	for _, id := range a.layouts {
		if !slices.Contains(s.layouts, id) {
			s.layouts = append(s.layouts, id)
		}
	}
	if idle {
		s.startLayout(ctx)
	}
	for _, id := range a.gone {
		s.cfg.Jobs.Gone(s.device, id)
	}
	return nil
}

func (s *session) send(m control.Message) error {
	s.stream.SetWriteDeadline(time.Now().Add(s.cfg.writeTime))
	return control.WriteMessage(s.stream, m)
}

// startLayout streams the first waiting layout: one at a time, since each may
// take tens of megabytes of memory. A device that still wants it a minute later,
// because it was not delivered or got lost, gets it again.
func (s *session) startLayout(ctx context.Context) {
	if len(s.layouts) == 0 {
		return
	}
	id := s.layouts[0]
	s.helpers.Go(func() {
		err := s.sendLayout(ctx, id)
		select {
		case s.sent <- sentLayout{id, err}:
		case <-ctx.Done():
		}
		select {
		case <-time.After(s.cfg.layoutAgain):
		case <-ctx.Done():
		}
		select {
		case s.again <- id:
		case <-ctx.Done():
		}
	})
}

// sendLayout streams a torrent's layout on a stream of its own.
func (s *session) sendLayout(ctx context.Context, id infoHash) error {
	l, err := s.cfg.Jobs.Layout(ctx, id)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, layoutTime)
	defer cancel()
	stream, err := s.conn.Open(ctx)
	if err != nil {
		return err
	}
	deadline, _ := ctx.Deadline()
	stream.SetDeadline(deadline)
	if err = control.WriteLayout(stream, l.Header, l.Files, l.Hashes); err == nil {
		err = stream.CloseWrite()
	}
	if err == nil {
		err = silent(stream)
	}
	if err != nil {
		stream.Cancel()
	}
	return err
}

// silent waits for the end of a stream on which a device has nothing to say: only then it is over.
func silent(s link.Stream) error {
	n, err := s.Read(make([]byte, 1))
	switch {
	case n > 0:
		return errors.New("the device answers a layout")
	case err == io.EOF:
		return nil
	}
	return err
}

// refuse tells the device why its session ends and waits a moment for it to
// read that.
func (s *session) refuse(r control.Refused) error {
	if s.send(r) == nil && s.stream.CloseWrite() == nil {
		select {
		case <-s.conn.Done():
		case <-time.After(time.Second):
		}
	}
	s.close(closeRefused, r.Reason)
	return r
}

func (s *session) revoke() { s.revoked.set() }

func (s *session) close(code link.Code, reason string) { s.conn.Close(code, reason) }
