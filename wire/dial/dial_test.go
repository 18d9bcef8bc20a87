package dial

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"simplebit/wire/mse"
	"simplebit/wire/peer"
)

var (
	hash  = [20]byte{1, 2, 3}
	us    = peer.Handshake{Reserved: peer.Reserved(true, true), InfoHash: hash, PeerID: [20]byte{'u', 's'}}
	them  = peer.Handshake{Reserved: peer.Reserved(false, true), InfoHash: hash, PeerID: [20]byte{'t', 'h', 'e', 'm'}}
	where = netip.MustParseAddrPort("198.18.0.1:6881")
)

// pipes is a network on which every address is served by one function, at the other end of a pipe.
type pipes func(c net.Conn)

func (p pipes) DialContext(_ context.Context, network, address string) (net.Conn, error) {
	if network != "tcp" || address != where.String() {
		return nil, errors.New("dialled " + network + " " + address)
	}
	near, far := net.Pipe()
	go p(far)
	return near, nil
}

// answers is a peer that reads a handshake and sends one of its own.
func answers(h peer.Handshake) pipes {
	return func(c net.Conn) {
		if _, err := io.ReadFull(c, make([]byte, peer.HandshakeSize)); err == nil {
			c.Write(h.AppendMarshal(nil))
		}
	}
}

func TestDialledPeerSendsItsFirstMessageAfterTheHandshake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := Dialer{TCP: pipes(func(c net.Conn) {
			answers(them)(c)
			time.Sleep(time.Hour) // longer than any deadline that the handshake left behind
			c.Write(peer.Message{Type: peer.TypeUnchoke}.Append(nil))
		})}
		mapped := netip.AddrPortFrom(netip.MustParseAddr("::ffff:198.18.0.1"), 6881)
		c, err := d.Dial(t.Context(), mapped, us, Way{})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if c.Peer != them || !c.Outgoing || c.Transport != TCP {
			t.Errorf("peer %+v, outgoing %v, transport %v", c.Peer, c.Outgoing, c.Transport)
		}
		if m, err := peer.NewReader(c).Next(); err != nil || m.Type != peer.TypeUnchoke {
			t.Errorf("first message %+v, %v", m, err)
		}
	})
}

func TestDialTellsWhyAHandshakeFailed(t *testing.T) {
	other := them
	other.InfoHash[0] = 9
	for _, c := range []struct {
		name  string
		peer  pipes
		want  error
		after time.Duration
	}{
		{"another torrent", answers(other), ErrInfoHash, 0},
		{"ourselves", answers(us), ErrSelf, 0},
		{"a web server", func(c net.Conn) {
			io.ReadFull(c, make([]byte, peer.HandshakeSize))
			io.WriteString(c, "HTTP/1.1 400 Bad Request\r\n")
		}, peer.ErrHandshake, 0},
		{"one that hangs up", func(c net.Conn) { c.Close() }, io.ErrClosedPipe, 0},
		{"one that reads and hangs up", func(c net.Conn) {
			io.ReadFull(c, make([]byte, peer.HandshakeSize))
			c.Close()
		}, io.ErrUnexpectedEOF, 0},
		{"one that hangs up half-way", func(c net.Conn) {
			io.ReadFull(c, make([]byte, peer.HandshakeSize))
			c.Write(them.AppendMarshal(nil)[:40])
			c.Close()
		}, io.ErrUnexpectedEOF, 0},
		{"one that never reads", func(net.Conn) {}, context.DeadlineExceeded, DefaultTimeout},
		{"one that sends a byte a second", func(c net.Conn) {
			io.ReadFull(c, make([]byte, peer.HandshakeSize))
			for _, b := range them.AppendMarshal(nil) {
				time.Sleep(time.Second)
				if _, err := c.Write([]byte{b}); err != nil {
					return
				}
			}
		}, context.DeadlineExceeded, DefaultTimeout},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var far net.Conn
				start := time.Now()
				d := Dialer{TCP: pipes(func(conn net.Conn) { far = conn; c.peer(conn) })}
				_, err := d.Dial(t.Context(), where, us, Way{})
				if !errors.Is(err, c.want) {
					t.Errorf("error %v, want %v", err, c.want)
				}
				if !strings.Contains(err.Error(), where.String()) || strings.Contains(err.Error(), "\n") {
					t.Errorf("error %q is no line that names the peer", err)
				}
				if took := time.Since(start); took != c.after {
					t.Errorf("took %v, want %v", took, c.after)
				}
				time.Sleep(time.Minute) // for the peer to find out
				synctest.Wait()
				if _, err := far.Write([]byte{0}); err != io.ErrClosedPipe {
					t.Errorf("the connection was left open: %v", err)
				}
			})
		})
	}
}

func TestDialStopsWhenTheContextEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(3*time.Second, cancel)
		start := time.Now()
		_, err := (&Dialer{TCP: pipes(func(net.Conn) {})}).Dial(ctx, where, us, Way{})
		if !errors.Is(err, context.Canceled) || time.Since(start) != 3*time.Second {
			t.Errorf("error %v after %v, want context.Canceled after 3s", err, time.Since(start))
		}
	})
}

// lastMoment is a connection on which the context ends just before the peer's handshake is read.
type lastMoment struct {
	net.Conn
	cancel context.CancelFunc
	theirs *bytes.Reader
}

func (c lastMoment) Read(b []byte) (int, error) {
	c.cancel()
	return c.theirs.Read(b)
}

func (c lastMoment) Write(b []byte) (int, error) { return len(b), nil }

func (c lastMoment) DialContext(context.Context, string, string) (net.Conn, error) { return c, nil }

func TestContextThatEndsWithTheHandshakeGivesNoConnection(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	near, far := net.Pipe()
	_, err := (&Dialer{TCP: lastMoment{near, cancel, bytes.NewReader(them.AppendMarshal(nil))}}).Dial(ctx, where, us, Way{})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want context.Canceled", err)
	}
	if _, err := far.Write([]byte{0}); err != io.ErrClosedPipe {
		t.Errorf("the connection was left open: %v", err)
	}
}

func TestDialHasTheTimeoutThatWasConfigured(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		_, err := (&Dialer{TCP: pipes(func(net.Conn) {}), Timeout: time.Minute}).Dial(t.Context(), where, us, Way{})
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != time.Minute {
			t.Errorf("error %v after %v, want context.DeadlineExceeded after 1m", err, time.Since(start))
		}
	})
}

// dropping is a network that drops everything.
type dropping struct{}

func (dropping) DialContext(ctx context.Context, _, _ string) (net.Conn, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func TestConnectMayHaveLessTimeThanTheHandshake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		_, err := (&Dialer{TCP: dropping{}, Connect: 3 * time.Second}).Dial(t.Context(), where, us, Way{})
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != 3*time.Second {
			t.Errorf("connect: error %v after %v, want context.DeadlineExceeded after 3s", err, time.Since(start))
		}
		start = time.Now()
		d := Dialer{TCP: pipes(func(c net.Conn) { time.Sleep(5 * time.Second); answers(them)(c) }), Connect: 3 * time.Second}
		c, err := d.Dial(t.Context(), where, us, Way{})
		if err != nil || time.Since(start) != 5*time.Second {
			t.Fatalf("handshake: error %v after %v, want none after 5s", err, time.Since(start))
		}
		c.Close()
	})
}

func TestAddressesThatNoPeerCanHaveAreNotDialled(t *testing.T) {
	d := Dialer{TCP: pipes(func(net.Conn) { t.Error("dialled") })}
	for _, a := range []string{"198.18.0.1:0", "0.0.0.0:1", "[::]:1", "224.0.0.1:1", "[::ffff:0.0.0.0]:1"} {
		if _, err := d.Dial(t.Context(), netip.MustParseAddrPort(a), us, Way{}); !errors.Is(err, ErrAddress) {
			t.Errorf("%s: error %v, want ErrAddress", a, err)
		}
	}
	if _, err := d.Dial(t.Context(), netip.AddrPort{}, us, Way{}); !errors.Is(err, ErrAddress) {
		t.Errorf("no address: error %v, want ErrAddress", err)
	}
}

// serving serves the one torrent there is.
var serving = Acceptor{
	Answer: func(got [20]byte) (peer.Handshake, bool) { return us, got == hash },
	Find:   func(req2 [20]byte) ([20]byte, bool) { return hash, req2 == mse.ReqHash(hash) },
}

