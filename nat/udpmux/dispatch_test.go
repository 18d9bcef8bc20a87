package udpmux

import (
	"bytes"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestRunsAreSplitWhereTheirKindChanges(t *testing.T) {
	u, s := utpPacket(0, 0, 16), stunMessage(1, attribute(6, "punch:1"), attribute(0x8022, ""))
	if len(u) != len(s) {
		t.Fatalf("the samples have %d and %d bytes", len(u), len(s))
	}
	x := make([]byte, len(u))
	stranger := netip.MustParseAddrPort("198.51.100.7:1")
	for _, c := range []struct {
		from netip.AddrPort
		run  [][]byte
		want string
	}{
		{stranger, [][]byte{u, u, u}, "utp 108/36"},
		{stranger, [][]byte{u, u, u[:20]}, "utp 92/36"},
		{stranger, [][]byte{u}, "utp 36/36"},
		{stranger, [][]byte{u, s, s, u}, "utp 36/36, stun 72/36, utp 36/36"},
		{stranger, [][]byte{x, u, u, x, u[:20]}, "utp 72/36, utp 20/20"},
		{stranger, [][]byte{x, x, x[:1]}, ""},
		{controlAddr, [][]byte{x, s, u, x[:1]}, "quic 109/36"},
		{bothAddr, [][]byte{x, s, u}, "quic 36/36, stun 36/36, quic 36/36"},
	} {
		var got []string
		data := slices.Concat(c.run...)
		d := newDispatcher(handled(agentRoutes(t), func(k Kind, r Run) {
			got = append(got, fmt.Sprintf("%s %d/%d", k, len(r.Data), r.Size))
			if !bytes.Contains(data, r.Data) || r.From != c.from {
				t.Errorf("%s got bytes or a source of nobody", k)
			}
		}), maxRuns)
		d.dispatch(time.Now(), []Run{{From: c.from, Data: data, Size: len(c.run[0])}})
		want := strings.Split(c.want, ", ")
		if c.want == "" {
			want = nil
		}
		slices.Sort(got) // one handler is called after another
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("got %q, not %q", got, want)
		}
	}
}

func TestHandlerGetsABatchAtOnceAndNeverMoreThanItsBound(t *testing.T) {
	stranger := netip.MustParseAddrPort("198.51.100.7:1")
	var calls []int
	s := &Socket{cfg: Config{}.withDefaults()}
	s.Handle(UTP, func(_ time.Time, runs []Run) { calls = append(calls, len(runs)) })
	d := newDispatcher(s, maxRuns)
	u := Run{From: stranger, Data: utpPacket(0, 0, 0), Size: 20}
	d.dispatch(time.Now(), slices.Repeat([]Run{u}, 16))
	d.dispatch(time.Now(), slices.Repeat([]Run{u}, 2*maxRuns+3))
	d.dispatch(time.Now(), nil)
	if want := []int{16, maxRuns, maxRuns, 3}; !slices.Equal(calls, want) {
		t.Errorf("the handler was called with %v runs, not %v", calls, want)
	}
}

func TestKindWithoutHandlerIsDropped(t *testing.T) {
	s := &Socket{cfg: Config{}.withDefaults()}
	newDispatcher(s, maxRuns).dispatch(time.Now(), []Run{{From: controlAddr, Data: utpPacket(0, 0, 0), Size: 20}})
	if got := s.counts.received[Drop].Load(); got != 1 {
		t.Errorf("%d datagrams were counted as dropped, not 1", got)
	}
}

func TestSecondHandlerPanics(t *testing.T) {
	for name, f := range map[string]func(*Socket){
		"a second": func(s *Socket) { s.PacketConn(QUIC); s.PacketConn(QUIC) },
		"for Drop": func(s *Socket) { s.Handle(Drop, func(time.Time, []Run) {}) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s handler is taken", name)
				}
			}()
			f(&Socket{})
		}()
	}
}
