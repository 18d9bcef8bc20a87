package link

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"runtime"
	"testing"
	"time"

	"simplebit/wire/control"
)

func TestStrangersAreNotLetIn(t *testing.T) {
	for name, change := range map[string]func(t *testing.T, c *tls.Config) *tls.Config{
		"TLS 1.2": func(_ *testing.T, c *tls.Config) *tls.Config {
			c.MinVersion, c.MaxVersion = tls.VersionTLS12, tls.VersionTLS12
			return c
		},
		"another protocol": func(_ *testing.T, c *tls.Config) *tls.Config {
			c.NextProtos = []string{"h2"}
			return c
		},
		"no protocol": func(_ *testing.T, c *tls.Config) *tls.Config {
			c.NextProtos, c.VerifyConnection = nil, nil
			return c
		},
		"no key": func(_ *testing.T, c *tls.Config) *tls.Config {
			c.Certificates = nil
			return c
		},
		"another deployment's agent": func(t *testing.T, c *tls.Config) *tls.Config { return newKeys(t).agent },
	} {
		t.Run(name, func(t *testing.T) {
			both(t, func(t *testing.T, over Transport) {
				k := newKeys(t)
				at := listen(t, over, k.surrogate)
				c, err := at.dial(soon(t), change(t, k.agent.Clone()))
				if err == nil { // a TLS 1.3 client is done before the server has seen its key
					if s, failed := c.Open(soon(t)); failed == nil {
						s.Write([]byte("hello"))
						s.SetReadDeadline(time.Now().Add(patience))
						_, err = s.Read(make([]byte, 1))
					}
					closed(t, c)
				} else if name == "another deployment's agent" && !errors.Is(err, control.ErrWrongPin) {
					t.Errorf("the agent was told %v", err)
				}
				if err == io.EOF || errors.Is(err, ErrCancelled) {
					t.Errorf("the agent was told %v", err)
				}
				meet(t, at, k.agent) // Accept has nobody else to offer
			})
		})
	}
}

// tcpListen listens with other limits, and other times to wait.
func tcpListen(t *testing.T, k keys, limits Limits, timing timing) *tcpListener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return listenTCP(l, k.surrogate, limits, timing)
}

func dialRaw(t *testing.T, to netip.AddrPort) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", to.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetReadDeadline(time.Now().Add(patience))
	return c
}

func TestASilentClientKeepsNobodyWaiting(t *testing.T) {
	t.Parallel()
	k := newKeys(t)
	timing := surrogateTiming()
	timing.shake = 5 * time.Second // a handshake must not take longer
	ln := tcpListen(t, k, Limits{}, timing)
	silent := dialRaw(t, ln.Addr())
	halfway := tls.Client(dialRaw(t, ln.Addr()), k.agent) // done, and then not accepted in time
	if err := halfway.Handshake(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []net.Conn{silent, halfway} {
		if _, err := io.Copy(io.Discard, c); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("it is still connected: %v", err)
		}
	}
	dialled := make(chan Conn, 1)
	go func() {
		c, _ := DialTCP(soon(t), ln.Addr(), k.agent)
		dialled <- c
	}()
	c, err := ln.Accept(soon(t))
	if err != nil {
		t.Fatal(err)
	}
	c.Close(0, "")
	(<-dialled).Close(0, "")
}

func TestWhoIsSilentLongestMakesWayForAnother(t *testing.T) {
	k := newKeys(t)
	timing := surrogateTiming()
	timing.shake = 2 * patience
	ln := tcpListen(t, k, Limits{PerHost: 3, Total: 4}, timing)
	var silent []net.Conn
	for n := range 3 {
		silent = append(silent, dialRaw(t, ln.Addr()))
		until(t, "it is in its handshake", func() bool { return ln.waiting.count() == n+1 })
	}
	c, err := DialTCP(soon(t), ln.Addr(), k.agent)
	if err != nil {
		t.Fatalf("who speaks was kept out: %v", err)
	}
	defer c.Close(0, "")
	if _, err := silent[0].Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the first that was silent got %v, want the end of the connection", err)
	}
	other, err := ln.Accept(soon(t))
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close(0, "")
	until(t, "two wait", func() bool { return ln.waiting.count() == 2 })
}

