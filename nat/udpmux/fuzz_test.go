package udpmux

import (
	"bytes"
	"net/netip"
	"slices"
	"testing"
	"time"
)

// FuzzDispatch gives the read loop's sorting a run of any bytes. What the handlers get must be each datagram once, at one
// handler, in order, and all of QUIC's when it comes from the control endpoint.
func FuzzDispatch(f *testing.F) {
	for i, s := range samples() {
		f.Add(s.bytes, uint16(len(s.bytes)/2+1), byte(i))
	}
	f.Add(slices.Concat(utpPacket(0, 0, 0), stunMessage(1), utpPacket(4, 0, 0)), uint16(20), byte(4))
	f.Add(slices.Concat(utpPacket(0, 0, 0), []byte("d1:ad2:id20:abcdefghij")), uint16(20), byte(5))
	sources := []netip.AddrPort{controlAddr, stunAddr, bothAddr, netip.MustParseAddrPort("[::ffff:203.0.113.1]:4433"), netip.MustParseAddrPort("198.51.100.7:1")}
	f.Fuzz(func(t *testing.T, data []byte, size uint16, source byte) {
		routes := agentRoutes(t)
		at := int(source) % (len(sources) + 1)
		from := netip.MustParseAddrPort("198.51.100.7:1")
		if at == len(sources) {
			routes = NewRoutes(Front)
		} else {
			from = sources[at]
		}
		if len(data) == 0 {
			return
		}
		run := Run{From: from, Data: data, Size: max(1, min(int(size), len(data)))}

		var got, want [kinds][][]byte
		d := newDispatcher(handled(routes, func(k Kind, r Run) { got[k] = slices.AppendSeq(got[k], r.Datagrams()) }), maxRuns)
		d.dispatch(time.Time{}, []Run{run})
		for b := range run.Datagrams() {
			k := routes.Classify(from, b)
			want[k] = append(want[k], b)
		}
		for k := range kinds {
			if Kind(k) != Drop && !slices.EqualFunc(got[k], want[k], bytes.Equal) {
				t.Errorf("%s got %d datagrams that are not the %d it should", Kind(k), len(got[k]), len(want[k]))
			}
			if n := int(d.s.counts.received[k].Load()); n != len(want[k]) {
				t.Errorf("%d of %s were counted, not %d", n, Kind(k), len(want[k]))
			}
		}
		if unmap(from) == controlAddr && len(got[QUIC]) != run.Len() {
			t.Errorf("QUIC got %d of %d datagrams from the control endpoint", len(got[QUIC]), run.Len())
		}
	})
}

// handled is a socket without a socket, whose handlers tell f.
func handled(routes *Routes, f func(Kind, Run)) *Socket {
	s := &Socket{cfg: Config{Routes: routes}.withDefaults()}
	for k := QUIC; k < kinds; k++ {
		s.Handle(k, func(_ time.Time, runs []Run) {
			for _, r := range runs {
				f(k, r)
			}
		})
	}
	return s
}
