package dial

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"simplebit/wire/mse"
)

func TestHostsAreCountedByWhatOneMachineCanHave(t *testing.T) {
	for _, c := range []struct {
		a, b string
		same bool
	}{
		{"198.18.0.1", "198.18.0.2", false},
		{"198.18.0.1", "198.18.0.1", true},
		{"2001:db8::1", "2001:db8::ffff:1:2:3", true},
		{"2001:db8::1", "2001:db8:0:1::1", false},
		{"fe80::1%eth0", "fe80::1%eth1", true},
	} {
		if same := Host(netip.MustParseAddr(c.a)) == Host(netip.MustParseAddr(c.b)); same != c.same {
			t.Errorf("%s and %s: one host is %v", c.a, c.b, same)
		}
	}
	if Host(netip.Addr{}) != (netip.Prefix{}) {
		t.Error("what is no address is a host")
	}
}

func TestOldestGreetingGivesWay(t *testing.T) {
	for _, c := range []struct {
		name string
		come string // hosts, in this order
		left string
	}{
		{"there is room", "aabbc", "aabbc"},
		{"a host beyond its share", "abaaa", "baaa"},
		{"a host beyond its share, when full", "bacaada", "bcaada"},
		{"full: the host that has most", "abbcded", "abcded"},
		{"full: of those that have most, the oldest", "abcabcd", "bcabcd"},
		{"full: everybody has one", "abcdefg", "bcdefg"},
	} {
		table := greetingTable{all: 6, perHost: 3}
		for i, h := range c.come {
			before := slices.Clone(table.present)
			newcomer := &greeter{host: Host(netip.AddrFrom4([4]byte{byte(h)}))}
			loser := table.enter(newcomer)
			if loser != nil && (i != len(c.come)-1 || !slices.Contains(before, loser) || slices.Contains(table.present, loser)) {
				t.Errorf("%s: the wrong one had to leave at %d", c.name, i)
			}
		}
		var left string
		for _, p := range table.present {
			left += string(rune(p.host.Addr().As4()[0]))
		}
		if left != c.left {
			t.Errorf("%s: %s came and %s are left, want %s", c.name, c.come, left, c.left)
		}
	}
}

// ended reads a connection to its end and returns when that was.
func ended(c net.Conn) time.Time {
	c.Read(make([]byte, 1))
	return time.Now()
}

func TestSilenceFromOneHostKeepsNobodyElseOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := NewGreetings(8, 4)
		start := time.Now()
		enter := func(ip string) (far net.Conn, result chan error) {
			near, far := net.Pipe()
			ctx, done := g.Begin(t.Context(), netip.MustParseAddr(ip))
			result = make(chan error, 1)
			go func() {
				c, err := Accept(ctx, near, serving)
				done()
				done() // does no harm
				if err == nil {
					c.Close()
				}
				result <- err
			}()
			return far, result
		}
		var silent []net.Conn
		var results []chan error
		for i := range 100 {
			c, r := enter(fmt.Sprintf("2001:db8::%x", i+1))
			silent, results = append(silent, c), append(results, r)
		}
		if g.Len() != 4 {
			t.Errorf("%d are greeting, want the 4 of one host", g.Len())
		}
		time.Sleep(time.Second)
		for range 4 {
			far, result := enter("198.18.0.1")
			go far.Write(them.AppendMarshal(nil))
			if far.Read(make([]byte, 68)); <-result != nil {
				t.Error("somebody else is kept out")
			}
		}
		for i, c := range silent {
			want, when := ErrCrowd, time.Duration(0)
			if i >= 96 {
				want, when = errSilent, FirstByte
			}
			at := ended(c)
			if err := <-results[i]; !errors.Is(err, want) || i >= 96 && at.Sub(start) != when {
				t.Errorf("connection %d ended after %v: %v, want %v", i, at.Sub(start), err, want)
			}
		}
		if g.Len() != 0 || len(g.ends) != 0 {
			t.Errorf("%d greetings are left behind", g.Len())
		}
	})
}

func TestNewcomerWaitsUntilItsPlaceIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := NewGreetings(1, 1)
		first, over := g.Begin(t.Context(), netip.Addr{})
		go func() {
			<-first.Done()
			time.Sleep(time.Second)
			over()
		}()
		start := time.Now()
		_, over2 := g.Begin(t.Context(), netip.Addr{})
		if time.Since(start) != time.Second || context.Cause(first) != ErrCrowd {
			t.Errorf("began after %v; the first ended by %v", time.Since(start), context.Cause(first))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		third, over3 := g.Begin(ctx, netip.Addr{})
		synctest.Wait()
		if time.Since(start) != 2*time.Second || third.Err() == nil {
			t.Errorf("the end of the context was met after %v", time.Since(start))
		}
		over3()
		over2()
	})
}

// resettable is a uTP connection, as far as its end goes.
type resettable struct {
	net.Conn
	resets, closes int
}

func (c *resettable) Reset() error { c.resets++; return c.Conn.Close() }
func (c *resettable) Close() error { c.closes++; return c.Conn.Close() }

func TestRefusedConnectionsAreResetWhereTheyCanBe(t *testing.T) {
	for name, end := range map[string]func(c *resettable, far net.Conn){
		"garbage for a greeting": func(c *resettable, far net.Conn) {
			go far.Write([]byte("GET / HTTP/1.1\r\nHost: somewhere\r\n\r\n"))
			Accept(t.Context(), c, Acceptor{Encryption: mse.Off})
		},
		"an answer of another torrent": func(c *resettable, far net.Conn) {
			h := them
			h.InfoHash[0]++
			go answers(h)(far)
			(&Dialer{TCP: lastDial{c}}).Dial(t.Context(), where, us, Way{})
		},
		"abort":                  func(c *resettable, _ net.Conn) { Abort(c) },
		"abort of a connection":  func(c *resettable, _ net.Conn) { Abort(&Conn{Conn: c}) },
		"abort of an encryption": func(c *resettable, _ net.Conn) { Abort(&Conn{Conn: &mse.Conn{Conn: c}}) },
	} {
		near, far := net.Pipe()
		c := &resettable{Conn: near}
		end(c, far)
		if c.resets != 1 || c.closes != 0 {
			t.Errorf("%s: reset %d times and closed %d times", name, c.resets, c.closes)
		}
		far.Close()
	}
}

// lastDial connects to whoever is at the other end of a connection.
type lastDial struct{ net.Conn }

func (d lastDial) DialContext(context.Context, string, string) (net.Conn, error) { return d.Conn, nil }
