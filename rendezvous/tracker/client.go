package tracker

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"syscall"
	"time"
)

const (
	defaultTimeout   = 15 * time.Second
	defaultUserAgent = "SimpleBit"
)

// Config configures a Client. The zero value works.
type Config struct {
	// Control is called before every connection, after names were resolved, also for redirects and for UDP (see
	// net.Dialer). Its error refuses the address. Default: every address is dialled.
	Control func(network, address string, c syscall.RawConn) error
	// UserAgent is sent to HTTP trackers. Default: SimpleBit.
	UserAgent string
	// Timeout bounds one announce or scrape with all redirects and retransmissions. Default: 15 seconds.
	Timeout time.Duration
}

// Client announces to and scrapes HTTP, HTTPS and UDP trackers. Any goroutine may use it.
type Client struct {
	web *web
	udp *udp
}

// NewClient makes a Client with connections of its own: no proxy from the environment, no cookies.
func NewClient(c Config) *Client {
	if c.UserAgent == "" {
		c.UserAgent = defaultUserAgent
	}
	if c.Timeout <= 0 {
		c.Timeout = defaultTimeout
	}
	return &Client{web: newWeb(c), udp: newUDP(c)}
}

// Announce makes one announce to the tracker at an http, https or udp address. To a name that stands for IPv4 and IPv6
// addresses it announces over both, so that peers of both kinds learn of us, and adds the answers up. It takes at most
// Config.Timeout. Errors are *Error; addresses of other schemes give one that wraps ErrUnsupported, without any traffic.
func (c *Client) Announce(ctx context.Context, tracker string, r Request) (Response, error) {
	u, err := parseAddress(tracker)
	if err != nil {
		return Response{}, err
	}
	all, err := eachFamily(ctx, u.Hostname(), func(ctx context.Context, f family) (Response, error) {
		if u.Scheme == "udp" {
			return c.udp.announce(ctx, f, u, r)
		}
		return c.web.announce(ctx, f, u, r)
	})
	if err != nil {
		return Response{}, &Error{Tracker: u.Host, Err: err}
	}
	return merge(all), nil
}

// Scrape asks a tracker, by its address for announces, for the numbers of a torrent's swarm. It takes at most
// Config.Timeout. Errors are *Error; a tracker whose address does not follow the convention of BEP 48 gives one that wraps
// ErrUnsupported, without any traffic.
func (c *Client) Scrape(ctx context.Context, tracker string, infoHash [20]byte) (Scrape, error) {
	u, err := parseAddress(tracker)
	if err != nil {
		return Scrape{}, err
	}
	all, err := eachFamily(ctx, u.Hostname(), func(ctx context.Context, f family) (Scrape, error) {
		if u.Scheme == "udp" {
			return c.udp.scrape(ctx, f, u, infoHash)
		}
		return c.web.scrape(ctx, f, u, infoHash)
	})
	if err != nil {
		return Scrape{}, &Error{Tracker: u.Host, Err: err}
	}
	return all[0], nil
}

// parseAddress reads a tracker's address and refuses those that can never be asked.
func parseAddress(tracker string) (*url.URL, error) {
	u, err := url.Parse(tracker)
	if err != nil {
		return nil, &Error{Tracker: "with a malformed address", Err: ErrUnsupported}
	}
	refuse := func(why string) (*url.URL, error) {
		return nil, &Error{Tracker: u.Scheme + "://" + u.Host, Err: fmt.Errorf("%w: %s", ErrUnsupported, why)}
	}
	switch {
	case u.Scheme != "http" && u.Scheme != "https" && u.Scheme != "udp":
		return refuse("only http, https and udp trackers can be asked")
	case u.Hostname() == "":
		return refuse("it names no host")
	case u.Scheme == "udp" && u.Port() == "":
		return refuse("a udp tracker needs a port")
	case u.Scheme == "udp" && len(urlData(u)) > maxURLData:
		return refuse(fmt.Sprintf("what follows the host of a udp tracker has more than %d bytes", maxURLData))
	}
	return u, nil
}

// family is the kind of addresses a tracker is asked at: the end of a network's name for net.Dialer.
type family string

const (
	anyFamily family = ""
	ipv4      family = "4"
	ipv6      family = "6"
)

// secondFamily is how much longer than the first the second family may take to answer: one of them being broken is common.
const secondFamily = 3 * time.Second

// eachFamily asks a host over IPv4 and IPv6 at the same time and returns the answers that came, IPv4's first: at least
// one, or the error that says more. A host that is an address is asked once.
func eachFamily[T any](ctx context.Context, host string, ask func(context.Context, family) (T, error)) ([]T, error) {
	if _, err := netip.ParseAddr(host); err == nil {
		answer, err := ask(ctx, anyFamily)
		return []T{answer}, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type result struct {
		family int
		answer T
		err    error
	}
	done := make(chan result)
	families := []family{ipv4, ipv6}
	for i, f := range families {
		go func() {
			answer, err := ask(ctx, f)
			done <- result{i, answer, err}
		}()
	}
	results := make([]result, len(families))
	var late <-chan time.Time
	for left := len(families); left > 0; {
		select {
		case r := <-done:
			left--
			if results[r.family] = r; r.err == nil && late == nil {
				late = time.After(secondFamily)
			}
		case <-late:
			cancel()
			late = nil
		}
	}
	var answers []T
	for _, r := range results {
		if r.err == nil {
			answers = append(answers, r.answer)
		}
	}
	if len(answers) == 0 {
		return nil, telling(results[0].err, results[1].err)
	}
	return answers, nil
}

// telling returns the one of two errors, of asking a name over IPv4 and IPv6, that says more: the tracker's own words, then
// anything but that there is no address of the kind, or no route to it.
func telling(a, b error) error {
	if rank(b) > rank(a) {
		return b
	}
	return a
}

func rank(err error) int {
	var dns *net.DNSError
	var addr *net.AddrError
	switch {
	case errors.As(err, new(*FailureError)):
		return 3
	case errors.As(err, &dns) && dns.IsNotFound, errors.As(err, &addr):
		return 0
	case errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.EADDRNOTAVAIL):
		return 1
	}
	return 2
}
