package session

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"io"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"simplebit/wire/control"
	"simplebit/wire/link"
)

// overBoth runs a test with devices that connect in either way.
func overBoth(t *testing.T, f func(t *testing.T, w *world), changes ...func(*Config)) {
	for _, over := range []link.Transport{link.QUIC, link.TCP} {
		t.Run(over.String(), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, changes...)
			w.over = over
			f(t, w)
		})
	}
}

func TestASessionIsTheSameOverEitherTransport(t *testing.T) {
	overBoth(t, func(t *testing.T, w *world) {
		w.wish(red, want(red, 7))
		key := newKey(t)
		d := w.connect(key, hello)
		if got := next[control.Welcome](d); got.TCP != w.tcp.Port() || got.Observed.Port() != d.conn.Local().Port() {
			t.Errorf("welcome is %+v", got)
		}
		event[bool](w)
		d.send(control.Synced{})
		next[control.Assign](d)
		d.send(control.Progress{ID: red, Generation: 7, State: control.StateLayout})
		event[control.Progress](w)
		d.layout()
		if got, want := w.hub.Endpoint(idOf(key)), netip.MustParseAddrPort("127.0.0.1:6882"); got != want {
			t.Errorf("it accepts peers at %v, want %v", got, want)
		}
		l, _ := w.hub.Line(idOf(key))
		if l.Transport != w.over || l.UDP != (w.over == link.QUIC) || l.Observed.Port() != d.conn.Local().Port() || l.RTT <= 0 || l.RTT > patience {
			t.Errorf("its line is %+v", l)
		}
		w.hub.Revoke(idOf(key))
		if got := next[control.Refused](d); got.Code != control.RefusedRevoked {
			t.Errorf("refused with %+v", got)
		}
		d.gone()
		if event[bool](w) {
			t.Error("the device is still said to be online")
		}
	})
}

// layout takes the layout that the surrogate sends.
func (d *device) layout() {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	stream, err := d.conn.Accept(ctx)
	if err != nil {
		d.t.Fatal(err)
	}
	stream.CloseWrite()
	all, err := io.ReadAll(stream)
	if err != nil {
		d.t.Fatal(err)
	}
	l, err := control.ReadLayout(bytes.NewReader(all))
	if err != nil {
		d.t.Fatal(err)
	}
	if !bytes.Equal(all[l.HashOffset:], testLayout.Hashes) {
		d.t.Error("the piece hashes arrived altered")
	}
}

// gone waits for the end of the connection.
func (d *device) gone() {
	d.t.Helper()
	select {
	case <-d.conn.Done():
	case <-time.After(patience):
		d.t.Fatal("the connection is still open")
	}
}

func TestARefusalIsReadOverEitherTransport(t *testing.T) {
	overBoth(t, func(t *testing.T, w *world) {
		w.locked(func() {
			w.admit = func() (string, error) {
				return "", control.Refused{Code: control.RefusedInvite, Reason: "the invite has expired"}
			}
		})
		d := w.connect(newKey(t), hello)
		if got := next[control.Refused](d); got.Code != control.RefusedInvite {
			t.Errorf("refused with %+v", got)
		}
	})
}

func TestASessionOverQUICTakesOverFromOneOverTCP(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.wish(red, want(red, 3))
	key := newKey(t)
	w.over = link.TCP
	old := w.connect(key, hello)
	next[control.Welcome](old)
	if !event[bool](w) {
		t.Fatal("the device is said to be offline")
	}
	old.send(control.Synced{})
	next[control.Assign](old)
	old.send(control.Progress{ID: red, Generation: 3, State: control.StateDownloading})
	event[control.Progress](w)

	w.over = link.QUIC
	d := w.connect(key, hello)
	next[control.Welcome](d)
	d.send(control.Progress{ID: red, Generation: 3, State: control.StateDownloading})
	if !event[bool](w) {
		t.Fatal("the device is said to be offline")
	}
	old.gone()
	event[control.Progress](w)
	d.send(control.Synced{})
	w.wish(blue, want(blue, 1))
	w.hub.Changed(idOf(key))
	if got := next[control.Assign](d); got.ID != blue {
		t.Errorf("assigned %x, which it has", got.ID)
	}
	if l, online := w.hub.Line(idOf(key)); !online || !l.UDP {
		t.Errorf("its line is %+v", l)
	}
	select {
	case e := <-w.events:
		t.Errorf("the jobs were told %v", e)
	default:
	}
}

