package tracker

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// dualStack is a client for which every name stands for 127.0.0.1 and ::1.
func dualStack(t *testing.T) *Client {
	t.Helper()
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		serveNames(conn)
	}()
	client := NewClient(Config{})
	resolver := &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		return net.Dial("udp", conn.LocalAddr().String())
	}}
	client.udp.dialer.Resolver, client.web.dialer.Resolver = resolver, resolver
	t.Cleanup(func() {
		client.web.close()
		conn.Close()
		<-done
	})
	return client
}

// serveNames is a name server (RFC 1035): the question is repeated, and answered with one address.
func serveNames(conn *net.UDPConn) {
	b := make([]byte, 512)
	for {
		n, from, err := conn.ReadFromUDPAddrPort(b)
		if err != nil {
			return
		}
		end := 12
		for b[end] != 0 {
			end += 1 + int(b[end])
		}
		kind, end := binary.BigEndian.Uint16(b[end+1:n]), end+5
		ip := net.IPv6loopback
		if kind == 1 { // A; else AAAA
			ip = net.IPv4(127, 0, 0, 1).To4()
		}
		// One question, one answer; then the answer: the name by pointer, type, class IN, a lifetime of 0, the address.
		a := append(slices.Clone(b[:2]), 0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0)
		a = append(append(a, b[12:end]...), 0xc0, 12, 0, byte(kind), 0, 1, 0, 0, 0, 0, 0, byte(len(ip)))
		conn.WriteToUDPAddrPort(append(a, ip...), from)
	}
}

// onBoth listens on a port of 127.0.0.1 and the same one of ::1, which somebody else may have there.
func onBoth[L interface{ Close() error }](t *testing.T, listen func(address string) (L, error), addr func(L) net.Addr) [2]L {
	t.Helper()
	for range 100 {
		four, err := listen("127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		six, err := listen(fmt.Sprintf("[::1]:%d", netip.MustParseAddrPort(addr(four).String()).Port()))
		if err == nil {
			return [2]L{four, six}
		}
		four.Close()
	}
	t.Fatal("no port is free on both")
	panic("unreachable")
}

// BEP 7 and 15: a tracker that has addresses of both kinds is told at both, under one key.
func TestANameOfBothFamiliesIsAnnouncedToOverBoth(t *testing.T) {
	conns := onBoth(t, func(address string) (net.PacketConn, error) { return net.ListenPacket("udp", address) }, net.PacketConn.LocalAddr)
	four, six := serveOn(t, conns[0].(*net.UDPConn), nil), serveOn(t, conns[1].(*net.UDPConn), nil)
	port := netip.MustParseAddrPort(four.addr).Port()
	client := dualStack(t)
	tracker := fmt.Sprintf("udp://tracker.example:%d", port)
	r, err := client.Announce(t.Context(), tracker, Request{Key: 0xabc})
	if err != nil || !slices.Equal(r.Peers, addrs("192.0.2.1:6881", "[2001:db8::1]:6881")) || r.Seeders != 1 {
		t.Errorf("%+v, %v", r, err)
	}
	for _, u := range []*udpTracker{four, six} {
		if got := u.seen(); !slices.Equal(got, []uint32{actionConnect, actionAnnounce}) || binary.BigEndian.Uint32(u.sent()[1][88:]) != 0xabc {
			t.Errorf("%s was asked %v", u.addr, got)
		}
	}
	// One family alone is enough.
	six.conn.Close()
	if r, err := client.Announce(t.Context(), tracker, Request{}); err != nil || !slices.Equal(r.Peers, addrs("192.0.2.1:6881")) {
		t.Errorf("%+v, %v", r, err)
	}
	four.conn.Close()
	if _, err := client.Announce(t.Context(), tracker, Request{}); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("error %v", err)
	}
}

func TestHTTPAnnouncesGoOverBothFamiliesToo(t *testing.T) {
	listeners := onBoth(t, func(address string) (net.Listener, error) { return net.Listen("tcp", address) }, net.Listener.Addr)
	port := netip.MustParseAddrPort(listeners[0].Addr().String()).Port()
	var mu sync.Mutex
	var from []string
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		from = append(from, netip.MustParseAddrPort(r.RemoteAddr).Addr().String())
		mu.Unlock()
		answer(onePeer)(w, r)
	})}
	defer s.Close()
	for _, l := range listeners {
		go s.Serve(l)
	}
	r, err := dualStack(t).Announce(t.Context(), fmt.Sprintf("http://tracker.example:%d/announce", port), Request{})
	mu.Lock()
	defer mu.Unlock()
	slices.Sort(from)
	if err != nil || len(r.Peers) != 1 || !slices.Equal(from, []string{"127.0.0.1", "::1"}) {
		t.Errorf("announced from %v: %+v, %v", from, r, err)
	}
}

func TestABrokenFamilyHoldsTheAnswerForThreeSecondsAtMost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		before := time.Now()
		answers, err := eachFamily(t.Context(), "a.example", func(ctx context.Context, f family) (family, error) {
			if f == ipv6 {
				<-ctx.Done()
			}
			return f, ctx.Err()
		})
		if err != nil || !slices.Equal(answers, []family{ipv4}) || time.Since(before) != 3*time.Second {
			t.Errorf("%v, %v after %v", answers, err, time.Since(before))
		}
	})
}

func TestTheErrorThatSaysMoreIsShown(t *testing.T) {
	refused := &FailureError{Reason: "no"}
	unknown := &net.DNSError{Err: "no such host", IsNotFound: true}
	for _, c := range []struct{ four, six, want error }{
		{context.DeadlineExceeded, refused, refused},
		{refused, context.DeadlineExceeded, refused},
		{unknown, context.DeadlineExceeded, context.DeadlineExceeded},
		{unknown, syscall.ENETUNREACH, syscall.ENETUNREACH},
		{context.DeadlineExceeded, unknown, context.DeadlineExceeded},
		{syscall.ENETUNREACH, ErrMalformed, ErrMalformed},
		{unknown, unknown, unknown},
	} {
		_, err := eachFamily(t.Context(), "a.example", func(_ context.Context, f family) (int, error) {
			return 0, map[family]error{ipv4: c.four, ipv6: c.six}[f]
		})
		if err != c.want {
			t.Errorf("of %v and %v the error is %v", c.four, c.six, err)
		}
	}
}
