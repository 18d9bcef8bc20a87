package dial

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"simplebit/wire/peer"
)

// never is longer than anybody waits.
const never = time.Hour

// A transport is one that takes its time: it connects after so long, or fails.
type transport struct {
	after time.Duration
	fails bool
	deaf  bool // does not mind that the context ends
	peer  func(c net.Conn)
}

// A world records what is dialled and what becomes of the connections. It must be in a synctest bubble.
type world struct {
	began time.Time
	mu    sync.Mutex
	log   []string
	open  int
}

// tried is a dialer of a transport.
type tried struct {
	*world
	transport
}

func (d tried) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	if address != where.String() {
		return nil, fmt.Errorf("dialled %s", address)
	}
	d.mu.Lock()
	d.log = append(d.log, fmt.Sprintf("%s %v", network, time.Since(d.began)))
	d.mu.Unlock()
	end := ctx.Done()
	if d.deaf {
		end = nil
	}
	select {
	case <-time.After(d.after):
	case <-end:
		return nil, ctx.Err()
	}
	if d.fails {
		return nil, &net.OpError{Op: "dial", Net: network, Err: syscall.ECONNREFUSED}
	}
	near, far := net.Pipe()
	d.count(1)
	go func() {
		d.peer(far)
		far.Close()
	}()
	return &watched{Conn: near, world: d.world}, nil
}

func (w *world) count(n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.open += n
}

// dialled is what was dialled, and when.
func (w *world) dialled() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return strings.Join(w.log, ", ")
}

// watched is a connection that is counted until it is closed.
type watched struct {
	net.Conn
	world *world
	once  sync.Once
}

func (c *watched) Close() error {
	c.once.Do(func() { c.world.count(-1) })
	return c.Conn.Close()
}

// silent is a peer that reads and says nothing.
func silent(c net.Conn) { io.Copy(io.Discard, c) }

// TestTransportsRace holds the outcomes of every way in which two transports can meet. That nothing is left behind is also
// checked by the bubble, which does not end while goroutines wait.
func TestTransportsRace(t *testing.T) {
	ms := time.Millisecond
	fine := answers(them)
	for _, c := range []struct {
		name     string
		known    Transport
		utp, tcp transport
		want     Transport // Any: no connection
		err      error
		log      string
		took     time.Duration
	}{
		{"uTP at once", Any, transport{after: 50 * ms}, transport{}, UTP, nil, "utp 0s", 50 * ms},
		{"TCP after its delay", Any, transport{after: never}, transport{after: 20 * ms}, TCP, nil, "utp 0s, tcp 250ms", 270 * ms},
		{"slow uTP still wins", Any, transport{after: 300 * ms}, transport{after: 80 * ms}, UTP, nil, "utp 0s, tcp 250ms", 300 * ms},
		{"slow TCP wins", Any, transport{after: 2000 * ms}, transport{after: 500 * ms}, TCP, nil, "utp 0s, tcp 250ms", 750 * ms},
		{"both at the same moment", Any, transport{after: 350 * ms, deaf: true}, transport{after: 100 * ms, deaf: true}, Any, nil, "utp 0s, tcp 250ms", 350 * ms},
		{"a loser that connects all the same", Any, transport{after: 300 * ms}, transport{after: 100 * ms, deaf: true}, UTP, nil, "utp 0s, tcp 250ms", 350 * ms},
		{"uTP is refused: TCP at once", Any, transport{fails: true, after: 10 * ms}, transport{after: 20 * ms}, TCP, nil, "utp 0s, tcp 10ms", 30 * ms},
		{"uTP is refused late", Any, transport{fails: true, after: 300 * ms}, transport{after: 100 * ms}, TCP, nil, "utp 0s, tcp 250ms", 350 * ms},
		{"TCP is refused first", Any, transport{after: 900 * ms}, transport{fails: true}, UTP, nil, "utp 0s, tcp 250ms", 900 * ms},
		{"both are refused", Any, transport{fails: true}, transport{fails: true, after: ms}, Any, syscall.ECONNREFUSED, "utp 0s, tcp 0s", ms},
		{"both are refused together", Any, transport{fails: true, after: 300 * ms}, transport{fails: true, after: 90 * ms}, Any, syscall.ECONNREFUSED, "utp 0s, tcp 250ms", 340 * ms},
		{"neither answers", Any, transport{after: never}, transport{after: never}, Any, context.DeadlineExceeded, "utp 0s, tcp 250ms", DefaultTimeout},
		{"known TCP is tried alone", TCP, transport{}, transport{after: 400 * ms}, TCP, nil, "tcp 0s", 400 * ms},
		{"known uTP is tried alone", UTP, transport{after: 400 * ms}, transport{}, UTP, nil, "utp 0s", 400 * ms},
		{"known TCP is refused", TCP, transport{after: 20 * ms}, transport{fails: true, after: ms}, UTP, nil, "tcp 0s, utp 1ms", 21 * ms},
		{"known uTP is refused", UTP, transport{fails: true, after: ms}, transport{after: 20 * ms}, TCP, nil, "utp 0s, tcp 1ms", 21 * ms},
		{"known uTP answers no more", UTP, transport{after: never}, transport{after: 20 * ms}, TCP, nil, "utp 0s, tcp 5s", 5020 * ms},
		{"known TCP answers no more", TCP, transport{after: 20 * ms}, transport{after: never}, UTP, nil, "tcp 0s, utp 5s", 5020 * ms},
		{"a winner that is silent", Any, transport{after: ms, peer: silent}, transport{}, Any, context.DeadlineExceeded, "utp 0s", DefaultTimeout},
		{"a winner that speaks another protocol", Any, transport{after: ms, peer: func(c net.Conn) {
			io.ReadFull(c, make([]byte, peer.HandshakeSize))
			c.Write([]byte("HTTP/1.1 400 Bad Request\r\n"))
		}}, transport{}, Any, peer.ErrHandshake, "utp 0s", ms},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				if c.utp.peer == nil {
					c.utp.peer = fine
				}
				if c.tcp.peer == nil {
					c.tcp.peer = fine
				}
				w := &world{began: time.Now()}
				d := Dialer{TCP: tried{w, c.tcp}, UTP: tried{w, c.utp}}
				conn, err := d.Dial(t.Context(), where, us, Way{Transport: c.known})
				if took := time.Since(w.began); took != c.took {
					t.Errorf("took %v, want %v", took, c.took)
				}
				if log := w.dialled(); log != c.log {
					t.Errorf("dialled %s, want %s", log, c.log)
				}
				if !errors.Is(err, c.err) {
					t.Fatalf("error %v, want %v", err, c.err)
				}
				synctest.Wait()
				if err != nil {
					if w.open != 0 {
						t.Errorf("%d connections were left open", w.open)
					}
					return
				}
				if w.open != 1 {
					t.Errorf("%d connections are open, want the winner alone", w.open)
				}
				if conn.Transport == Any || c.want != Any && conn.Transport != c.want || conn.Way() != (Way{conn.Transport, false}) {
					t.Errorf("connected by %v, want %v; the way is %v", conn.Transport, c.want, conn.Way())
				}
				conn.Close()
			})
		})
	}
}

