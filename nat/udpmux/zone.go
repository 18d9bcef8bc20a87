package udpmux

import (
	"net"
	"net/netip"
	"strconv"
	"sync"
	"time"
)

// zoneAge is how long the names of interfaces are believed, zoneRetry how often an unknown one is looked up.
const (
	zoneAge   = time.Minute
	zoneRetry = time.Second
)

// zones knows the names of interfaces, for link-local addresses, and asks the kernel for them seldom.
type zones struct {
	mu      sync.Mutex
	learned time.Time
	names   map[uint32]netip.Addr // an address with the zone: holding one makes the next cost no memory
	indices map[string]uint32
}

// with is the address with the interface's name as zone, or its number where it has no name any more.
func (z *zones) with(a netip.Addr, index uint32) netip.Addr {
	z.mu.Lock()
	defer z.mu.Unlock()
	named, ok := z.names[index]
	if z.stale(ok) {
		z.learn()
		named, ok = z.names[index]
	}
	if !ok {
		return a.WithZone(strconv.FormatUint(uint64(index), 10))
	}
	return a.WithZone(named.Zone())
}

// index is the number of an interface by its name or number, which is not empty; 0 for an unknown one.
func (z *zones) index(zone string) uint32 {
	if '0' <= zone[0] && zone[0] <= '9' {
		if n, err := strconv.ParseUint(zone, 10, 32); err == nil {
			return uint32(n)
		}
	}
	z.mu.Lock()
	defer z.mu.Unlock()
	n, ok := z.indices[zone]
	if z.stale(ok) {
		z.learn()
		n = z.indices[zone]
	}
	return n
}

func (z *zones) stale(known bool) bool {
	age := time.Since(z.learned)
	return age >= zoneAge || !known && age >= zoneRetry
}

func (z *zones) learn() {
	z.learned = time.Now()
	all, err := net.Interfaces()
	if err != nil {
		return
	}
	z.names, z.indices = make(map[uint32]netip.Addr, len(all)), make(map[string]uint32, len(all))
	for _, i := range all {
		z.names[uint32(i.Index)] = netip.IPv6LinkLocalAllNodes().WithZone(i.Name)
		z.indices[i.Name] = uint32(i.Index)
	}
}
