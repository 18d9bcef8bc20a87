package virtual

import (
	"errors"
	"net/netip"
	"time"
)

// CarrierConfig describes a carrier's NAT. The zero value works.
type CarrierConfig struct {
	// External is its IPv4 address outside. Default 198.18.3.2.
	External netip.Addr
	// Hairpin lets the homes reach each other by their public endpoints, as natlab.CarrierConfig has it.
	Hairpin bool
	// Timeout is how long a mapping lives without traffic. Default 2 minutes.
	Timeout time.Duration
	// Seed is what random ports are made from.
	Seed uint64
}

// A home's share of a carrier's ports, the first of them, and how many shares there are.
const (
	blockSize = 1024
	blocks    = 44
	firstPort = 20000
)

// NewCarrier makes a carrier: the NAT in front of homes with addresses in 100.64.0.0/10 (RFC 6598). The n-th home, from 1
// to 44, has 100.64.n.0/24, and 100.64.(128+n).0/24 for its devices if it translates nothing itself; others have no ports
// and get nowhere. IPv6 passes untranslated.
func NewCarrier(c CarrierConfig) (*NAT, error) {
	if !c.External.IsValid() {
		c.External = netip.AddrFrom4([4]byte{198, 18, 3, 2})
	}
	if c.Timeout == 0 {
		c.Timeout = defaultTimeout
	}
	if !c.External.Is4() || c.Timeout < 0 {
		return nil, errors.New("virtual: a carrier's External must be of IPv4, and its Timeout not negative")
	}
	r := rules{translated: true, keep: true, hairpin: c.Hairpin, ports: span{random: true}}
	n := &NAT{
		four:    newBox(r, c.External, netip.MustParsePrefix("100.64.0.0/10"), c.Timeout, c.Seed),
		six:     &box{elsewhere: true},
		carrier: true,
	}
	n.four.block = block
	return n, nil
}

// Homes is where the n-th home of a carrier, from 1 to 44, has its router's address outside, and its devices if nothing
// is translated there.
func Homes(n int) (router netip.Addr, devices netip.Prefix) {
	return netip.AddrFrom4([4]byte{100, 64, byte(n), 2}), netip.PrefixFrom(netip.AddrFrom4([4]byte{100, 64, byte(128 + n), 0}), 24)
}

// block is the ports of the home that has the address; 0 if it has none.
func block(home netip.Addr) (first, last uint16) {
	b := home.As4()
	n := int(b[2] % 128)
	if b[1] != 64 || n < 1 || n > blocks {
		return 0, 0
	}
	first = uint16(firstPort + (n-1)*blockSize)
	return first, first + blockSize - 1
}