func TestTransportsThatAreOffAreNotTried(t *testing.T) {
	for _, c := range []struct {
		name  string
		make  func(tcp, utp ContextDialer) Dialer
		known Transport
		want  Transport
	}{
		{"no uTP", func(tcp, _ ContextDialer) Dialer { return Dialer{TCP: tcp} }, UTP, TCP},
		{"no TCP", func(tcp, utp ContextDialer) Dialer { return Dialer{TCP: tcp, UTP: utp, NoTCP: true} }, TCP, UTP},
		{"neither", func(tcp, _ ContextDialer) Dialer { return Dialer{TCP: tcp, NoTCP: true} }, Any, Any},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := &world{began: time.Now()}
				d := c.make(tried{w, transport{peer: answers(them)}}, tried{w, transport{peer: answers(them)}})
				conn, err := d.Dial(t.Context(), where, us, Way{Transport: c.known})
				if c.want == Any {
					if !errors.Is(err, errTransports) || w.dialled() != "" {
						t.Errorf("error %v, dialled %q, want neither", err, w.dialled())
					}
					return
				}
				if err != nil || conn.Transport != c.want || w.dialled() != c.want.String()+" 0s" {
					t.Fatalf("error %v, dialled %s, want %v alone", err, w.dialled(), c.want)
				}
				conn.Close()
			})
		})
	}
}

func TestTimeToConnectIsSharedByTheTransports(t *testing.T) {
	for _, c := range []struct {
		known Transport
		log   string
	}{
		{Any, "utp 0s, tcp 250ms"},
		{TCP, "tcp 0s, utp 1.5s"},
	} {
		synctest.Test(t, func(t *testing.T) {
			w := &world{began: time.Now()}
			d := Dialer{TCP: tried{w, transport{after: never}}, UTP: tried{w, transport{after: never}}, Connect: 3 * time.Second}
			_, err := d.Dial(t.Context(), where, us, Way{Transport: c.known})
			if took := time.Since(w.began); !errors.Is(err, context.DeadlineExceeded) || took != 3*time.Second || w.dialled() != c.log {
				t.Errorf("error %v after %v, dialled %s, want %s", err, took, w.dialled(), c.log)
			}
		})
	}
}

func TestRaceStopsWhenTheContextEnds(t *testing.T) {
	for _, after := range []time.Duration{100 * time.Millisecond, time.Second} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(after, cancel)
			w := &world{began: time.Now()}
			d := Dialer{TCP: tried{w, transport{after: never}}, UTP: tried{w, transport{after: never}}}
			_, err := d.Dial(ctx, where, us, Way{})
			if !errors.Is(err, context.Canceled) || time.Since(w.began) != after {
				t.Errorf("error %v after %v, want context.Canceled after %v", err, time.Since(w.began), after)
			}
		})
	}
}
