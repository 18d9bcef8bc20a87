package dht

import (
	"net/netip"
	"time"
)

// Bounds of what is answered. An answer is at most answerFactor times as long as its query, so that a forged source address
// makes us send no more than that to somebody else.
const (
	quotaWindow  = 10 * time.Second
	quotaHost    = 50   // answers to one host in a window
	quotaAll     = 3000 // answers in a window
	answerFactor = 6    // bytes sent for a byte received, both without IP and UDP headers
	maxAnswer    = 1200 // bytes of an answer, so that it is not fragmented
)

// host is what counts as one source: an IPv4 address, or the /64 of an IPv6 address, which one customer has for himself.
func host(a netip.Addr) netip.Prefix {
	bits := 32
	if a.Is6() {
		bits = 64
	}
	p, _ := a.Prefix(bits)
	return p
}

// quota counts answers in windows of time. It remembers at most quotaAll hosts.
type quota struct {
	from  time.Time // of the window
	all   int
	hosts map[netip.Prefix]int
}

// take reports whether a host may be answered now, and counts the answer.
func (q *quota) take(a netip.Addr, now time.Time) bool {
	if q.hosts == nil || now.Sub(q.from) >= quotaWindow {
		*q = quota{from: now, hosts: make(map[netip.Prefix]int)}
	}
	h := host(a)
	if q.all >= quotaAll || q.hosts[h] >= quotaHost {
		return false
	}
	q.all++
	q.hosts[h]++
	return true
}