func TestAcceptedPeerIsAnsweredWithTheHandshakeOfItsTorrent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		defer far.Close()
		go func() {
			far.Write(them.AppendMarshal(nil))
			var b [peer.HandshakeSize]byte
			io.ReadFull(far, b[:])
			if h, err := peer.ParseHandshake(b[:]); err != nil || h != us {
				t.Errorf("answered with %+v, %v", h, err)
			}
			time.Sleep(time.Hour)
			far.Write(peer.Message{KeepAlive: true}.Append(nil))
		}()
		c, err := Accept(t.Context(), near, serving)
		if err != nil {
			t.Fatal(err)
		}
		if c.Peer != them || c.Outgoing || c.Transport != TCP {
			t.Errorf("peer %+v, outgoing %v, transport %v", c.Peer, c.Outgoing, c.Transport)
		}
		if m, err := peer.NewReader(c).Next(); err != nil || !m.KeepAlive {
			t.Errorf("first message %+v, %v", m, err)
		}
	})
}

func TestAcceptTellsWhyAHandshakeFailed(t *testing.T) {
	other := them
	other.InfoHash[0] = 9
	for _, c := range []struct {
		name  string
		send  []byte
		close bool
		want  error
		after time.Duration
	}{
		{"a torrent that is not here", other.AppendMarshal(nil), false, ErrUnwanted, 0},
		{"ourselves", us.AppendMarshal(nil), false, ErrSelf, 0},
		{"silence", nil, false, context.DeadlineExceeded, FirstByte},
		{"one byte and silence", []byte{19}, false, context.DeadlineExceeded, DefaultTimeout},
		{"half a handshake", them.AppendMarshal(nil)[:48], false, context.DeadlineExceeded, DefaultTimeout},
		{"half a handshake and the end", them.AppendMarshal(nil)[:48], true, io.ErrUnexpectedEOF, 0},
		{"no wish for an answer", them.AppendMarshal(nil), false, context.DeadlineExceeded, DefaultTimeout},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				near, far := net.Pipe()
				go func() {
					far.Write(c.send)
					if c.close {
						far.Close()
					}
				}()
				start := time.Now()
				_, err := Accept(t.Context(), near, serving)
				if !errors.Is(err, c.want) {
					t.Errorf("error %v, want %v", err, c.want)
				}
				if took := time.Since(start); took != c.after {
					t.Errorf("took %v, want %v", took, c.after)
				}
				synctest.Wait()
				if _, err := far.Write([]byte{0}); err != io.ErrClosedPipe {
					t.Errorf("the connection was left open: %v", err)
				}
			})
		})
	}
}

func TestZeroDialerAndAcceptMeetOverTCP(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	accepted := make(chan *Conn, 1)
	go func() {
		defer close(accepted)
		c, err := l.Accept()
		if err != nil {
			t.Error(err)
			return
		}
		conn, err := Accept(t.Context(), c, Acceptor{Answer: func([20]byte) (peer.Handshake, bool) { return them, true }})
		if err != nil {
			t.Error(err)
			return
		}
		accepted <- conn
	}()
	c, err := (&Dialer{}).Dial(t.Context(), l.Addr().(*net.TCPAddr).AddrPort(), us, Way{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	other, ok := <-accepted
	if !ok {
		t.FailNow()
	}
	defer other.Close()
	if other.Peer != us || c.Peer != them {
		t.Errorf("they saw %+v and we saw %+v", other.Peer, c.Peer)
	}
	bufs := net.Buffers{peer.AppendPieceHeader(nil, 1, 2, 4), []byte("data")}
	if _, err := bufs.WriteTo(other.Conn); err != nil {
		t.Fatal(err)
	}
	if m, err := peer.NewReader(c).Next(); err != nil || m.Length != 4 {
		t.Errorf("first message %+v, %v", m, err)
	}
}

func TestControlHookCanForbidAnAddress(t *testing.T) {
	forbidden := errors.New("private addresses are not dialled")
	d := Dialer{TCP: &net.Dialer{Control: func(string, string, syscall.RawConn) error { return forbidden }}}
	if _, err := d.Dial(t.Context(), netip.MustParseAddrPort("127.0.0.1:1"), us, Way{}); !errors.Is(err, forbidden) {
		t.Errorf("error %v, want that of the hook", err)
	}
}
