package dial

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"simplebit/wire/mse"
	"simplebit/wire/peer"
)

// A listener is what kind of peer is at an address.
type listener struct {
	plaintext bool        // it takes plaintext
	policy    mse.Policy  // of its encryption
	seen      *[]string   // what it was sent: "plain" or "encrypted"
	torrent   [20]byte    // that it has
	method    *mse.Method // that it selected
}

func (l listener) serve(c net.Conn) {
	g, err := readGreeting(c)
	if err != nil {
		return
	}
	if g.plain() {
		*l.seen = append(*l.seen, "plain")
		if _, err := readRest(c, g); err == nil && l.plaintext {
			c.Write(them.AppendMarshal(nil))
			io.Copy(io.Discard, c)
		}
		return
	}
	*l.seen = append(*l.seen, "encrypted")
	find := func(req2 [20]byte) ([20]byte, bool) { return l.torrent, req2 == mse.ReqHash(l.torrent) }
	e, err := mse.Accept(c, g[:], find, l.policy)
	if err != nil {
		return
	}
	*l.method = e.Method
	if _, err := readHandshake(e); err == nil {
		e.Write(them.AppendMarshal(nil))
		io.Copy(io.Discard, e)
	}
}

func TestDialSpeaksEncryptionWithWhoInsists(t *testing.T) {
	only := listener{plaintext: true, policy: mse.Off, torrent: hash} // plaintext only
	both := listener{plaintext: true, policy: mse.Prefer, torrent: hash}
	insists := listener{policy: mse.Prefer, torrent: hash} // on the handshake
	rc4 := listener{policy: mse.Require, torrent: hash}
	lacks := listener{plaintext: false, policy: mse.Prefer, torrent: [20]byte{9}}
	const plain, rc4Stream = mse.Plaintext, mse.RC4
	for _, c := range []struct {
		name   string
		policy mse.Policy
		known  bool
		peer   listener
		seen   string
		method mse.Method // 0: without encryption
		err    error
	}{
		{"prefer, plaintext alone", mse.Prefer, false, only, "plain", 0, nil},
		{"prefer, either", mse.Prefer, false, both, "plain", 0, nil},
		{"prefer, insists on the handshake", mse.Prefer, false, insists, "plain encrypted", plain, nil},
		{"prefer, insists on RC4", mse.Prefer, false, rc4, "plain encrypted", rc4Stream, nil},
		{"prefer, known to insist", mse.Prefer, true, rc4, "encrypted", rc4Stream, nil},
		{"prefer, known but plaintext now", mse.Prefer, true, only, "encrypted plain", 0, nil},
		{"prefer, lacks the torrent", mse.Prefer, false, lacks, "plain encrypted", 0, errUnanswered},
		{"require, plaintext alone", mse.Require, false, only, "encrypted", 0, errUnanswered},
		{"require, either", mse.Require, false, both, "encrypted", rc4Stream, nil},
		{"require, insists on RC4", mse.Require, true, rc4, "encrypted", rc4Stream, nil},
		{"off, either", mse.Off, false, both, "plain", 0, nil},
		{"off, insists", mse.Off, true, insists, "plain", 0, errUnanswered},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var seen []string
				var method mse.Method
				c.peer.seen, c.peer.method = &seen, &method
				w := &world{began: time.Now()}
				d := Dialer{UTP: tried{w, transport{peer: c.peer.serve}}, TCP: tried{w, transport{after: never}}, Encryption: c.policy}
				conn, err := d.Dial(t.Context(), where, us, Way{Encrypted: c.known})
				if !errors.Is(err, c.err) {
					t.Fatalf("error %v, want %v", err, c.err)
				}
				synctest.Wait()
				if got := strings.Join(seen, " "); got != c.seen {
					t.Errorf("the peer saw %q, want %q", got, c.seen)
				}
				if want := strings.Repeat(", utp 0s", len(seen))[2:]; w.dialled() != want {
					t.Errorf("dialled %s, want %s", w.dialled(), want)
				}
				if err != nil {
					if w.open != 0 {
						t.Errorf("%d connections were left open", w.open)
					}
					return
				}
				defer conn.Close()
				if w.open != 1 || conn.Peer != them {
					t.Errorf("%d connections are open, the peer is %+v", w.open, conn.Peer)
				}
				if method != c.method || conn.Encrypted != (method != 0) || conn.Way() != (Way{UTP, conn.Encrypted}) {
					t.Errorf("method %v, want %v; encrypted %v, way %v", method, c.method, conn.Encrypted, conn.Way())
				}
			})
		})
	}
}

