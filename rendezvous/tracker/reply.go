package tracker

import (
	"bytes"
	"fmt"
	"math"
	"net/netip"
	"strconv"
	"time"
)

// Bounds of an answer.
const (
	maxReply = 1 << 20 // bytes, unpacked
	maxPeers = 2000    // those after are left out
	maxID    = 256     // bytes of a tracker id; a longer one is ignored

	defaultInterval    = 30 * time.Minute
	leastInterval      = time.Minute
	mostInterval       = 24 * time.Hour
	defaultMinInterval = time.Minute
	leastMinInterval   = 30 * time.Second
)

// Response is what a tracker answered, within bounds whatever it sent.
type Response struct {
	// Peers are at most 2000 different addresses that could be a peer's: with a port, and not unspecified, multicast or
	// broadcast. IPv4 addresses are never in their IPv6 form. Our own may be among them.
	Peers        []netip.AddrPort
	Interval     time.Duration // until the next announce: 1 minute to 24 hours, 30 minutes if the tracker names none
	MinInterval  time.Duration // least time between announces: 30 seconds to Interval, 1 minute if the tracker names none
	Warning      string        // one line of at most 300 bytes for the user, or empty
	Seeders      int           // 0 if the tracker does not say
	Leechers     int           // 0 if the tracker does not say
	Downloads    int           // how many peers ever became complete; 0 if the tracker does not say
	HasCounts    bool          // the tracker says Seeders or Leechers
	HasDownloads bool          // the tracker says Downloads, which is no part of BEP 3
	TrackerID    string        // to be sent with the next Request to this tracker, or empty
}

// parseReply reads the body of an answer. Unknown keys are skipped, and so are known ones of the wrong type that an
// announce can do without.
func parseReply(b []byte) (Response, error) {
	p := replyParser{d: decoder{b: b}}
	if err := p.d.whole(p.value); err != nil {
		return Response{}, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if err := p.failure.err(); err != nil {
		return Response{}, err
	}
	return p.r.within(p.peers, p.interval, p.minInterval), nil
}

// within completes a response with peers, and with intervals in seconds as the tracker gave them.
func (r Response) within(peers peerSet, interval, minInterval int64) Response {
	r.Peers = peers.list
	r.Interval = clampSeconds(interval, defaultInterval, leastInterval, mostInterval)
	r.MinInterval = clampSeconds(minInterval, min(defaultMinInterval, r.Interval), leastMinInterval, r.Interval)
	return r
}

// merge is what several answers of one tracker to the same announce say together.
func merge(all []Response) Response {
	r := all[0]
	for _, o := range all[1:] {
		p := peerSet{}
		for _, addr := range append(r.Peers, o.Peers...) {
			p.add(addr.Addr(), int64(addr.Port()))
		}
		r.Peers = p.list
		r.Interval, r.MinInterval = max(r.Interval, o.Interval), max(r.MinInterval, o.MinInterval)
		r.Seeders, r.Leechers, r.Downloads = max(r.Seeders, o.Seeders), max(r.Leechers, o.Leechers), max(r.Downloads, o.Downloads)
		r.HasCounts, r.HasDownloads = r.HasCounts || o.HasCounts, r.HasDownloads || o.HasDownloads
		if r.Warning == "" {
			r.Warning = o.Warning
		}
		if r.TrackerID == "" {
			r.TrackerID = o.TrackerID
		}
	}
	return r
}

// clampSeconds brings seconds as a tracker gave them into bounds; those that are not positive mean other.
func clampSeconds(s int64, other, least, most time.Duration) time.Duration {
	if s <= 0 {
		return other
	}
	return min(max(time.Duration(min(s, int64(mostInterval/time.Second)))*time.Second, least), most)
}

// clampCount brings a number of peers into bounds.
func clampCount(n int64) int { return int(min(max(n, 0), math.MaxInt32)) }

type replyParser struct {
	d       decoder
	r       Response
	peers   peerSet
	failure failure

	interval, minInterval int64 // seconds
}

// value reads the value of one key, which starts with the byte kind.
func (p *replyParser) value(key string, kind byte) error {
	switch {
	case key == "peers" && isText(kind):
		return p.compact(net4)
	case key == "peers6" && isText(kind):
		return p.compact(net6)
	case (key == "peers" || key == "peers6") && kind == 'l':
		return p.list()
	case kind == 'i':
		n, err := p.d.integer()
		p.number(key, n)
		return err
	case isText(kind):
		s, err := p.d.text()
		p.words(key, s)
		return err
	case key == "peers" || key == "peers6":
		return fmt.Errorf("%s is neither a string nor a list", key)
	}
	return p.d.skip(1)
}

func (p *replyParser) number(key string, n int64) {
	switch key {
	case "interval":
		p.interval = n
	case "min interval":
		p.minInterval = n
	case "complete":
		p.r.Seeders, p.r.HasCounts = clampCount(n), true
	case "incomplete":
		p.r.Leechers, p.r.HasCounts = clampCount(n), true
	case "downloaded":
		p.r.Downloads, p.r.HasDownloads = clampCount(n), true
	case "retry in":
		p.failure.minutes(n)
	}
}

func (p *replyParser) words(key string, s []byte) {
	switch key {
	case "failure reason":
		p.failure.reason(s)
	case "retry in":
		p.failure.retry(string(s))
	case "warning message":
		p.r.Warning = oneLine(string(s))
	case "tracker id":
		if len(s) <= maxID {
			p.r.TrackerID = string(s)
		}
	}
}

func (p *replyParser) compact(size int) error {
	s, err := p.d.text()
	if err != nil {
		return err
	}
	return p.peers.compact(s, size)
}

// list reads addresses as BEP 3 has them, each in a dictionary. Host names, which BEP 3 allows, are left out: resolving
// them would let a tracker make us ask any name server.
func (p *replyParser) list() error {
	p.d.i++
	for {
		if more, err := p.d.more(); !more || err != nil {
			return err
		}
		var ip netip.Addr
		var port int64
		err := p.d.fields(func(key string, kind byte) (err error) {
			switch {
			case key == "port" && kind == 'i':
				port, err = p.d.integer()
			case key == "ip" && isText(kind):
				var s []byte
				s, err = p.d.text()
				if len(s) <= 64 {
					ip, _ = netip.ParseAddr(string(s))
				}
			default:
				err = p.d.skip(3)
			}
			return err
		})
		if err != nil {
			return err
		}
		p.peers.add(ip, port)
	}
}

// failure collects what an answer says about a refusal.
type failure struct {
	said bool
	is   FailureError
}

func (f *failure) reason(s []byte) { f.said, f.is.Reason = true, oneLine(string(s)) }

// retry reads BEP 31's text form: "never", or minutes.
func (f *failure) retry(s string) {
	if s == "never" {
		f.is.Never = true
	} else if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		f.minutes(n)
	}
}

func (f *failure) minutes(n int64) {
	f.is.RetryIn = time.Duration(min(max(n, 0), int64(mostInterval/time.Minute))) * time.Minute
}

// err is the refusal, or nil if the answer is none.
func (f *failure) err() error {
	if !f.said {
		return nil
	}
	return &f.is
}

// whole reads a body that is one dictionary.
func (d *decoder) whole(value func(key string, kind byte) error) error {
	if err := d.fields(value); err != nil {
		return err
	}
	if rest := bytes.TrimSpace(d.b[d.i:]); len(rest) > 0 {
		return fmt.Errorf("%d bytes follow its end", len(rest))
	}
	return nil
}