func TestAListenerEndsWithItsSocket(t *testing.T) {
	ln := tcpListen(t, newKeys(t), Limits{}, surrogateTiming())
	ln.l.Close()
	if _, err := ln.Accept(soon(t)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept ended with %v", err)
	}
}

// raw is a device that speaks yamux by hand.
type raw struct {
	*tls.Conn
	other *tcpConn // the surrogate's end
}

func hostile(t *testing.T, timing timing) raw {
	t.Helper()
	k := newKeys(t)
	ln := tcpListen(t, k, Limits{}, timing)
	c := tls.Client(dialRaw(t, ln.Addr()), k.agent)
	if err := c.Handshake(); err != nil {
		t.Fatal(err)
	}
	other, err := ln.Accept(soon(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { other.Close(0, "") })
	return raw{c, other.(*tcpConn)}
}

func (r raw) frame(typ byte, flags uint16, stream, length uint32, body ...byte) error {
	h := make([]byte, headerSize, headerSize+len(body))
	h[1] = typ
	binary.BigEndian.PutUint16(h[2:], flags)
	binary.BigEndian.PutUint32(h[4:], stream)
	binary.BigEndian.PutUint32(h[8:], length)
	_, err := r.Write(append(h, body...))
	return err
}

// flood sends frames until the connection ends, of the first stream or of those that follow it by step.
func (r raw) flood(typ byte, flags uint16, step uint32) error {
	go io.Copy(io.Discard, r.Conn)
	r.SetWriteDeadline(time.Now().Add(patience))
	for id := uint32(1); ; {
		var many []byte
		for range 1000 {
			many = binary.BigEndian.AppendUint32(append(many, 0, typ, 0, byte(flags)), id)
			many = append(many, 0, 0, 0, 0)
			id += step
		}
		if _, err := r.Write(many); err != nil {
			return err
		}
	}
}

func TestWhoIsSilentOrStallsIsDisconnected(t *testing.T) {
	t.Parallel()
	timing := surrogateTiming()
	timing.idle, timing.stall = 2*time.Second, 2*time.Second // neither must pass before the test is where it waits for it
	r := hostile(t, timing)
	_, err := r.other.Accept(soon(t))
	if !errors.Is(err, ErrClosed) || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a silent client's connection ended with %v", err)
	}
	closed(t, r.other)

	timing.idle = time.Minute
	r = hostile(t, timing)
	r.frame(typeWindow, flagSYN, 1, 1<<30)
	s, err := r.other.Accept(soon(t))
	if err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = s.Write(make([]byte, 1<<20))
	}
	if !errors.Is(err, ErrClosed) || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("writing to a client that takes nothing ended with %v", err)
	}
	closed(t, r.other)
}

func TestPingsKeepAConnectionAlive(t *testing.T) {
	t.Parallel()
	k := newKeys(t)
	timing := surrogateTiming()
	timing.idle = 5 * time.Second
	ln := tcpListen(t, k, Limits{}, timing)
	timing.ping = 500 * time.Millisecond // sixteen of them are no flood
	c, err := clientTCP(soon(t), dialRaw(t, ln.Addr()), k.agent, timing)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(0, "")
	other, err := ln.Accept(soon(t))
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close(0, "")
	select {
	case <-c.Done():
	case <-other.Done():
	case <-time.After(timing.idle + 2*time.Second):
		return
	}
	t.Error("the connection has ended")
}

