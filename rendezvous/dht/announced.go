package dht

import (
	"net/netip"
	"time"
)

// Bounds of the peers that others announce to us.
const (
	announcedFor = 30 * time.Minute
	maxHashes    = 2000  // torrents
	perHash      = 100   // peers of one
	maxAnnounced = 20000 // peers of all, about 3 MB
	perHost      = 100   // peers that one host may announce, over all torrents
)

// announced are the peers of one family that others have announced to us.
type announced struct {
	self   [20]byte
	swarms map[[20]byte]map[netip.AddrPort]time.Time
	hosts  map[netip.Prefix]int
	total  int
	swept  time.Time
}

func newAnnounced(self [20]byte) announced {
	return announced{self: self, swarms: make(map[[20]byte]map[netip.AddrPort]time.Time), hosts: make(map[netip.Prefix]int)}
}

// add notes a peer, and reports whether there was room. When there are too many torrents, those closest to our id stay:
// they are those that honest nodes announce to us.
func (s *announced) add(hash [20]byte, a netip.AddrPort, now time.Time) bool {
	s.sweep(now)
	swarm := s.swarms[hash]
	if _, ok := swarm[a]; ok {
		swarm[a] = now
		return true
	}
	if len(swarm) >= perHash || s.hosts[host(a.Addr())] >= perHost ||
		(swarm == nil && len(s.swarms) >= maxHashes || s.total >= maxAnnounced) && !s.dropFarther(hash) {
		return false
	}
	if swarm == nil {
		swarm = make(map[netip.AddrPort]time.Time)
		s.swarms[hash] = swarm
	}
	swarm[a] = now
	s.hosts[host(a.Addr())]++
	s.total++
	return true
}

// sweep drops what is too old, at most once a minute.
func (s *announced) sweep(now time.Time) {
	if now.Sub(s.swept) < time.Minute {
		return
	}
	s.swept = now
	for hash, swarm := range s.swarms {
		for a, at := range swarm {
			if now.Sub(at) >= announcedFor {
				s.drop(hash, a)
			}
		}
	}
}

// dropFarther drops the torrent that is farthest from our id, if it is farther than the given one.
func (s *announced) dropFarther(hash [20]byte) bool {
	farthest := hash
	for h := range s.swarms {
		if compareDistance(h, farthest, s.self) > 0 {
			farthest = h
		}
	}
	if farthest == hash {
		return false
	}
	for a := range s.swarms[farthest] {
		s.drop(farthest, a)
	}
	return true
}

func (s *announced) drop(hash [20]byte, a netip.AddrPort) {
	h := host(a.Addr())
	if s.hosts[h]--; s.hosts[h] == 0 {
		delete(s.hosts, h)
	}
	s.total--
	swarm := s.swarms[hash]
	if delete(swarm, a); len(swarm) == 0 {
		delete(s.swarms, hash)
	}
}

// peers returns up to most peers of a torrent, a random choice if there are more.
func (s *announced) peers(hash [20]byte, most int, now time.Time) []netip.AddrPort {
	var list []netip.AddrPort
	for a, at := range s.swarms[hash] {
		if len(list) == most {
			break
		}
		if now.Sub(at) < announcedFor {
			list = append(list, a)
		}
	}
	return list
}