// servedOn checks that the device's session is this one: it is assigned a torrent there.
func (w *world) servedOn(d *device, key ed25519.PrivateKey, id infoHash) {
	w.t.Helper()
	w.wish(id, want(id, 1))
	w.hub.Changed(idOf(key))
	if got := next[control.Assign](d); got.ID != id {
		w.t.Errorf("assigned %x", got.ID)
	}
}

func TestASessionThatHasNotProvedItselfReplacesNone(t *testing.T) {
	overBoth(t, func(t *testing.T, w *world) {
		key := newKey(t)
		old := w.joined(key)
		silent := w.connect(key, hello)
		next[control.Welcome](silent)
		w.servedOn(old, key, red) // meanwhile
		silent.gone()
		w.servedOn(old, key, blue)
		select {
		case e := <-w.events:
			t.Errorf("the jobs were told %v", e)
		default:
		}
	}, func(c *Config) { c.proofTime = time.Second })
}

func TestASessionOfADeviceWhoseOtherOneEndsNeedsNoProof(t *testing.T) {
	overBoth(t, func(t *testing.T, w *world) {
		key := newKey(t)
		old := w.joined(key)
		d := w.connect(key, hello)
		next[control.Welcome](d)
		old.conn.Close(0, "")
		if event[bool](w) || !event[bool](w) {
			t.Error("the device is said to be offline")
		}
		d.send(control.Synced{})
		w.servedOn(d, key, red)
	})
}

func TestOfManySessionsOfADeviceTheOneThatSpeaksIsServed(t *testing.T) {
	overBoth(t, func(t *testing.T, w *world) {
		key := newKey(t)
		old := w.joined(key)
		var waiting []*device
		for range 3 {
			d := w.connect(key, hello)
			next[control.Welcome](d)
			waiting = append(waiting, d)
		}
		waiting[1].send(control.Synced{})
		old.gone()
		if !event[bool](w) {
			t.Error("the device is said to be offline")
		}
		w.servedOn(waiting[1], key, red)
		waiting[0].conn.Close(0, "")
		waiting[2].send(control.Synced{})
		waiting[1].gone()
		if !event[bool](w) {
			t.Error("the device is said to be offline")
		}
		if got := next[control.Assign](waiting[2]); got.ID != red {
			t.Errorf("assigned %x", got.ID)
		}
	})
}

func TestADeviceThatIsRevokedBetweenTwoSessionsHasNone(t *testing.T) {
	overBoth(t, func(t *testing.T, w *world) {
		key := newKey(t)
		old := w.joined(key)
		d := w.connect(key, hello)
		next[control.Welcome](d)
		w.hub.Revoke(idOf(key))
		for _, c := range []*device{old, d} {
			if got := next[control.Refused](c); got.Code != control.RefusedRevoked {
				t.Errorf("refused with %+v", got)
			}
			c.gone()
		}
	})
}

func about(id infoHash) control.Relay {
	return control.Relay{Torrent: id, Device: "gibson", Peer: "gibson", Addr: netip.MustParseAddrPort("192.0.2.7:6882"), Dials: true}
}

