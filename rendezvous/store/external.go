package store

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	// externalPrefix keeps our buckets apart from those of others on the same server.
	externalPrefix = "simplebit-"
	// connectTimeout bounds one attempt to connect to an external server.
	connectTimeout = 10 * time.Second
	// externalTimeout is how long an operation waits for an external server: shorter than answerTimeout, since a restart of the
	// server loses what was under way, and whoever waits should hear of it.
	externalTimeout = 10 * time.Second
	// settleTime bounds the wait for a cluster to elect a leader for a stream and to copy it.
	settleTime = 30 * time.Second
	// awayPatience is how long an operation waits for an external server to come back before it fails.
	awayPatience = 3 * time.Second
)

// openExternal connects to the server at URL and gets the lease.
func (s *Store) openExternal(ctx context.Context, c Config) error {
	shown, err := redact(c.URL)
	if err != nil {
		return err
	}
	s.where, s.prefix = "at "+shown, externalPrefix
	if err := s.connect(c); err != nil {
		return err
	}
	if s.js, err = jetstream.New(s.conn, jetstream.WithDefaultTimeout(externalTimeout)); err != nil {
		return fmt.Errorf("store %s: %w", s.where, err)
	}
	if err := s.checkJetStream(ctx); err != nil {
		return err
	}
	buckets, err := s.buckets(ctx)
	if err != nil {
		return err
	}
	if len(buckets) == 0 && c.Dir != "" && Exists(c.Dir) {
		return fmt.Errorf("the NATS server %s is empty, and there is a store in %s: move it by `rendezvous backup` and `rendezvous restore`, or remove it", s.where, c.Dir)
	}
	s.lease, err = s.acquire(ctx)
	return err
}

// redact returns URL without user names, passwords and tokens, or why it is none.
func redact(list string) (string, error) {
	var shown []string
	for one := range strings.SplitSeq(list, ",") {
		u, err := url.Parse(strings.TrimSpace(one))
		if err != nil || u.Hostname() == "" || u.Scheme != "nats" && u.Scheme != "tls" {
			return "", errors.New("the address of the NATS server is malformed: want nats://HOST:PORT or tls://HOST:PORT")
		}
		shown = append(shown, u.Scheme+"://"+u.Host)
	}
	return strings.Join(shown, ","), nil
}

// connect opens the connection, which renews itself for as long as the store is open.
func (s *Store) connect(c Config) (err error) {
	s.link = newLink()
	d := &s.link.dialer
	options := []nats.Option{
		nats.Name("simplebit"), nats.SetCustomDialer(d), nats.Timeout(connectTimeout), nats.MaxReconnects(-1),
		nats.ReconnectWait(500 * time.Millisecond), nats.PingInterval(10 * time.Second), nats.MaxPingsOutstanding(2),
		// An operation that was given up must not be sent later.
		nats.ReconnectBufSize(-1),
		nats.DisconnectErrHandler(func(n *nats.Conn, err error) {
			s.link.down()
			if !n.IsClosed() && err != nil {
				s.log.Warn("the NATS server of the store is away", "error", err)
			}
		}),
		nats.ReconnectHandler(func(*nats.Conn) {
			s.link.up()
			s.log.Info("the NATS server of the store is back")
		}),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			s.log.Warn("the NATS server of the store", "error", err)
		}),
	}
	if c.Credentials != "" {
		options = append(options, nats.UserCredentials(c.Credentials))
	}
	s.conn, err = nats.Connect(c.URL, options...)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, nats.ErrAuthorization), errors.Is(err, nats.ErrAuthExpired), errors.Is(err, nats.ErrAuthRevoked):
		return fmt.Errorf("store %s: the NATS server refuses the user: check --nats-creds, or the user and password in the address: %w", s.where, err)
	case errors.Is(err, nats.ErrNoServers) && d.err() != nil:
		return fmt.Errorf("store %s: %w: start the NATS server, or correct --nats: %w", s.where, ErrUnreachable, d.err())
	}
	return fmt.Errorf("store %s: cannot connect to the NATS server: %w", s.where, err)
}

