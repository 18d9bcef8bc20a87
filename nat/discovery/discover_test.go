package discovery

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"

	"simplebit/nat/stun"
	"simplebit/nat/udpmux"
)

// loopback is a discoverer whose sockets are on this host's loopback.
func loopback(t *testing.T) *Discoverer {
	t.Helper()
	socket, err := udpmux.Listen("udp4", "127.0.0.1:0", udpmux.Config{})
	if err != nil {
		t.Fatal(err)
	}
	set := udpmux.NewSet(socket)
	d := New(set)
	set.Handle(udpmux.STUN, d.Receive)
	ended := make(chan error, 1)
	go func() { ended <- socket.Run(t.Context()) }()
	t.Cleanup(func() {
		set.Close()
		socket.Close()
		<-ended
	})
	return d
}

// silent is an address that takes datagrams and answers none.
func silent(t *testing.T) netip.AddrPort {
	t.Helper()
	c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c.LocalAddr().(*net.UDPAddr).AddrPort()
}

func noFirst(t *testing.T) func(Result) {
	return func(r Result) { t.Errorf("a first verdict: %+v", r) }
}

// unanswered is what a discovery takes that nobody answers.
const unanswered = 3 * time.Second

func TestDiscoveryEndsWithItsContext(t *testing.T) {
	d := loopback(t)
	moved := errors.New("moved")
	ctx, stop := context.WithCancelCause(t.Context())
	time.AfterFunc(50*time.Millisecond, func() { stop(moved) })
	begin := time.Now()
	_, err := d.Discover(ctx, Config{Servers: []netip.AddrPort{silent(t), silent(t)}}, noFirst(t))
	if took := time.Since(begin); !errors.Is(err, moved) || took >= unanswered {
		t.Errorf("it ends with %v after %s", err, took)
	}
	if len(d.ears) != 0 {
		t.Errorf("%d are still listening", len(d.ears))
	}
}

func TestServersThatCannotBeAskedAreAnError(t *testing.T) {
	d := loopback(t)
	for name, servers := range map[string][]netip.AddrPort{
		"none":       nil,
		"no port":    {netip.AddrPortFrom(netip.IPv4Unspecified().Next(), 0)},
		"no address": {{}},
		"too many":   make([]netip.AddrPort, maxServers+1),
	} {
		if _, err := d.Discover(t.Context(), Config{Servers: servers}, noFirst(t)); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	// From loopback there is no way out. That is no word on whether UDP is blocked.
	r, err := d.Discover(t.Context(), Config{Servers: []netip.AddrPort{netip.MustParseAddrPort("198.51.100.1:4433")}}, noFirst(t))
	if err == nil || r.Reflexive.IsValid() {
		t.Errorf("found %+v, %v", r, err)
	}
}

func TestAServerThatDoesNotAnswerKeepsNobodyListening(t *testing.T) {
	d := loopback(t)
	ctx, stop := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer stop()
	if a, err := d.Reflexive(ctx, silent(t)); err == nil || len(d.ears) != 0 {
		t.Errorf("%s, %v, %d listening", a, err, len(d.ears))
	}
}

func TestAServerThatDoesNotAnswerIsAskedTwice(t *testing.T) {
	d := loopback(t)
	server, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	if a, err := d.Reflexive(t.Context(), server.LocalAddr().(*net.UDPAddr).AddrPort()); !errors.Is(err, stun.ErrNoAnswer) {
		t.Errorf("%s, %v", a, err)
	}
	last, err := net.DialUDP("udp4", nil, server.LocalAddr().(*net.UDPAddr))
	if err != nil {
		t.Fatal(err)
	}
	defer last.Close()
	if _, err := last.Write([]byte("all")); err != nil { // comes after what was sent before
		t.Fatal(err)
	}
	asked := 0
	for b := make([]byte, 100); ; asked++ {
		n, _, err := server.ReadFromUDPAddrPort(b)
		if err != nil {
			t.Fatal(err)
		}
		if string(b[:n]) == "all" {
			break
		}
	}
	if asked != 2 {
		t.Errorf("asked %d times", asked)
	}
}
