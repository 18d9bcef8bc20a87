package tracker

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

const patience = time.Minute // for what must happen

// udpTracker is a UDP tracker that answers a request, without its head, as a test wants.
type udpTracker struct {
	conn *net.UDPConn
	addr string

	mu       sync.Mutex
	actions  []uint32
	requests [][]byte
}

// request is a datagram that came.
type request struct {
	connection          uint64
	action, transaction uint32
	from                netip.AddrPort
}

const trackerConnection = 0x0102030405060708

// serveUDP starts a tracker on an address. answer returns the datagrams to send, or nil for what a good tracker does.
func serveUDP(t *testing.T, address string, answer func(u *udpTracker, r request) [][]byte) *udpTracker {
	t.Helper()
	conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort(address)))
	if err != nil {
		t.Fatal(err)
	}
	return serveOn(t, conn, answer)
}

func serveOn(t *testing.T, conn *net.UDPConn, answer func(u *udpTracker, r request) [][]byte) *udpTracker {
	u := &udpTracker{conn: conn, addr: conn.LocalAddr().String()}
	done := make(chan struct{})
	go func() {
		defer close(done)
		u.serve(answer)
	}()
	t.Cleanup(func() {
		conn.Close()
		<-done
	})
	return u
}

func (u *udpTracker) serve(answer func(u *udpTracker, r request) [][]byte) {
	b := make([]byte, 2048)
	for {
		n, from, err := u.conn.ReadFromUDPAddrPort(b)
		if err != nil {
			return
		}
		r := request{binary.BigEndian.Uint64(b), binary.BigEndian.Uint32(b[8:]), binary.BigEndian.Uint32(b[12:]), from}
		u.mu.Lock()
		u.actions = append(u.actions, r.action)
		u.requests = append(u.requests, slices.Clone(b[:n]))
		u.mu.Unlock()
		var answers [][]byte
		if answer != nil {
			answers = answer(u, r)
		}
		if answers == nil {
			answers = [][]byte{good(r)}
		}
		for _, a := range answers {
			u.conn.WriteToUDPAddrPort(a, from)
		}
	}
}

// seen returns what was asked, in order, since the last time.
func (u *udpTracker) seen() []uint32 {
	u.mu.Lock()
	defer u.mu.Unlock()
	a := u.actions
	u.actions = nil
	return a
}

// sent returns all datagrams that came.
func (u *udpTracker) sent() [][]byte {
	u.mu.Lock()
	defer u.mu.Unlock()
	return slices.Clone(u.requests)
}

// good is the answer of a good tracker: one peer, one seeder, two leechers, three downloads.
func good(r request) []byte {
	switch r.action {
	case actionConnect:
		return reply(r, actionConnect, binary.BigEndian.AppendUint64(nil, trackerConnection))
	case actionScrape:
		return reply(r, actionScrape, []byte{3: 1, 7: 3, 11: 2})
	}
	peer := netip.MustParseAddrPort("192.0.2.1:6881")
	if r.from.Addr().Unmap().Is6() {
		peer = netip.MustParseAddrPort("[2001:db8::1]:6881")
	}
	return reply(r, actionAnnounce, appendPeers([]byte{2: 7, 3: 8, 7: 2, 11: 1}, []netip.AddrPort{peer}))
}

func reply(r request, action uint32, rest []byte) []byte {
	return append(binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, action), r.transaction), rest...)
}

