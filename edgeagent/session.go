package edgeagent

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"reflect"
	"sync"
	"time"

	"github.com/quic-go/quic-go"

	"simplebit/wire/control"
)

const (
	welcomeTime = 10 * time.Second // from dialling to Welcome
	frameTime   = 15 * time.Second // for one frame to be taken by QUIC's send buffer
	reportEvery = time.Second      // at most one report a torrent in this time
	layoutTime  = 10 * time.Minute // for one layout to arrive
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

// rename stores the device's name in force.
func (s *session) rename(name string) error {
	if name == s.name() {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.home.Name = name
	return s.state.saveSurrogate(s.home)
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

// run connects again and again until ctx ends or the surrogate refuses the
// device for good.
func (s *session) run(ctx context.Context, socket net.PacketConn) error {
	transport := &quic.Transport{Conn: plainConn{socket}}
	defer transport.Close()
	for failures := 0; ; {
		began := time.Now()
		err := s.once(ctx, transport)
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
		wait := backoff(failures)
		wait = wait/2 + rand.N(wait)
		s.cfg.Log.Warn("no surrogate, trying again", "in", wait.Round(time.Millisecond).String(), "err", err)
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return nil
		}
	}
}

// once holds one connection from dialling to its end.
func (s *session) once(ctx context.Context, transport *quic.Transport) error {
	hello := control.Hello{Version: control.Version, Software: s.cfg.Software, Name: s.home.Name, Port: s.port}
	c, err := connect(ctx, transport, s.home, s.key, hello)
	if err != nil {
		return err
	}
	defer c.close()
	if err := s.rename(c.welcome.Name); err != nil {
		return err
	}
	s.note(link{Connected: true, Since: time.Now(), Observed: c.welcome.Observed})
	s.cfg.Log.Info("connected to the surrogate", "as", c.welcome.Name, "observed", c.welcome.Observed)
	return s.serve(ctx, c)
}

// connection is a session stream after Welcome.
type connection struct {
	conn    *quic.Conn
	stream  *quic.Stream
	frames  *control.Reader
	welcome control.Welcome
}

func (c *connection) close() { c.conn.CloseWithError(0, "") }

func (c *connection) send(m control.Message) error {
	c.stream.SetWriteDeadline(time.Now().Add(frameTime))
	return control.WriteMessage(c.stream, m)
}

// connect dials the surrogate and says hello. It returns a control.Refused when
// the surrogate refuses the device.
func connect(ctx context.Context, transport *quic.Transport, home surrogate, key ed25519.PrivateKey, hello control.Hello) (*connection, error) {
	pin, err := control.ParsePin(home.Pin)
	if err != nil {
		return nil, err
	}
	tlsConfig, err := control.AgentTLS(key, pin)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, welcomeTime)
	defer cancel()
	addr, err := resolve(ctx, home.Addr)
	if err != nil {
		return nil, err
	}
	conn, err := transport.Dial(ctx, addr, tlsConfig, quicConfig())
	if err != nil {
		return nil, fmt.Errorf("surrogate %s: %w", home.Addr, err)
	}
	c := &connection{conn: conn}
	if err := c.greet(ctx, hello); err != nil {
		c.close()
		if errors.As(err, new(control.Refused)) {
			return nil, err
		}
		return nil, fmt.Errorf("surrogate %s: %w", home.Addr, err)
	}
	return c, nil
}

func (c *connection) greet(ctx context.Context, hello control.Hello) (err error) {
	if c.stream, err = c.conn.OpenStreamSync(ctx); err != nil {
		return err
	}
	deadline, _ := ctx.Deadline()
	c.stream.SetDeadline(deadline)
	if err := control.WriteMessage(c.stream, hello); err != nil {
		return err
	}
	c.frames = control.NewReader(c.stream)
	first, err := c.frames.Next()
	if err != nil {
		return err
	}
	switch m := first.(type) {
	case control.Welcome:
		c.welcome = m
		return c.stream.SetDeadline(time.Time{})
	case control.Refused:
		return m
	}
	return fmt.Errorf("answered hello with %T", first)
}

// resolve looks up the surrogate's UDP address.
func resolve(ctx context.Context, hostPort string) (*net.UDPAddr, error) {
	host, port, err := net.SplitHostPort(hostPort)
	if err != nil {
		return nil, fmt.Errorf("surrogate address %q: %w", hostPort, err)
	}
	number, err := net.DefaultResolver.LookupPort(ctx, "udp", port)
	if err != nil {
		return nil, fmt.Errorf("surrogate address %q: %w", hostPort, err)
	}
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil, fmt.Errorf("surrogate %s cannot be looked up: %w", hostPort, err)
	}
	return net.UDPAddrFromAddrPort(netip.AddrPortFrom(addrs[rand.N(len(addrs))].Unmap(), uint16(number))), nil
}

