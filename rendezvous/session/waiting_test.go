package session

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"testing"

	"simplebit/wire/control"
)

// addresses are n different ones, from the given number on.
func addresses(from, n int) []control.Candidate {
	var list []control.Candidate
	for i := range n {
		ip := [4]byte{10}
		binary.BigEndian.PutUint16(ip[2:], uint16(from+i))
		list = append(list, control.Candidate{Addr: netip.AddrPortFrom(netip.AddrFrom4(ip), 6881), Kind: control.CandidateReachable})
	}
	return list
}

func TestAddressesThatWaitAreSentTogether(t *testing.T) {
	for name, c := range map[string]struct {
		batches [][]control.Candidate
		want    []control.Candidate
	}{
		"none":              {[][]control.Candidate{nil}, nil},
		"one by one":        {[][]control.Candidate{addresses(0, 1), addresses(1, 1), addresses(2, 1)}, addresses(0, 3)},
		"some again":        {[][]control.Candidate{addresses(0, 4), addresses(1, 2)}, slices.Concat(addresses(0, 1), addresses(3, 1), addresses(1, 2))},
		"more than a frame": {[][]control.Candidate{addresses(0, control.MaxCandidates), addresses(1000, 3)}, slices.Concat(addresses(3, control.MaxCandidates-3), addresses(1000, 3))},
	} {
		w := newWaiting()
		for _, b := range c.batches {
			w.add(control.Candidates{ID: red, Peers: b})
		}
		got, ok := w.take()
		if ok != (c.want != nil) || !slices.Equal(got.Peers, c.want) {
			t.Errorf("%s: %v, %v, want %v", name, got.Peers, ok, c.want)
		}
		if _, more := w.take(); more || w.count != 0 || len(w.lists) != 0 {
			t.Errorf("%s: something is left", name)
		}
	}
}

func TestNoTorrentWaitsInVainBehindOthers(t *testing.T) {
	w := newWaiting()
	const torrents = 200
	for i := range torrents {
		w.add(control.Candidates{ID: infoHash{byte(i)}, Peers: addresses(0, control.MaxCandidates)})
	}
	w.add(control.Candidates{ID: infoHash{0, 1}, Peers: addresses(0, 1)})
	if w.count > maxWaiting {
		t.Errorf("%d addresses wait, the bound is %d", w.count, maxWaiting)
	}
	got := 0
	for c, ok := w.take(); ok; c, ok = w.take() {
		if n := len(c.Peers); n == 0 || n > control.MaxCandidates {
			t.Errorf("%x has %d addresses", c.ID, n)
		}
		got++
	}
	if got != torrents+1 || w.count != 0 {
		t.Errorf("%d torrents were sent, %d addresses are left", got, w.count)
	}
}

func TestMoreTorrentsThanAddressesMayWaitAreBounded(t *testing.T) {
	w := newWaiting()
	for i := range maxWaiting + 3 {
		w.add(control.Candidates{ID: infoHash{byte(i), byte(i >> 8)}, Peers: addresses(i, 1)})
	}
	if w.count != maxWaiting || len(w.lists) != maxWaiting || len(w.order) != maxWaiting {
		t.Errorf("%d addresses, %d lists and %d torrents wait", w.count, len(w.lists), len(w.order))
	}
}

func TestNoAddressIsLostToABusyLoop(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	key := newKey(t)
	d := w.joined(key)
	const torrents = 300
	for i := range torrents {
		w.hub.Candidates(idOf(key), control.Candidates{ID: infoHash{byte(i), byte(i >> 8)}, Peers: addresses(i, 2)})
	}
	missing := map[infoHash]bool{}
	for i := range torrents {
		missing[infoHash{byte(i), byte(i >> 8)}] = true
	}
	for len(missing) > 0 {
		c := next[control.Candidates](d)
		delete(missing, c.ID)
	}
}