// keys answers the first half of an initiator's handshake as a responder would.
func keys(c net.Conn) { c.Write(slices.Repeat([]byte{0x5a}, 96)) }

// aWhile is longer than any handshake may take, and shorter than the tests wait for the end of their peers.
const aWhile = 30 * time.Second

func TestHostilePeersDoNotHoldADialPastItsTimeout(t *testing.T) {
	drain := func(c net.Conn) { go io.Copy(io.Discard, c) }
	drip := func(c net.Conn, b []byte) {
		for _, b := range b {
			time.Sleep(time.Second)
			if _, err := c.Write([]byte{b}); err != nil {
				return
			}
		}
	}
	for _, c := range []struct {
		name string
		peer func(net.Conn)
		err  error
		took time.Duration
	}{
		{"silence", func(c net.Conn) { io.Copy(io.Discard, c) }, context.DeadlineExceeded, DefaultTimeout},
		{"silence after the key", func(c net.Conn) { drain(c); keys(c); time.Sleep(aWhile) }, context.DeadlineExceeded, DefaultTimeout},
		{"garbage after the key", func(c net.Conn) {
			drain(c)
			keys(c)
			c.Write(bytes.Repeat([]byte("garbage "), 200))
		}, peer.ErrHandshake, 0},
		{"a key a byte a second", func(c net.Conn) { drain(c); drip(c, make([]byte, 96)) }, context.DeadlineExceeded, DefaultTimeout},
		{"a pad a byte a second", func(c net.Conn) { drain(c); keys(c); drip(c, make([]byte, 512)) }, context.DeadlineExceeded, DefaultTimeout},
		{"reads nothing", func(c net.Conn) { time.Sleep(aWhile) }, context.DeadlineExceeded, DefaultTimeout},
		{"silence after the encryption", func(c net.Conn) {
			if _, err := mse.Accept(c, nil, serving.Find, mse.Prefer); err == nil {
				io.Copy(io.Discard, c)
			}
		}, context.DeadlineExceeded, DefaultTimeout},
		{"another torrent after the encryption", func(c net.Conn) {
			if e, err := mse.Accept(c, nil, serving.Find, mse.Prefer); err == nil {
				e.Write(peer.Handshake{InfoHash: [20]byte{9}}.AppendMarshal(nil))
				io.Copy(io.Discard, c)
			}
		}, ErrInfoHash, 0},
		{"ourselves after the encryption", func(c net.Conn) {
			if e, err := mse.Accept(c, nil, serving.Find, mse.Prefer); err == nil {
				e.Write(us.AppendMarshal(nil))
				io.Copy(io.Discard, c)
			}
		}, ErrSelf, 0},
		{"hangs up after the encryption", func(c net.Conn) { mse.Accept(c, nil, serving.Find, mse.Prefer) }, io.ErrUnexpectedEOF, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := &world{began: time.Now()}
				d := Dialer{TCP: tried{w, transport{peer: c.peer}}, Encryption: mse.Require}
				_, err := d.Dial(t.Context(), where, us, Way{})
				if took := time.Since(w.began); !errors.Is(err, c.err) || took != c.took {
					t.Errorf("error %v after %v, want %v after %v", err, took, c.err, c.took)
				}
				if w.open != 0 || w.dialled() != "tcp 0s" {
					t.Errorf("%d connections were left open; dialled %s", w.open, w.dialled())
				}
				time.Sleep(time.Minute)
			})
		})
	}
}

