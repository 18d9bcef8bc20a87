package swarm

import (
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// life is that of a peer that is met by uTP: until it ends, it acknowledges what it is sent after a round trip.
type life struct {
	mu    sync.Mutex
	heard time.Time
	ended bool
}

const roundTrip = 100 * time.Millisecond

func (l *life) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended = true
}

// sign notes that the peer is heard, and reports whether it is still there.
func (l *life) sign() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.ended {
		l.heard = time.Now()
	}
	return !l.ended
}

// signs is a connection that shows signs of life, as one by uTP does.
type signs struct {
	net.Conn
	life *life
}

func (s signs) Heard() time.Time {
	s.life.mu.Lock()
	defer s.life.mu.Unlock()
	return s.life.heard
}

// Write queues what is sent to a peer that has died.
func (s signs) Write(b []byte) (int, error) {
	time.Sleep(roundTrip)
	if !s.life.sign() {
		return len(b), nil
	}
	return s.Conn.Write(b)
}

func (s signs) Read(b []byte) (int, error) {
	n, err := s.Conn.Read(b)
	if n > 0 {
		s.life.sign()
	}
	return n, err
}

// settled is a node of one place with a peer that came by uTP and has been idle for a while.
func settled(t *testing.T, of *life) (n *node, p *fake) {
	n = newContent(4*block, block).start(t, "node", nil, Config{Shared: NewShared(SharedConfig{MaxPeers: 1})})
	p = n.connect(t, features{name: "old", fast: true, addr: addr(1), life: of})
	time.Sleep(30 * time.Second)
	p.take()
	return n, p
}

func TestAPeerThatWasKilledAndStartsOnItsPortIsBackWithinSeconds(t *testing.T) {
	for _, outgoing := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			first := &life{}
			n, old := settled(t, first)
			again := func() *fake {
				return n.connect(t, features{name: "new", fast: true, addr: addr(1), life: &life{}, outgoing: outgoing})
			}
			first.end()
			for _, wait := range []time.Duration{0, time.Second, answerTime - 2*time.Second, time.Second - time.Millisecond} {
				time.Sleep(wait)
				if back := again(); !back.isClosed() || old.isClosed() {
					t.Fatalf("%v after the last try it is refused: %v, and the peer that has not had its time is closed: %v", wait, back.isClosed(), old.isClosed())
				}
			}
			time.Sleep(time.Millisecond)
			if back := again(); back.isClosed() || !old.isClosed() {
				t.Errorf("it is refused: %v, and the connection that it left is closed: %v; log:\n%s", back.isClosed(), old.isClosed(), n.log)
			}
		})
	}
}

// Whoever comes from the address of a peer that is there, or forges it, has it asked now and then and gets nothing else.
func TestAPeerThatIsThereStaysHoweverOftenOthersComeFromItsAddress(t *testing.T) {
	for _, every := range []time.Duration{roundTrip / 2, time.Second, answerTime, answerTime + roundTrip, 40 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			n, old := settled(t, &life{})
			const long = 2 * time.Minute
			for range long / every {
				if other := n.connect(t, features{name: "new", addr: addr(1), life: &life{}}); !other.isClosed() || old.isClosed() {
					t.Fatalf("every %v: the newcomer is refused: %v, the peer closed: %v; log:\n%s", every, other.isClosed(), old.isClosed(), n.log)
				}
				time.Sleep(every)
			}
			if asked := strings.Count(old.take(), "keepalive"); asked < 3 || asked > int(long/answerTime)+1 {
				t.Errorf("every %v: it was asked %d times", every, asked)
			}
		})
	}
}

func TestAPeerThatAnsweredAndIsKilledLaterIsAskedAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first := &life{}
		n, old := settled(t, first)
		again := func() *fake { return n.connect(t, features{name: "new", addr: addr(1), life: &life{}}) }
		again()
		time.Sleep(2 * roundTrip)
		if got := old.take(); got != "keepalive" {
			t.Errorf("it was sent %q", got)
		}
		time.Sleep(time.Second - 2*roundTrip)
		first.end()
		for range 2 {
			time.Sleep(answerTime - 500*time.Millisecond)
			if back := again(); !back.isClosed() || old.isClosed() {
				t.Fatalf("refused: %v, the old connection is closed: %v", back.isClosed(), old.isClosed())
			}
		}
		time.Sleep(answerTime)
		if back := again(); back.isClosed() || !old.isClosed() {
			t.Errorf("refused: %v, the old connection is closed: %v", back.isClosed(), old.isClosed())
		}
	})
}

// By TCP nobody comes back from the same port, and whether the peer is there cannot be seen: what it is sent is acknowledged by its
// system.
func TestByTCPNobodyIsAskedForWhoeverComesFromTheSameAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, old := settled(t, nil)
		for range 2 * time.Minute / answerTime {
			if other := n.connect(t, features{name: "new", addr: addr(1), life: &life{}}); !other.isClosed() || old.isClosed() {
				t.Fatalf("refused: %v, the old connection is closed: %v", other.isClosed(), old.isClosed())
			}
			time.Sleep(answerTime)
		}
		if asked := strings.Count(old.take(), "keepalive"); asked > 1 { // one is due by the clock
			t.Errorf("the peer was asked %d times", asked)
		}
	})
}

// Who is connected from elsewhere does not get a second connection in place of one that is dead.
func TestNobodyIsThereTwiceWhereAnotherHasGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newContent(4*block, block).start(t, "node", nil, Config{})
		first := &life{}
		n.connect(t, features{name: "old", addr: addr(1), life: first})
		elsewhere := n.connect(t, features{name: "new", addr: addr(2), life: &life{}})
		time.Sleep(time.Second)
		first.end()
		for range 3 {
			if twice := n.connect(t, features{name: "new", addr: addr(1), life: &life{}}); !twice.isClosed() || elsewhere.isClosed() {
				t.Fatalf("refused: %v, the other connection is closed: %v", twice.isClosed(), elsewhere.isClosed())
			}
			time.Sleep(answerTime)
		}
	})
}