func TestWhoBreaksTheRulesIsDisconnected(t *testing.T) {
	for name, attack := range map[string]func(r raw) error{
		"garbage": func(r raw) error {
			b := make([]byte, 4096)
			for i := range b {
				b[i] = byte(rand.Uint32() | 1)
			}
			_, err := r.Write(b)
			return err
		},
		"HTTP":            func(r raw) error { _, err := r.Write([]byte("GET / HTTP/1.1\r\nHost: a\r\n\r\n")); return err },
		"an unknown type": func(r raw) error { return r.frame(200, 0, 1, 0) },
		"a stream twice": func(r raw) error {
			return errors.Join(r.frame(typeWindow, flagSYN, 1, 0), r.frame(typeWindow, flagSYN, 1, 0))
		},
		"two ends": func(r raw) error {
			return errors.Join(r.frame(typeWindow, flagSYN|flagFIN, 1, 0), r.frame(typeWindow, flagFIN, 1, 0))
		},
		"4 GiB in a frame": func(r raw) error { return r.frame(typeData, flagSYN, 1, 1<<32-1, 1, 2, 3) },
		"pings": func(r raw) error {
			for range pings.burst + 10 {
				if err := r.frame(typePing, flagSYN, 0, 7); err != nil {
					return err
				}
			}
			return nil
		},
		"streams":         func(r raw) error { return r.flood(typeWindow, flagSYN, 2) },
		"window updates":  func(r raw) error { return r.flood(typeWindow, 0, 0) },
		"data of nothing": func(r raw) error { return r.flood(typeData, 0, 0) },
		"answers":         func(r raw) error { return r.flood(typePing, 2 /* ACK */, 0) },
		"resets": func(r raw) (err error) { // and does not read the answers
			many := bytes.Repeat([]byte{0, typeWindow, 0, flagRST, 0, 0, 0, 9, 0, 0, 0, 0}, 100_000)
			for err == nil {
				_, err = r.Write(many)
			}
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			timing := surrogateTiming()
			timing.stall = time.Second
			r := hostile(t, timing)
			before := runtime.NumGoroutine()
			if err := attack(r); err != nil {
				t.Log(err) // it was disconnected meanwhile
			}
			closed(t, r.other)
			if n := runtime.NumGoroutine(); n > before+50 {
				t.Errorf("%d goroutines, %d before", n, before)
			}
			for {
				if s, err := r.other.Accept(soon(t)); err == nil {
					s.Cancel()
					continue
				} else if !errors.Is(err, ErrClosed) {
					t.Errorf("accepting ended with %v", err)
				}
				break
			}
		})
	}
}

func TestADeviceThatOpensManyStreamsTakesTwo(t *testing.T) {
	r := hostile(t, surrogateTiming())
	pong := make(chan error, 1)
	go func() { // no frame before it has a body
		h := make([]byte, headerSize)
		var err error
		for h[1] != typePing && err == nil {
			_, err = io.ReadFull(r.Conn, h)
		}
		pong <- err
		io.Copy(io.Discard, r.Conn)
	}()
	body := make([]byte, 1000)
	for id := uint32(1); id < 100; id += 2 {
		if err := errors.Join(r.frame(typeWindow, flagSYN, id, 0), r.frame(typeData, 0, id, 1000, body...)); err != nil {
			t.Fatal(err)
		}
		if id == 1 {
			s, err := r.other.Accept(soon(t))
			if err != nil {
				t.Fatal(err)
			}
			defer s.Cancel()
		}
	}
	r.frame(typePing, flagSYN, 0, 1)
	if err := <-pong; err != nil { // all before it has been looked at
		t.Fatal(err)
	}
	if n := r.other.mux.NumStreams(); n > 2 {
		t.Errorf("it has %d streams", n)
	}
}

func TestAStreamThatIsCancelledInVainKeepsItsPlace(t *testing.T) {
	r := hostile(t, surrogateTiming())
	opened := 0
	for range surrogateStreams {
		s, err := r.other.Open(soon(t))
		if err != nil {
			t.Fatal(err)
		}
		opened++
		id := uint32(2 * opened)
		r.frame(typeWindow, 2 /* ACK */, id, 0)
		until(t, "the stream is accepted", func() bool { return len(r.other.out) == opened })
		s.Cancel()
	}
	short, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if _, err := r.other.Open(short); err == nil {
		t.Error("one more stream was opened to a device that still has eight")
	}
	r.frame(typeWindow, flagRST, 2, resetAnswer)
	if s, err := r.other.Open(soon(t)); err != nil {
		t.Error(err)
	} else {
		s.Cancel()
	}
}
