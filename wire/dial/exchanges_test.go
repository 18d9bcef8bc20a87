package dial

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"simplebit/wire/mse"
)

func hostNumber(i int) netip.Addr { return netip.AddrFrom4([4]byte{198, 18, byte(i >> 8), byte(i)}) }

// TestTurnsComeAtTheRate has strangers of as many hosts come at once, whose exchanges take no time, and one host come often.
func TestTurnsComeAtTheRate(t *testing.T) {
	for _, c := range []struct {
		name string
		host func(i int) netip.Addr
		n    int
		last time.Duration // when the last turn came
	}{
		{"as many as may come at once", hostNumber, 10, 0},
		{"more than that", hostNumber, 20, 2 * time.Second},
		{"one host", func(int) netip.Addr { return hostNumber(0) }, 6, 2500 * time.Millisecond},
	} {
		synctest.Test(t, func(t *testing.T) {
			e := NewExchanges(1, 5)
			start := time.Now()
			var all sync.WaitGroup
			for i := range c.n {
				all.Go(func() {
					done, err := e.turn(t.Context(), c.host(i))
					if err != nil {
						t.Error(err)
						return
					}
					done()
				})
			}
			all.Wait()
			if took := time.Since(start); took != c.last {
				t.Errorf("%s: the last turn came after %v, want %v", c.name, took, c.last)
			}
			time.Sleep(time.Minute)
			if n := len(e.queue.last); e.queue.running != 0 || n > 11 {
				t.Errorf("%s: %d are running, %d hosts are remembered", c.name, e.queue.running, n)
			}
		})
	}
}

func TestOneHostThatWantsManyExchangesLetsOthersPass(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := NewExchanges(1, 5)
		ctx, cancel := context.WithCancel(t.Context())
		for range 50 {
			go func() {
				if done, err := e.turn(ctx, hostNumber(0)); err == nil {
					done()
				}
			}()
		}
		synctest.Wait()
		start := time.Now()
		done, err := e.turn(t.Context(), hostNumber(1))
		if err != nil || time.Since(start) != 0 {
			t.Fatalf("somebody else waited %v: %v", time.Since(start), err)
		}
		done()
		cancel()
		synctest.Wait()
		if len(e.queue.waiting) != 0 || e.queue.running != 0 {
			t.Errorf("%d wait and %d run though all were given up", len(e.queue.waiting), e.queue.running)
		}
	})
}

func TestTurnsAreForSoManyAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := NewExchanges(2, 5)
		var dones []func()
		for i := range 2 {
			done, err := e.turn(t.Context(), hostNumber(i))
			if err != nil {
				t.Fatal(err)
			}
			dones = append(dones, done)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := e.turn(ctx, hostNumber(2)); !errors.Is(err, ErrBusy) {
			t.Errorf("error %v, want ErrBusy", err)
		}
		time.AfterFunc(time.Second, dones[0])
		start := time.Now()
		done, err := e.turn(t.Context(), hostNumber(3))
		if err != nil || time.Since(start) != time.Second {
			t.Fatalf("the third waited %v: %v", time.Since(start), err)
		}
		done()
		dones[1]()
	})
}

// addressed is a pipe with the address of its other end.
type addressed struct {
	net.Conn
	remote netip.Addr
}

func (c addressed) RemoteAddr() net.Addr {
	return net.TCPAddrFromAddrPort(netip.AddrPortFrom(c.remote, 6881))
}

func TestEncryptedPeersWaitForTheirTurnWithinTheirGreeting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := serving
		a.Exchanges = NewExchanges(1, 5)
		accept := func(i int) (<-chan error, net.Conn) {
			near, far := net.Pipe()
			result := make(chan error, 1)
			go func() {
				c, err := Accept(t.Context(), addressed{near, hostNumber(i)}, a)
				if err == nil {
					c.Close()
				}
				result <- err
			}()
			return result, far
		}
		done, err := a.Exchanges.turn(t.Context(), hostNumber(1000))
		if err != nil {
			t.Fatal(err)
		}
		done()
		time.Sleep(50 * time.Millisecond) // no turn comes at the moment when the greetings end
		// 100 hosts want a turn: the burst of 10, of which one was had, and five a second for ten seconds.
		busy, answered := 0, 0
		var results []<-chan error
		for i := range 100 {
			result, far := accept(i)
			results = append(results, result)
			go func() {
				if e, err := mse.Dial(far, hash, mse.RC4, them.AppendMarshal(nil)); err == nil {
					io.Copy(io.Discard, e)
				}
				far.Close()
			}()
		}
		for _, r := range results {
			switch err := <-r; {
			case err == nil:
				answered++
			case errors.Is(err, ErrBusy):
				busy++
			default:
				t.Errorf("error %v", err)
			}
		}
		if answered != 59 || busy != 41 {
			t.Errorf("%d were answered and %d found us busy", answered, busy)
		}
		// Plaintext does not wait for encryption.
		e := a.Exchanges
		e.queue.running++
		start := time.Now()
		result, far := accept(101)
		far.Write(them.AppendMarshal(nil))
		io.ReadFull(far, make([]byte, 68))
		if err := <-result; err != nil || time.Since(start) != 0 {
			t.Errorf("plaintext: %v after %v", err, time.Since(start))
		}
	})
}

func TestNobodyMakesUsComputeWhileThereIsNoTorrent(t *testing.T) {
	for name, change := range map[string]func(a *Acceptor){
		"nothing to find": func(a *Acceptor) { a.Find = nil },
		"none":            func(a *Acceptor) { a.Any = func() bool { return false } },
	} {
		synctest.Test(t, func(t *testing.T) {
			a := serving
			a.Exchanges = NewExchanges(1, 1)
			change(&a)
			near, far := net.Pipe()
			go mse.Dial(far, hash, mse.RC4, nil)
			if _, err := Accept(t.Context(), near, a); !errors.Is(err, ErrUnwanted) {
				t.Errorf("%s: error %v, want ErrUnwanted", name, err)
			}
			if !a.Exchanges.queue.due.IsZero() {
				t.Errorf("%s: an exchange was made", name)
			}
		})
	}
}
