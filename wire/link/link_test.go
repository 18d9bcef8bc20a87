package link

import (
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"go.uber.org/goleak"

	"simplebit/wire/control"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds whatever a test waits for.
const patience = 30 * time.Second

// keys are those of an agent and of its surrogate.
type keys struct {
	device           control.DeviceID
	agent, surrogate *tls.Config
}

func newKeys(t testing.TB) keys {
	t.Helper()
	own, deployment := newKey(t), newKey(t)
	k := keys{device: control.DeviceIDOf(own.Public().(ed25519.PublicKey))}
	var err error
	if k.agent, err = control.AgentTLS(own, control.PinOf(deployment.Public().(ed25519.PublicKey))); err != nil {
		t.Fatal(err)
	}
	if k.surrogate, err = control.SurrogateTLS(newKey(t), deployment); err != nil {
		t.Fatal(err)
	}
	return k
}

func newKey(t testing.TB) ed25519.PrivateKey {
	t.Helper()
	key, err := control.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// place is a surrogate that listens over one transport.
type place struct {
	Listener
	dial func(ctx context.Context, t *tls.Config) (Conn, error)
}

func listen(t testing.TB, over Transport, conf *tls.Config) place {
	t.Helper()
	if over == TCP {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		ln := ListenTCP(l, conf, Limits{})
		return place{ln, func(ctx context.Context, t *tls.Config) (Conn, error) { return DialTCP(ctx, ln.Addr(), t) }}
	}
	server := &quic.Transport{Conn: udp(t)}
	t.Cleanup(func() { server.Close() })
	l, err := server.Listen(conf, &quic.Config{
		MaxIncomingStreams: agentStreams, MaxIncomingUniStreams: -1,
		InitialStreamReceiveWindow: 64 << 10, MaxStreamReceiveWindow: 96 << 10,
	})
	if err != nil {
		t.Fatal(err)
	}
	client := &quic.Transport{Conn: udp(t)}
	t.Cleanup(func() { client.Close() })
	ln := ListenQUIC(l)
	return place{ln, func(ctx context.Context, t *tls.Config) (Conn, error) {
		return DialQUIC(ctx, client, ln.Addr(), t, &quic.Config{
			MaxIncomingStreams: surrogateStreams, MaxIncomingUniStreams: -1,
			InitialStreamReceiveWindow: 64 << 10, MaxStreamReceiveWindow: 96 << 10,
		})
	}}
}

func udp(t testing.TB) net.PacketConn {
	t.Helper()
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// pair is a connection's two ends.
type pair struct{ agent, surrogate Conn }

func connect(t testing.TB, over Transport) pair {
	t.Helper()
	k := newKeys(t)
	return meet(t, listen(t, over, k.surrogate), k.agent)
}

func meet(t testing.TB, at place, conf *tls.Config) (p pair) {
	t.Helper()
	var err error
	if p.agent, err = at.dial(soon(t), conf); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.agent.Close(0, "") })
	if p.surrogate, err = at.Accept(soon(t)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.surrogate.Close(0, "") })
	return p
}

// soon is the time in which whatever a test waits for has to happen.
func soon(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// stream opens one, says a word on it, and returns both ends.
func stream(t testing.TB, from, to Conn) (here, there Stream) {
	t.Helper()
	here, err := from.Open(soon(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(here.Cancel)
	say(t, here, "hello")
	if there, err = to.Accept(soon(t)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(there.Cancel)
	hear(t, there, "hello")
	return here, there
}

func say(t testing.TB, s Stream, word string) {
	t.Helper()
	if n, err := s.Write([]byte(word)); n != len(word) || err != nil {
		t.Fatalf("wrote %d bytes of %q: %v", n, word, err)
	}
}

func hear(t testing.TB, s Stream, word string) {
	t.Helper()
	s.SetReadDeadline(time.Now().Add(patience))
	defer s.SetReadDeadline(time.Time{})
	got := make([]byte, len(word))
	if n, err := io.ReadFull(s, got); err != nil {
		t.Fatalf("heard %q, want %q: %v", got[:n], word, err)
	}
	if string(got) != word {
		t.Fatalf("heard %q, want %q", got, word)
	}
}

// until waits for something that happens on its own.
func until(t testing.TB, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !f(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("waited in vain: " + what)
		}
	}
}

func closed(t testing.TB, c Conn) {
	t.Helper()
	select {
	case <-c.Done():
	case <-time.After(patience):
		t.Fatal("the connection lives on")
	}
}

func both(t *testing.T, f func(t *testing.T, over Transport)) {
	for _, over := range []Transport{QUIC, TCP} {
		t.Run(over.String(), func(t *testing.T) { t.Parallel(); f(t, over) })
	}
}

var loopback = netip.MustParseAddr("127.0.0.1")
