package swarm

import (
	"errors"
	"net/netip"
	"time"

	"simplebit/wire/dial"
)

// fewGuests is how many connections a host may make to us, however few places there are, before it counts as crowding.
const fewGuests = 4

var (
	errCrowd   = errors.New("its host holds half of the device's places already")
	errCrowded = errors.New("its host has most connections, and others wait for a place")
	errNoPlace = errors.New("no place is left: the device has its --max-peers, or the torrent its limit")
)

// invite counts a connection that somebody made to us against its host (an IPv4 address, a /64 of IPv6), and reports whether
// it may have a place: no host holds more than half of them, or one alone could keep everybody out. What was invited is
// dismissed later.
func (s *Shared) invite(host netip.Prefix) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.guests[host] >= max(fewGuests, s.maxPeers/2) {
		return false
	}
	s.guests[host]++
	return true
}

// dismiss takes back what invite counted.
func (s *Shared) dismiss(host netip.Prefix) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.guests[host]--; s.guests[host] == 0 {
		delete(s.guests, host)
	}
}

// host is who counts as one.
func (p *peerConn) host() netip.Prefix { return dial.Host(p.addr.Addr()) }

// makeRoom has a guest take the place of another: of one whose host has more than its own, or of who is of no use.
func (t *Torrent) makeRoom(now time.Time, host netip.Prefix) bool {
	if p := leastUseful(now, t.crowd(host), t.seeding()); p != nil {
		t.drop(now, p, errCrowded)
		return t.takePlace(now)
	}
	if p := leastUseful(now, t.peers, t.seeding()); p != nil && t.idle(now, p) {
		t.drop(now, p, errTurnover)
		return t.takePlace(now)
	}
	return false
}

// crowd returns the guests of the host that has most of them, if the given one would still have fewer with another.
func (t *Torrent) crowd(but netip.Prefix) []*peerConn {
	hosts := map[netip.Prefix][]*peerConn{}
	var most []*peerConn
	for _, p := range t.peers {
		if !p.guest {
			continue
		}
		h := p.host()
		hosts[h] = append(hosts[h], p)
		if len(hosts[h]) > len(most) {
			most = hosts[h]
		}
	}
	if len(most) <= max(fewGuests, len(hosts[but])+1) {
		return nil
	}
	return most
}