func TestSecondTryHasTheTimeThatTheFirstLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tries := 0
		w := &world{began: time.Now()}
		d := Dialer{TCP: tried{w, transport{after: time.Second, peer: func(c net.Conn) {
			if tries++; tries == 1 {
				time.Sleep(6 * time.Second)
				return
			}
			io.Copy(io.Discard, c)
		}}}}
		_, err := d.Dial(t.Context(), where, us, Way{})
		if took := time.Since(w.began); !errors.Is(err, context.DeadlineExceeded) || took != DefaultTimeout {
			t.Errorf("error %v after %v, want context.DeadlineExceeded after %v", err, took, DefaultTimeout)
		}
		if want := "tcp 0s, tcp 7s"; w.dialled() != want || w.open != 0 {
			t.Errorf("dialled %s, want %s; %d are open", w.dialled(), want, w.open)
		}
		if !errors.Is(err, io.ErrClosedPipe) || strings.Contains(err.Error(), "\n") || !strings.Contains(err.Error(), "then encrypted") {
			t.Errorf("error %q does not tell of both tries in one line", err)
		}
	})
}

func TestAcceptHonoursThePolicy(t *testing.T) {
	other := us.InfoHash
	other[0]++
	for _, c := range []struct {
		name      string
		policy    mse.Policy
		provide   mse.Method // 0: plaintext handshake
		torrent   [20]byte   // that the encryption is for
		method    mse.Method
		err       error
		encrypted bool
	}{
		{"prefer, plaintext", mse.Prefer, 0, hash, 0, nil, false},
		{"prefer, plaintext offered", mse.Prefer, mse.Plaintext | mse.RC4, hash, mse.Plaintext, nil, true},
		{"prefer, RC4 alone", mse.Prefer, mse.RC4, hash, mse.RC4, nil, true},
		{"require, plaintext", mse.Require, 0, hash, 0, mse.ErrPolicy, false},
		{"require, plaintext offered alone", mse.Require, mse.Plaintext, hash, 0, mse.ErrPolicy, false},
		{"require, both offered", mse.Require, mse.Plaintext | mse.RC4, hash, mse.RC4, nil, true},
		{"off, plaintext", mse.Off, 0, hash, 0, nil, false},
		{"off, encrypted", mse.Off, mse.RC4, hash, 0, peer.ErrHandshake, false},
		{"a torrent that is not here", mse.Prefer, mse.RC4, other, 0, ErrUnwanted, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				near, far := net.Pipe()
				defer far.Close()
				var method mse.Method
				go func() {
					if c.provide == 0 {
						far.Write(them.AppendMarshal(nil))
						io.Copy(io.Discard, far)
						return
					}
					if e, err := mse.Dial(far, c.torrent, c.provide, them.AppendMarshal(nil)); err == nil {
						method = e.Method
						io.Copy(io.Discard, e)
					}
					far.Close()
				}()
				a := serving
				a.Encryption = c.policy
				conn, err := Accept(t.Context(), near, a)
				if !errors.Is(err, c.err) {
					t.Fatalf("error %v, want %v", err, c.err)
				}
				synctest.Wait()
				if err != nil {
					if _, err := far.Write([]byte{0}); err != io.ErrClosedPipe {
						t.Errorf("the connection was left open: %v", err)
					}
					return
				}
				defer conn.Close()
				if conn.Peer != them || conn.Encrypted != c.encrypted || method != c.method || conn.Outgoing {
					t.Errorf("peer %+v, encrypted %v, method %v, outgoing %v", conn.Peer, conn.Encrypted, method, conn.Outgoing)
				}
			})
		})
	}
}

func TestAcceptWithoutTorrentsFindsNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		go mse.Dial(far, hash, mse.RC4, nil)
		if _, err := Accept(t.Context(), near, Acceptor{Answer: serving.Answer}); !errors.Is(err, ErrUnwanted) {
			t.Errorf("error %v, want ErrUnwanted", err)
		}
	})
}

