package tracker

import (
	"bytes"
	"fmt"
	"math"
	"net/netip"
	"time"
)

// Bounds of an answer.
const (
	maxReply = 1 << 20 // bytes, unpacked
	maxPeers = 1000    // those after are left out
	maxID    = 256     // bytes of a tracker id; a longer one is ignored

	defaultInterval    = 30 * time.Minute
	leastInterval      = time.Minute
	mostInterval       = 24 * time.Hour
	defaultMinInterval = time.Minute
	leastMinInterval   = 30 * time.Second
)

// Response is what a tracker answered, within bounds whatever it sent.
type Response struct {
	// Peers are at most 1000 different addresses that could be a peer's: with a port, and not unspecified, multicast or
	// broadcast. IPv4 addresses are never in their IPv6 form. Our own may be among them.
	Peers       []netip.AddrPort
	Interval    time.Duration // until the next announce: 1 minute to 24 hours, 30 minutes if the tracker names none
	MinInterval time.Duration // least time between announces: 30 seconds to Interval, 1 minute if the tracker names none
	Warning     string        // one line of at most 300 bytes for the user, or empty
	Seeders     int           // 0 if the tracker does not say
	Leechers    int           // 0 if the tracker does not say
	TrackerID   string        // to be sent with the next Request to this tracker, or empty
}

// parseReply reads the body of an answer. Unknown keys are skipped, and so are known ones of the wrong type that an
// announce can do without.
func parseReply(b []byte) (Response, error) {
	p := replyParser{d: decoder{b: b}, seen: make(map[netip.AddrPort]bool)}
	if err := p.parse(); err != nil {
		return Response{}, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if p.failed {
		return Response{}, &FailureError{Reason: p.failure}
	}
	r := p.r
	r.Interval = clampSeconds(p.interval, defaultInterval, leastInterval, mostInterval)
	r.MinInterval = clampSeconds(p.minInterval, min(defaultMinInterval, r.Interval), leastMinInterval, r.Interval)
	return r, nil
}

// clampSeconds brings seconds as a tracker gave them into bounds; those that are not positive mean other.
func clampSeconds(s int64, other, least, most time.Duration) time.Duration {
	if s <= 0 {
		return other
	}
	return min(max(time.Duration(min(s, int64(mostInterval/time.Second)))*time.Second, least), most)
}

type replyParser struct {
	d    decoder
	r    Response
	seen map[netip.AddrPort]bool

	interval, minInterval int64 // seconds
	failed                bool
	failure               string
}

func (p *replyParser) parse() error {
	if err := p.d.open('d'); err != nil {
		return err
	}
	for {
		more, err := p.d.more()
		if err != nil {
			return err
		}
		if !more {
			break
		}
		key, err := p.d.text()
		if err != nil {
			return err
		}
		kind, err := p.d.peek()
		if err != nil {
			return err
		}
		if err := p.value(string(key), kind); err != nil {
			return err
		}
	}
	if rest := bytes.TrimSpace(p.d.b[p.d.i:]); len(rest) > 0 {
		return fmt.Errorf("%d bytes follow its end", len(rest))
	}
	return nil
}

// value reads the value of one key, which starts with the byte kind.
func (p *replyParser) value(key string, kind byte) error {
	isText := kind >= '0' && kind <= '9'
	switch {
	case key == "peers" && isText:
		return p.compact(net4)
	case key == "peers" && kind == 'l':
		return p.list()
	case key == "peers6" && isText:
		return p.compact(net6)
	case kind == 'i':
		n, err := p.d.integer()
		p.number(key, n)
		return err
	case isText:
		s, err := p.d.text()
		p.words(key, s)
		return err
	case key == "peers" || key == "peers6":
		return fmt.Errorf("%s is neither a string nor a list", key)
	}
	return p.d.skip(1)
}

func (p *replyParser) number(key string, n int64) {
	count := int(min(max(n, 0), math.MaxInt32))
	switch key {
	case "interval":
		p.interval = n
	case "min interval":
		p.minInterval = n
	case "complete":
		p.r.Seeders = count
	case "incomplete":
		p.r.Leechers = count
	}
}

func (p *replyParser) words(key string, s []byte) {
	switch key {
	case "failure reason":
		p.failed, p.failure = true, oneLine(string(s))
	case "warning message":
		p.r.Warning = oneLine(string(s))
	case "tracker id":
		if len(s) <= maxID {
			p.r.TrackerID = string(s)
		}
	}
}

// Lengths in bytes of a compact address without its port.
const (
	net4 = 4
	net6 = 16
)

// compact reads addresses as BEP 23 and BEP 7 have them: size bytes of address, two of port, big-endian.
func (p *replyParser) compact(size int) error {
	s, err := p.d.text()
	if err != nil {
		return err
	}
	if len(s)%(size+2) != 0 {
		return fmt.Errorf("its peers have %d bytes, not a multiple of %d", len(s), size+2)
	}
	for ; len(s) > 0; s = s[size+2:] {
		ip, _ := netip.AddrFromSlice(s[:size])
		p.add(ip, int64(s[size])<<8|int64(s[size+1]))
	}
	return nil
}

// list reads addresses as BEP 3 has them, each in a dictionary. Host names, which BEP 3 allows, are left out: resolving
// them would let a tracker make us ask any name server.
func (p *replyParser) list() error {
	p.d.i++
	for {
		if more, err := p.d.more(); !more || err != nil {
			return err
		}
		if err := p.d.open('d'); err != nil {
			return err
		}
		var ip netip.Addr
		var port int64
		for {
			more, err := p.d.more()
			if err != nil {
				return err
			}
			if !more {
				break
			}
			key, err := p.d.text()
			if err != nil {
				return err
			}
			kind, _ := p.d.peek()
			switch {
			case string(key) == "port" && kind == 'i':
				port, err = p.d.integer()
			case string(key) == "ip" && kind >= '0' && kind <= '9':
				var s []byte
				s, err = p.d.text()
				if len(s) <= 64 {
					ip, _ = netip.ParseAddr(string(s))
				}
			default:
				err = p.d.skip(3)
			}
			if err != nil {
				return err
			}
		}
		p.add(ip, port)
	}
}

var broadcast = netip.AddrFrom4([4]byte{255, 255, 255, 255})

// add keeps an address that can be a peer's.
func (p *replyParser) add(ip netip.Addr, port int64) {
	ip = ip.Unmap()
	if !ip.IsValid() || ip.Zone() != "" || ip.IsUnspecified() || ip.IsMulticast() || ip == broadcast || port < 1 || port > math.MaxUint16 {
		return
	}
	addr := netip.AddrPortFrom(ip, uint16(port))
	if len(p.r.Peers) == maxPeers || p.seen[addr] {
		return
	}
	p.seen[addr] = true
	p.r.Peers = append(p.r.Peers, addr)
}
