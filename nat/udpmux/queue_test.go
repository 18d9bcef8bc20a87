package udpmux

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

func TestQueueKeepsOrderAndBoundaries(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	q := newQueue(20_000)
	var want [][]byte
	held, dropped := 0, 0
	for range 20_000 {
		if random.IntN(2) == 0 || len(want) == 0 {
			b := make([]byte, 1+random.IntN(1500))
			for i := range b {
				b[i] = byte(random.Uint32())
			}
			taken := q.push(netip.AddrPortFrom(controlAddr.Addr(), uint16(len(b))), b)
			if fits := held+len(b) <= 20_000; taken != fits {
				t.Fatalf("%d bytes beside %d: taken is %t", len(b), held, taken)
			}
			if taken {
				want, held = append(want, b), held+len(b)
			} else {
				dropped++
			}
			continue
		}
		buf := make([]byte, 1+random.IntN(2000))
		n, from, err := q.pop(buf)
		fits := want[0][:min(len(buf), len(want[0]))]
		if err != nil || !bytes.Equal(buf[:n], fits) || int(from.Port()) != len(want[0]) {
			t.Fatalf("got %d bytes from %s (%v), not %d of %d", n, from, err, len(fits), len(want[0]))
		}
		held, want = held-len(want[0]), want[1:]
	}
	if dropped == 0 || len(q.bytes.b) > 20_000 {
		t.Errorf("%d were dropped, the buffer has %d bytes", dropped, len(q.bytes.b))
	}
}

func TestQueueBoundsDatagrams(t *testing.T) {
	q := newQueue(defaultQueue)
	for i := range maxQueued {
		if !q.push(controlAddr, []byte{1}) {
			t.Fatalf("datagram %d has no room", i)
		}
	}
	if q.push(controlAddr, []byte{1}) {
		t.Errorf("%d datagrams wait", maxQueued+1)
	}
}

// testConn is a PacketConn whose queue the test fills.
func testConn() *packetConn {
	s := &Socket{local: net.UDPAddrFromAddrPort(controlAddr), cfg: Config{}.withDefaults()}
	return s.PacketConn(QUIC).(*packetConn)
}

// read starts a ReadFrom and hands out its error when it returns.
func read(c net.PacketConn) <-chan error {
	done := make(chan error, 1)
	go func() {
		_, _, err := c.ReadFrom(make([]byte, 100))
		done <- err
	}()
	return done
}

func TestReadDeadlineWakesWhoWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, start := testConn(), time.Now()
		c.SetReadDeadline(start.Add(time.Minute))
		err := <-read(c)
		var timeout net.Error
		if !errors.Is(err, os.ErrDeadlineExceeded) || !errors.As(err, &timeout) || !timeout.Timeout() || time.Since(start) != time.Minute {
			t.Errorf("after %v: %v", time.Since(start), err)
		}
		if _, ok := err.(net.Error); !ok {
			t.Errorf("quic-go asks for a net.Error without unwrapping, not %T", err)
		}
		waits := read(c)
		if err := <-waits; !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("the deadline did not last: %v", err)
		}
	})
}

func TestReadDeadlineMayBeMovedWhileReading(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, start := testConn(), time.Now()
		c.SetReadDeadline(start.Add(time.Second))
		waits := read(c)
		synctest.Wait()
		c.SetDeadline(start.Add(time.Hour))
		time.Sleep(time.Minute)
		select {
		case err := <-waits:
			t.Fatalf("the deadline before ended the read: %v", err)
		default:
		}
		c.SetReadDeadline(time.Now())
		if err := <-waits; !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) != time.Minute {
			t.Errorf("a deadline of now, after %v: %v", time.Since(start), err)
		}
		c.SetReadDeadline(time.Time{})
		c.q.push(controlAddr, []byte{1})
		if err := <-read(c); err != nil {
			t.Errorf("after the deadline was lifted: %v", err)
		}
	})
}

func TestCloseEndsReaders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := testConn()
		c.SetReadDeadline(time.Now().Add(time.Hour))
		a, b := read(c), read(c)
		synctest.Wait()
		c.Close()
		for _, waits := range []<-chan error{a, b, read(c)} {
			if err := <-waits; !errors.Is(err, net.ErrClosed) {
				t.Errorf("after Close: %v", err)
			}
		}
		if c.q.push(controlAddr, []byte{1}) {
			t.Error("a closed queue takes datagrams")
		}
	})
}

func TestPacketConnHidesTheSocket(t *testing.T) {
	var c net.PacketConn = testConn()
	if _, ok := c.(syscall.Conn); ok {
		t.Error("quic-go could set options of the socket")
	}
	if _, err := c.WriteTo([]byte{1}, &net.IPAddr{}); err == nil {
		t.Error("an address that is not UDP's is taken")
	}
}