func TestUDPAnnounceAndScrape(t *testing.T) {
	for _, address := range []string{"127.0.0.1:0", "[::1]:0"} {
		u := serveUDP(t, address, nil)
		client := NewClient(Config{Timeout: patience})
		tracker := "udp://" + u.addr + "/announce?passkey=k"
		r, err := client.Announce(t.Context(), tracker, Request{InfoHash: [20]byte{1}, Port: 6881, Event: EventStarted, Key: 5})
		want := "192.0.2.1:6881"
		if strings.HasPrefix(address, "[") {
			want = "[2001:db8::1]:6881" // BEP 15: the family of the datagrams decides
		}
		if err != nil || r.Seeders != 1 || r.Leechers != 2 || !r.HasCounts || r.Interval != 30*time.Minute || !slices.Equal(r.Peers, addrs(want)) {
			t.Errorf("%+v, %v", r, err)
		}
		s, err := client.Scrape(t.Context(), tracker, [20]byte{1})
		if err != nil || s != (Scrape{Seeders: 1, Leechers: 2, Downloads: 3}) {
			t.Errorf("%+v, %v", s, err)
		}
		// The connection id serves for a minute; the announce has URLData, the scrape does not.
		if got := u.seen(); !slices.Equal(got, []uint32{actionConnect, actionAnnounce, actionScrape}) {
			t.Errorf("it was asked %v", got)
		}
		if got := string(u.sent()[1][98:]); got != "\x02\x13/announce?passkey=k" {
			t.Errorf("options %q", got)
		}
		if binary.BigEndian.Uint64(u.sent()[1]) != trackerConnection || len(u.sent()[2]) != 36 {
			t.Errorf("requests %x", u.sent())
		}
	}
}

func TestTransactionIDsCannotBeGuessed(t *testing.T) {
	u := serveUDP(t, "127.0.0.1:0", nil)
	client := NewClient(Config{Timeout: patience})
	for range 20 {
		if _, err := client.Scrape(t.Context(), "udp://"+u.addr, [20]byte{}); err != nil {
			t.Fatal(err)
		}
	}
	seen := make(map[uint32]bool)
	for _, r := range u.sent() {
		seen[binary.BigEndian.Uint32(r[12:])] = true
	}
	if len(seen) != len(u.sent()) || len(seen) != 21 {
		t.Errorf("%d transaction ids in %d requests", len(seen), len(u.sent()))
	}
}

func TestHostileUDPTrackers(t *testing.T) {
	only := func(answers ...[]byte) [][]byte { return append([][]byte{}, answers...) } // never nil
	afterConnect := func(f func(r request) [][]byte) func(*udpTracker, request) [][]byte {
		return func(_ *udpTracker, r request) [][]byte {
			if r.action == actionConnect {
				return nil
			}
			return f(r)
		}
	}
	for _, c := range []struct {
		name   string
		answer func(u *udpTracker, r request) [][]byte
		is     error
		says   string
	}{
		{"silence", func(*udpTracker, request) [][]byte { return only() }, context.DeadlineExceeded, "no answer in 300ms"},
		{"silence after connect", afterConnect(func(request) [][]byte { return only() }), context.DeadlineExceeded, "no answer in 300ms"},
		{"wrong transaction", afterConnect(func(r request) [][]byte {
			r.transaction++
			return only(good(r))
		}), context.DeadlineExceeded, "what came was ignored: the answer is not a tracker's: it belongs to another transaction"},
		{"wrong action", afterConnect(func(r request) [][]byte { return only(reply(r, actionScrape, make([]byte, 12))) }), ErrMalformed, "for action 2, not 1"},
		{"unknown action", afterConnect(func(r request) [][]byte { return only(reply(r, 0xffffffff, nil)) }), ErrMalformed, "for action 4294967295"},
		{"65 KB", afterConnect(func(r request) [][]byte { return only(append(good(r), make([]byte, 65000)...)) }), ErrTooLarge, "more than 16 KiB in a datagram"},
		{"65 KB of nothing", func(*udpTracker, request) [][]byte { return only(make([]byte, 65507)) }, ErrTooLarge, "more than 16 KiB"},
		{"half a peer", afterConnect(func(r request) [][]byte { return only(append(good(r), 1, 2, 3)) }), ErrMalformed, "9 bytes, not a multiple of 6"},
		{"IPv6 peers over IPv4", afterConnect(func(r request) [][]byte { return only(append(good(r), make([]byte, 16)...)) }), ErrMalformed, "not a multiple of 6"},
		{"truncated", afterConnect(func(r request) [][]byte { return only(good(r)[:19]) }), ErrMalformed, "too short"},
		{"truncated connect", func(_ *udpTracker, r request) [][]byte { return only(good(r)[:15]) }, ErrMalformed, "too short"},
		{"truncated head", func(_ *udpTracker, r request) [][]byte { return only(good(r)[:7]) }, context.DeadlineExceeded, "what came was ignored: the answer is not a tracker's: it is too short"},
		{"empty", func(*udpTracker, request) [][]byte { return only(nil) }, context.DeadlineExceeded, "too short: 0 bytes"},
		{"binary error", afterConnect(func(r request) [][]byte { return only(reply(r, actionError, []byte("no\x00\x1b[2J\n\xff\u202e"))) }), nil, "refused: no__[2J___"},
		{"long error", afterConnect(func(r request) [][]byte { return only(reply(r, actionError, make([]byte, 10000))) }), nil, "refused: ___"},
		{"refused connection", func(_ *udpTracker, r request) [][]byte { return only(reply(r, actionError, []byte("go away"))) }, nil, "refused: go away"},
		{"connection id replayed", func() func(*udpTracker, request) [][]byte {
			var first []byte
			return func(_ *udpTracker, r request) [][]byte {
				if first == nil {
					first = good(r)
				}
				return only(first)
			}
		}(), context.DeadlineExceeded, "belongs to another transaction"},
		{"flood", func(_ *udpTracker, r request) [][]byte {
			r.transaction++
			return slices.Repeat([][]byte{good(r)}, 500)
		}, errFlood, "answer nothing"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			u := serveUDP(t, "127.0.0.1:0", c.answer)
			timeout := patience
			switch {
			case strings.HasPrefix(c.says, "no answer in "):
				timeout = 300 * time.Millisecond
			case c.is == context.DeadlineExceeded: // after something came
				timeout = time.Second
			}
			_, err := NewClient(Config{Timeout: timeout}).Announce(t.Context(), "udp://"+u.addr+"/?passkey=secret", Request{})
			var typed *Error
			if !errors.As(err, &typed) || typed.Tracker != u.addr {
				t.Fatalf("error %v", err)
			}
			if c.is != nil && !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("error %q is not %v or does not say %q", err, c.is, c.says)
			}
			if strings.Contains(err.Error(), "secret") || strings.ContainsAny(err.Error(), "\n\x1b\x00") || len(err.Error()) > 400 {
				t.Errorf("the error is not fit to be shown: %q", err)
			}
			if len(u.seen()) > 8 {
				t.Errorf("it was sent %d datagrams", len(u.sent()))
			}
		})
	}
}