// plainConn hides what a UDP socket could do besides: with its SyscallConn
// quic-go would set options on a socket that others will share.
type plainConn struct{ net.PacketConn }

// SetReadBuffer does nothing: the system's default is enough for control, and 7 MB
// is much to ask of a router.
func (plainConn) SetReadBuffer(int) error { return nil }

// SetWriteBuffer does nothing, likewise.
func (plainConn) SetWriteBuffer(int) error { return nil }

// quicConfig caps what the surrogate can make this device buffer.
func quicConfig() *quic.Config {
	return &quic.Config{
		HandshakeIdleTimeout:           5 * time.Second,
		MaxIdleTimeout:                 75 * time.Second,
		KeepAlivePeriod:                25 * time.Second,
		MaxIncomingStreams:             -1,
		MaxIncomingUniStreams:          2,
		InitialStreamReceiveWindow:     64 << 10,
		MaxStreamReceiveWindow:         512 << 10,
		InitialConnectionReceiveWindow: 128 << 10,
		MaxConnectionReceiveWindow:     512 << 10,
	}
}

// serve reports what is held and obeys until the connection ends.
func (s *session) serve(ctx context.Context, c *connection) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var helpers sync.WaitGroup
	defer helpers.Wait()
	defer c.close()
	gone := make(chan infoHash)
	ended := make(chan error, 2)
	helpers.Go(func() { ended <- s.obey(ctx, c, gone) })
	helpers.Go(func() { ended <- s.takeLayouts(ctx, c) })

	r := reporter{c: c, sent: map[infoHash]report{}}
	if err := r.report(time.Now(), s.set.all()); err != nil {
		return err
	}
	if err := c.send(control.Synced{}); err != nil {
		return err
	}
	tick := time.NewTicker(reportEvery)
	defer tick.Stop()
	for {
		var err error
		select {
		case id := <-gone:
			err = r.gone(id)
		case <-s.set.changed:
			err = r.report(time.Now(), s.set.all())
		case <-tick.C:
			err = r.report(time.Now(), s.set.all())
		case err = <-ended:
			if err == nil {
				err = io.EOF
			}
		case <-ctx.Done():
			return ctx.Err()
		}
		if err != nil {
			return err
		}
	}
}

// obey carries out what the surrogate sends. Dropping a torrent may take as
// long as deleting its files does; what follows it on the stream waits, so that
// wishes are obeyed in their order.
func (s *session) obey(ctx context.Context, c *connection, gone chan<- infoHash) error {
	for {
		m, err := c.frames.Next()
		if err != nil {
			return err
		}
		switch m := m.(type) {
		case control.Assign:
			if err := s.set.assign(m); err != nil {
				return err
			}
		case control.Unassign:
			if err := s.set.drop(m.ID, m.DeleteData); err != nil {
				s.cfg.Log.Error("torrent not dropped", "err", err)
				continue // its report says so; the surrogate asks again on the next connection
			}
			select {
			case gone <- m.ID:
			case <-ctx.Done():
				return ctx.Err()
			}
		case control.Candidates:
			s.set.candidates(m)
		case control.Refused:
			return m
		default:
			return fmt.Errorf("the surrogate sent a %T, which only an agent may send", m)
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

// reporter sends what has changed, and not too often.
type reporter struct {
	c    *connection
	sent map[infoHash]report
}

type report struct {
	at time.Time
	control.Progress
}

func (r *reporter) report(now time.Time, held []*torrent) error {
	for _, t := range held {
		p := t.progress()
		last := r.sent[t.id]
		urgent := p.State != last.State || p.Generation != last.Generation || p.Error != last.Error
		if !urgent && (now.Sub(last.at) < reportEvery-reportEvery/10 || reflect.DeepEqual(p, last.Progress)) {
			continue
		}
		if err := r.c.send(p); err != nil {
			return err
		}
		r.sent[t.id] = report{now, p}
	}
	return nil
}

func (r *reporter) gone(id infoHash) error {
	delete(r.sent, id)
	return r.c.send(control.Gone{ID: id})
}