func TestAStreamForARelayedPeerBeginsWithWhatItIsAbout(t *testing.T) {
	overBoth(t, func(t *testing.T, w *world) {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		w.client = QUICConfig() // with the windows of an agent
		w.client.MaxIncomingStreams = 8
		key := newKey(t)
		if _, err := w.hub.Open(ctx, idOf(key), about(red)); !errors.Is(err, ErrOffline) {
			t.Errorf("to a device that is not connected: %v", err)
		}
		d := w.joined(key)
		var streams []link.Stream
		for range 4 {
			here, err := w.hub.Open(ctx, idOf(key), about(red))
			if err != nil {
				t.Fatal(err)
			}
			defer here.Cancel()
			there, err := d.conn.Accept(ctx)
			if err != nil {
				t.Fatal(err)
			}
			defer there.Cancel()
			m, _, err := control.ReadHeader(there)
			if err != nil || m != control.Message(about(red)) {
				t.Fatalf("it begins with %+v, %v", m, err)
			}
			streams = append(streams, here)
			echo := make(chan error, 1)
			go func() {
				_, err := here.Write([]byte("peer"))
				echo <- err
			}()
			got := make([]byte, 4)
			if _, err := io.ReadFull(there, got); err != nil || string(got) != "peer" || <-echo != nil {
				t.Fatalf("%q, %v", got, err)
			}
		}
		var stalled sync.WaitGroup
		defer stalled.Wait()
		for _, s := range streams { // nobody reads them
			stalled.Go(func() { s.Write(make([]byte, 4<<20)) })
			defer s.Cancel()
		}
		w.wish(blue, want(blue, 1))
		w.hub.Changed(idOf(key))
		if got := next[control.Assign](d); got.ID != blue {
			t.Errorf("assigned %+v", got)
		}
		d.conn.Close(0, "")
		if event[bool](w) {
			t.Error("the device is still said to be online")
		}
		for _, s := range streams {
			if _, err := s.Read(make([]byte, 1)); err == nil || err == io.EOF {
				t.Errorf("a stream of a session that was lost ends with %v", err)
			}
		}
	})
}

// stuckConn is a connection that takes streams, and nothing on them.
type stuckConn struct{ link.Conn }

func (stuckConn) Open(context.Context) (link.Stream, error) {
	return &stuckStream{cancelled: make(chan struct{})}, nil
}

type stuckStream struct {
	link.Stream
	cancelled chan struct{}
}

func (s *stuckStream) Write([]byte) (int, error) { <-s.cancelled; return 0, link.ErrCancelled }
func (s *stuckStream) Cancel()                   { close(s.cancelled) }

func TestAStreamThatADeviceDoesNotTakeEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := NewHub(Config{})
		h.sessions["attic"] = &session{cfg: h.cfg, conn: stuckConn{}}
		for name, c := range map[string]struct {
			ctx  func() (context.Context, context.CancelFunc)
			want error
			took time.Duration
		}{
			"a deadline": {func() (context.Context, context.CancelFunc) {
				return context.WithTimeout(t.Context(), 2*time.Second)
			}, context.DeadlineExceeded, 2 * time.Second},
			"an end": {func() (context.Context, context.CancelFunc) {
				ctx, cancel := context.WithCancel(t.Context())
				time.AfterFunc(time.Second, cancel)
				return ctx, cancel
			}, context.Canceled, time.Second},
			"neither": {func() (context.Context, context.CancelFunc) {
				return context.WithCancel(t.Context())
			}, context.DeadlineExceeded, h.cfg.writeTime},
		} {
			ctx, cancel := c.ctx()
			began := time.Now()
			if _, err := h.Open(ctx, "attic", about(red)); !errors.Is(err, c.want) || time.Since(began) != c.took {
				t.Errorf("%s: %v after %v", name, err, time.Since(began))
			}
			cancel()
		}
	})
}

func TestADeviceThatAnswersALayoutGetsNoMoreOfIt(t *testing.T) {
	overBoth(t, func(t *testing.T, w *world) {
		w.wish(red, want(red, 1))
		d := w.joined(newKey(t))
		next[control.Assign](d)
		d.send(control.Progress{ID: red, Generation: 1, State: control.StateLayout})
		event[control.Progress](w)
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		stream, err := d.conn.Accept(ctx)
		if err != nil {
			t.Fatal(err)
		}
		stream.Write([]byte("thank you"))
		for err == nil {
			_, err = stream.Write([]byte("more"))
		}
		if !errors.Is(err, link.ErrCancelled) {
			t.Errorf("who answers is told %v", err)
		}
		d.layout() // a minute later, as it still wants it
	})
}

func TestAClientWithoutAKeyDoesNotReachTheHub(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	conf, err := control.AgentTLS(newKey(t), w.pin)
	if err != nil {
		t.Fatal(err)
	}
	conf.Certificates = nil
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, err := link.DialTCP(ctx, w.tcp, conf)
	if err == nil { // it is told later
		(&device{t: t, conn: c}).gone()
	}
	w.served()
}
