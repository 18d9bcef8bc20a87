package relay

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/quic-go/quic-go"

	"simplebit/wire/control"
	"simplebit/wire/link"
)

const patience = 20 * time.Second // for what must happen

// keys are those of a surrogate and of a device.
type keys struct{ surrogate, device *tls.Config }

func newKeys(t *testing.T) keys {
	t.Helper()
	key := func() ed25519.PrivateKey {
		k, err := control.NewKey()
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	deployment := key()
	surrogate, err := control.SurrogateTLS(key(), deployment)
	if err != nil {
		t.Fatal(err)
	}
	device, err := control.AgentTLS(key(), control.PinOf(deployment.Public().(ed25519.PublicKey)))
	if err != nil {
		t.Fatal(err)
	}
	return keys{surrogate, device}
}

// connect returns both ends of a control connection on this machine.
func connect(t *testing.T, over link.Transport) (surrogate, device link.Conn) {
	t.Helper()
	k := newKeys(t)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var ln link.Listener
	dial := func() (link.Conn, error) { return link.DialTCP(ctx, ln.Addr(), k.device) }
	if over == link.TCP {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		ln = link.ListenTCP(l, k.surrogate, link.Limits{})
	} else {
		transport := func() *quic.Transport {
			socket, err := net.ListenPacket("udp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			q := &quic.Transport{Conn: socket}
			t.Cleanup(func() { q.Close(); socket.Close() })
			return q
		}
		l, err := transport().Listen(k.surrogate, nil)
		if err != nil {
			t.Fatal(err)
		}
		ln = link.ListenQUIC(l)
		from := transport()
		dial = func() (link.Conn, error) { return link.DialQUIC(ctx, from, ln.Addr(), k.device, nil) }
	}
	dialled := make(chan error, 1)
	go func() {
		var err error
		device, err = dial()
		dialled <- err
	}()
	surrogate, err := ln.Accept(ctx)
	if err := errors.Join(err, <-dialled); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { device.Close(0, ""); surrogate.Close(0, "") })
	return surrogate, device
}

// linked is two devices that are relayed, over control connections as they are.
type linked struct {
	*Relays
	conns [2]link.Conn // the devices' ends
	ends  [2]link.Stream
	ended chan error
}

func joined(t *testing.T, over [2]link.Transport) *linked {
	t.Helper()
	l := &linked{ended: make(chan error, 1)}
	surrogate := map[control.DeviceID]link.Conn{}
	sides := [2]Side{side("attic"), side("barn")}
	for i, s := range sides {
		surrogate[s.Device], l.conns[i] = connect(t, over[i])
	}
	l.Relays = New(Config{
		Rate: 1 << 30,
		Open: func(ctx context.Context, d control.DeviceID, header control.Relay) (link.Stream, error) {
			s, err := surrogate[d].Open(ctx)
			if err != nil {
				return nil, err
			}
			return s, control.WriteMessage(s, header)
		},
		Ended: func(_, _ control.DeviceID, _ [20]byte, err error) { l.ended <- err },
	})
	t.Cleanup(l.Close)
	l.Start(sides[0], sides[1], torrent)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for i, c := range l.conns {
		s, err := c.Accept(ctx)
		if err != nil {
			t.Fatal(err)
		}
		s.SetDeadline(time.Now().Add(patience))
		if m, _, err := control.ReadHeader(s); err != nil || m.(control.Relay).Peer != sides[1-i].Name {
			t.Fatalf("%s is told %+v, %v", sides[i].Name, m, err)
		}
		l.ends[i] = s
	}
	return l
}

// endsWith waits for the end.
func (l *linked) endsWith(t *testing.T, ok func(error) bool) {
	t.Helper()
	select {
	case err := <-l.ended:
		if !ok(err) {
			t.Errorf("ended with %v", err)
		}
	case <-time.After(patience):
		t.Error("goes on")
	}
}

// eachWay runs f with every pair of transports.
func eachWay(t *testing.T, f func(t *testing.T, l *linked)) {
	for _, a := range []link.Transport{link.QUIC, link.TCP} {
		for _, b := range []link.Transport{link.QUIC, link.TCP} {
			t.Run(a.String()+" to "+b.String(), func(t *testing.T) { f(t, joined(t, [2]link.Transport{a, b})) })
		}
	}
}

func TestMuchIsRelayedWholeBetweenAllTransports(t *testing.T) {
	eachWay(t, func(t *testing.T, l *linked) {
		content := bytes.Repeat([]byte("0123456789abcdef!"), 50_000)
		sent := make(chan error, 2)
		for _, from := range l.ends {
			go func() {
				_, err := from.Write(content)
				sent <- errors.Join(err, from.CloseWrite())
			}()
		}
		read := make(chan error, 1)
		go func() {
			got, err := io.ReadAll(l.ends[0])
			if err == nil && !bytes.Equal(got, content) {
				err = errors.New("altered")
			}
			read <- err
		}()
		got, err := io.ReadAll(l.ends[1])
		if err := errors.Join(err, <-read, <-sent, <-sent); err != nil || !bytes.Equal(got, content) {
			t.Errorf("%d bytes, %v", len(got), err)
		}
		l.endsWith(t, func(err error) bool { return err == nil })
		for _, name := range []string{"attic", "barn"} {
			if down, up := l.Counts(side(name).Device, torrent); down != int64(len(content)) || up != int64(len(content)) {
				t.Errorf("%s: %d down, %d up, want %d each", name, down, up, len(content))
			}
		}
	})
}

func TestADeviceThatNeedsNoRelayEndsItForTheOther(t *testing.T) {
	eachWay(t, func(t *testing.T, l *linked) {
		if _, err := l.ends[0].Write(make([]byte, 68)); err != nil {
			t.Fatal(err)
		}
		l.ends[1].Cancel()
		if _, err := l.ends[0].Read(make([]byte, 1)); !errors.Is(err, link.ErrCancelled) {
			t.Errorf("the other reads %v", err)
		}
		l.endsWith(t, func(err error) bool { return err == nil })
		if got := l.Totals(); got.Live != 0 || got.Started != 1 || got.Bytes > 68 {
			t.Errorf("in all %+v", got)
		}
	})
}

func TestADeviceThatIsCutOffEndsTheRelayAtOnce(t *testing.T) {
	eachWay(t, func(t *testing.T, l *linked) {
		l.conns[1].Close(0, "")
		if _, err := l.ends[0].Read(make([]byte, 1)); !errors.Is(err, link.ErrCancelled) {
			t.Errorf("the other reads %v", err)
		}
		l.endsWith(t, func(err error) bool { return err != nil })
	})
}