func TestAcceptTellsWhyEncryptionFailed(t *testing.T) {
	for _, c := range []struct {
		name  string
		send  func(c net.Conn)
		want  error
		after time.Duration
	}{
		{"half a key", func(c net.Conn) { c.Write(make([]byte, 48)); time.Sleep(aWhile) }, context.DeadlineExceeded, DefaultTimeout},
		{"a key and nothing more", func(c net.Conn) { keys(c); io.Copy(io.Discard, c) }, context.DeadlineExceeded, DefaultTimeout},
		{"a key and no ear", func(c net.Conn) { keys(c); time.Sleep(aWhile) }, context.DeadlineExceeded, DefaultTimeout},
		{"a key and the end before ours", func(c net.Conn) { keys(c); io.ReadFull(c, make([]byte, 95)) }, io.ErrClosedPipe, 0},
		{"a key and garbage", func(c net.Conn) {
			go io.Copy(io.Discard, c)
			keys(c)
			c.Write(bytes.Repeat([]byte("garbage "), 200))
		}, peer.ErrHandshake, 0},
		{"a pad a byte a second", func(c net.Conn) {
			go io.Copy(io.Discard, c)
			keys(c)
			for err := error(nil); err == nil; time.Sleep(time.Second) {
				_, err = c.Write([]byte{0})
			}
		}, context.DeadlineExceeded, DefaultTimeout},
		{"no handshake in it", func(c net.Conn) {
			if e, err := mse.Dial(c, hash, mse.RC4, nil); err == nil {
				io.Copy(io.Discard, e)
			}
		}, context.DeadlineExceeded, DefaultTimeout},
		{"another torrent's handshake in it", func(c net.Conn) {
			h := them
			h.InfoHash[0]++
			if e, err := mse.Dial(c, hash, mse.RC4, h.AppendMarshal(nil)); err == nil {
				io.Copy(io.Discard, e)
			}
		}, ErrInfoHash, 0},
		{"encryption in the encryption", func(c net.Conn) {
			if e, err := mse.Dial(c, hash, mse.RC4, nil); err == nil {
				mse.Dial(e, hash, mse.RC4, nil)
			}
		}, peer.ErrHandshake, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				near, far := net.Pipe()
				go func() {
					c.send(far)
					far.Close()
				}()
				start := time.Now()
				_, err := Accept(t.Context(), near, serving)
				if took := time.Since(start); !errors.Is(err, c.want) || took != c.after {
					t.Errorf("error %v after %v, want %v after %v", err, took, c.want, c.after)
				}
				if _, err := far.Write([]byte{0}); err != io.ErrClosedPipe {
					t.Errorf("the connection was left open: %v", err)
				}
				time.Sleep(time.Minute)
			})
		})
	}
}

// TestPeerThatResetsPlaintextIsMetByEncryptionOverTCP has a peer that does not read the whole handshake before it closes, so
// that it is a reset that we see.
func TestPeerThatResetsPlaintextIsMetByEncryptionOverTCP(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	accepted := make(chan *Conn, 1)
	go func() {
		defer close(accepted)
		for try := range 2 {
			c, err := l.Accept()
			if err != nil {
				t.Error(err)
				return
			}
			a := Acceptor{Answer: func([20]byte) (peer.Handshake, bool) { return them, true }, Find: serving.Find, Encryption: mse.Require}
			conn, err := Accept(t.Context(), c, a)
			if (try == 0) != errors.Is(err, mse.ErrPolicy) {
				t.Errorf("try %d: %v", try, err)
			}
			if err == nil {
				accepted <- conn
			}
		}
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
	if other.Peer != us || c.Peer != them || !other.Encrypted || c.Way() != (Way{TCP, true}) || other.Way() != (Way{TCP, true}) {
		t.Errorf("they have %+v and we have %+v", other, c)
	}
	bufs := net.Buffers{peer.AppendPieceHeader(nil, 1, 2, 4), []byte("data")}
	if _, err := other.Conn.(*mse.Conn).WriteBuffers(&bufs); err != nil {
		t.Fatal(err)
	}
	if m, err := peer.NewReader(c).Next(); err != nil || m.Length != 4 {
		t.Errorf("first message %+v, %v", m, err)
	}
}