func TestLyingNumbersOfAUDPTrackerAreBounded(t *testing.T) {
	for interval, want := range map[uint32]time.Duration{0: 30 * time.Minute, 1: time.Minute, 0x7fffffff: 24 * time.Hour, 0xffffffff: 30 * time.Minute} {
		u := serveUDP(t, "127.0.0.1:0", func(_ *udpTracker, r request) [][]byte {
			if r.action == actionConnect {
				return nil
			}
			numbers := binary.BigEndian.AppendUint32(nil, interval)
			return [][]byte{reply(r, actionAnnounce, append(numbers, 0xff, 0xff, 0xff, 0xff, 0x80, 0, 0, 0))}
		})
		r, err := NewClient(Config{}).Announce(t.Context(), "udp://"+u.addr, Request{})
		if err != nil || r.Interval != want || r.Seeders != 0 || r.Leechers != 0 {
			t.Errorf("interval %d: %+v, %v", interval, r, err)
		}
	}
}

func TestAnswersFromOtherAddressesDoNotArrive(t *testing.T) {
	other, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	var mine atomic.Int32
	u := serveUDP(t, "127.0.0.1:0", func(u *udpTracker, r request) [][]byte {
		// It even knows the transaction.
		other.WriteToUDPAddrPort(reply(r, actionError, []byte("spoofed")), r.from)
		time.Sleep(20 * time.Millisecond)
		mine.Add(1)
		return nil
	})
	if r, err := NewClient(Config{Timeout: patience}).Announce(t.Context(), "udp://"+u.addr, Request{}); err != nil || len(r.Peers) != 1 || mine.Load() != 2 {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestLostDatagramsAreSentAgain(t *testing.T) {
	t.Parallel()
	came := map[uint32]bool{}
	u := serveUDP(t, "127.0.0.1:0", func(_ *udpTracker, r request) [][]byte {
		if !came[r.action] {
			came[r.action] = true
			return [][]byte{} // lost
		}
		return nil
	})
	if _, err := NewClient(Config{Timeout: 5 * time.Second}).Announce(t.Context(), "udp://"+u.addr, Request{}); err != nil {
		t.Error(err)
	}
	// Under load an answer may come after the question was sent once more.
	got := u.seen()
	if !slices.Equal(slices.Compact(slices.Clone(got)), []uint32{actionConnect, actionAnnounce}) || len(got) < 4 {
		t.Errorf("it was asked %v", got)
	}
}

func TestAForgottenConnectionIDIsAskedForAgain(t *testing.T) {
	var forgotten atomic.Bool
	u := serveUDP(t, "127.0.0.1:0", func(_ *udpTracker, r request) [][]byte {
		if forgotten.Load() && r.action != actionConnect {
			forgotten.Store(false)
			return [][]byte{reply(r, actionError, []byte("Connection ID missmatch."))}
		}
		return nil
	})
	client := NewClient(Config{Timeout: patience})
	for range 2 {
		if _, err := client.Announce(t.Context(), "udp://"+u.addr, Request{}); err != nil {
			t.Error(err)
		}
		forgotten.Store(true)
	}
	if got := u.seen(); !slices.Equal(got, []uint32{actionConnect, actionAnnounce, actionAnnounce, actionConnect, actionAnnounce}) {
		t.Errorf("it was asked %v", got)
	}
}

func TestConnectionIDsAreKeptForAMinute(t *testing.T) {
	u := newUDP(Config{})
	now := time.Now()
	u.keep("a", connection{1, now.Add(time.Minute)})
	u.keep("b", connection{2, now})
	if c, ok := u.connection("a"); !ok || c.id != 1 {
		t.Error("a connection id is not kept")
	}
	if _, ok := u.connection("b"); ok {
		t.Error("a connection id is used after its time")
	}
	u.keep("a", connection{})
	if _, ok := u.connection("a"); ok || len(u.connections) != 0 {
		t.Error("a refused connection id is kept")
	}
	for i := range 3000 {
		u.keep(fmt.Sprint(i), connection{3, now.Add(time.Minute)})
	}
	if len(u.connections) > maxConnections {
		t.Errorf("%d connection ids are kept", len(u.connections))
	}
}

func TestControlHookGuardsUDP(t *testing.T) {
	u := serveUDP(t, "127.0.0.1:0", nil)
	errPrivate := errors.New("private address, start with --allow-private")
	guard := func(_, address string, _ syscall.RawConn) error {
		if address == u.addr {
			return errPrivate
		}
		return nil
	}
	for _, host := range []string{u.addr, strings.Replace(u.addr, "127.0.0.1", "localhost", 1)} {
		_, err := NewClient(Config{Control: guard}).Announce(t.Context(), "udp://"+host, Request{})
		if !errors.Is(err, errPrivate) && !errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: %v", host, err)
		}
	}
	if got := u.seen(); len(got) != 0 {
		t.Errorf("it was asked %v", got)
	}
}

func TestUDPTrackerThatDoesNotRunIsNamedAtOnce(t *testing.T) {
	// A port that nobody else can take meanwhile, whose socket hears one other alone.
	taken, err := net.Dial("udp4", "127.0.0.1:9")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	before := time.Now()
	_, err = NewClient(Config{Timeout: patience}).Announce(t.Context(), "udp://"+taken.LocalAddr().String(), Request{})
	if !errors.Is(err, syscall.ECONNREFUSED) || time.Since(before) >= patience/5 { // when it is asked for the second time
		t.Errorf("after %v: %v", time.Since(before), err)
	}
}

func TestCancelledUDPAnnounceReturnsAtOnce(t *testing.T) {
	u := serveUDP(t, "127.0.0.1:0", func(*udpTracker, request) [][]byte { return [][]byte{} })
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	if _, err := NewClient(Config{}).Announce(ctx, "udp://"+u.addr, Request{}); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}