// checkJetStream says why the server cannot keep anything.
func (s *Store) checkJetStream(ctx context.Context) error {
	op, end := context.WithTimeout(ctx, connectTimeout/2)
	defer end()
	_, err := s.js.AccountInfo(op)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, jetstream.ErrJetStreamNotEnabled), errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount):
		return fmt.Errorf("the NATS server %s has no JetStream: turn it on (jetstream {} in its configuration, or --jetstream), for this user's account too", s.where)
	case ctx.Err() == nil && isSilence(err):
		return fmt.Errorf("the NATS server %s does not answer JetStream requests: check that JetStream is on and that the user may publish to $JS.API.>, $KV.> and $O.>, and subscribe to _INBOX.>: %w", s.where, err)
	}
	return s.explain(ctx, "opening the store", err)
}

// spread gives a stream that is there as many replicas as are wanted.
func (s *Store) spread(ctx context.Context, name string) error {
	if s.server != nil {
		return nil
	}
	stream, err := s.js.Stream(ctx, name)
	if err != nil {
		return err
	}
	config := stream.CachedInfo().Config
	if config.Replicas == s.replicas {
		return nil
	}
	s.log.Info("changing the number of replicas", "stream", name, "from", config.Replicas, "to", s.replicas)
	config.Replicas = s.replicas
	if _, err = s.js.UpdateStream(ctx, config); err != nil {
		return err
	}
	return s.settle(ctx, name)
}

// settle waits until a stream that was spread has a leader and its copies are whole. Without a leader requests get no answer.
func (s *Store) settle(ctx context.Context, name string) error {
	for patience := time.Now().Add(settleTime); time.Now().Before(patience); {
		op, end := context.WithTimeout(ctx, leaseBeat)
		stream, err := s.js.Stream(op, name)
		end()
		if err == nil && isWhole(stream.CachedInfo().Cluster) {
			return nil
		}
		if err := sleep(ctx, 100*time.Millisecond); err != nil {
			return err
		}
	}
	s.log.Warn("the replicas are not whole yet", "stream", name)
	return nil
}

func isWhole(c *jetstream.ClusterInfo) bool {
	return c == nil || c.Leader != "" && !slices.ContainsFunc(c.Replicas, func(p *jetstream.PeerInfo) bool { return !p.Current })
}

// link is the connection to an external server as operations see it: what waits for an answer when it breaks gets none.
type link struct {
	mu     sync.Mutex
	alive  context.Context // ends when the connection breaks
	broken context.CancelFunc
	dialer tellingDialer
}

func newLink() *link {
	l := &link{}
	l.up()
	return l
}

func (l *link) up() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.alive, l.broken = context.WithCancel(context.Background())
}

func (l *link) down() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.broken()
}

// cut breaks the connection, until the client has opened another: operations under way fail, and what has not left this machine
// is not sent any more.
func (l *link) cut() {
	l.down()
	l.dialer.abort()
}

func (l *link) isUp() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.alive.Err() == nil
}

// follow returns a context that ends with ctx and with the connection.
func (l *link) follow(ctx context.Context) (context.Context, context.CancelFunc) {
	l.mu.Lock()
	defer l.mu.Unlock()
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(l.alive, cancel)
	return ctx, func() {
		stop()
		cancel()
	}
}

// tellingDialer remembers the last connection and why it failed, which the library does not tell.
type tellingDialer struct {
	mu   sync.Mutex
	conn net.Conn
	last error
}

// Dial implements nats.CustomDialer.
func (d *tellingDialer) Dial(network, address string) (net.Conn, error) {
	conn, err := net.DialTimeout(network, address, connectTimeout)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.conn, d.last = conn, err
	return conn, err
}

// abort closes the last connection, and has the system discard what it has not sent yet.
func (d *tellingDialer) abort() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if tcp, ok := d.conn.(*net.TCPConn); ok {
		// Both fail only for a connection that is closed already.
		_ = tcp.SetLinger(0)
		_ = tcp.Close()
	}
}

func (d *tellingDialer) err() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.last
}
