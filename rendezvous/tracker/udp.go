package tracker

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/url"
	"sync"
	"time"
)

const (
	maxDatagram    = 16 << 10 // bytes of an answer: 900 peers over IPv6, of which we ask for 80
	maxCalls       = 256      // at the same time, each with a socket
	maxConnections = 1024     // connection ids kept
)

// udp asks UDP trackers (BEP 15), each time from a socket of its own that the kernel lets only the tracker's address send to.
type udp struct {
	dialer  net.Dialer
	timeout time.Duration
	calls   chan struct{} // full while no more can begin

	mu          sync.Mutex
	connections map[string]connection // by the tracker's address after resolution
}

func newUDP(c Config) *udp {
	return &udp{
		dialer: net.Dialer{Control: c.Control}, timeout: c.Timeout,
		calls: make(chan struct{}, maxCalls), connections: make(map[string]connection),
	}
}

func (u *udp) announce(ctx context.Context, f family, tracker *url.URL, r Request) (Response, error) {
	answer, size, err := u.ask(ctx, f, tracker.Host, actionAnnounce, appendAnnounce(nil, r, urlData(tracker)))
	if err != nil {
		return Response{}, err
	}
	return parseAnnounce(answer, size)
}

func (u *udp) scrape(ctx context.Context, f family, tracker *url.URL, infoHash [20]byte) (Scrape, error) {
	answer, _, err := u.ask(ctx, f, tracker.Host, actionScrape, infoHash[:])
	if err != nil {
		return Scrape{}, err
	}
	return parseUDPScrape(answer)
}

// ask makes one call. It returns what follows the head of the answer, and how many bytes an address in it has.
func (u *udp) ask(ctx context.Context, f family, host string, action uint32, body []byte) (answer []byte, size int, err error) {
	limited, cancel := context.WithTimeout(ctx, u.timeout)
	defer cancel()
	select {
	case u.calls <- struct{}{}:
		defer func() { <-u.calls }()
	case <-limited.Done():
		return nil, 0, u.end(ctx, fmt.Errorf("more than %d udp trackers are being asked already", maxCalls))
	}
	conn, err := u.dialer.DialContext(limited, "udp"+string(f), host)
	if err != nil {
		if limited.Err() != nil {
			err = u.end(ctx, nil)
		}
		return nil, 0, err
	}
	defer conn.Close()
	// BEP 15: the family of the datagram says how addresses in it are written.
	if size = net4; conn.RemoteAddr().(*net.UDPAddr).AddrPort().Addr().Unmap().Is6() {
		size = net6
	}
	key := conn.RemoteAddr().String()
	c := &call{action: action, body: body, unit: u.timeout / 5}
	c.connection, c.cached = u.connection(key)
	answer, err = u.exchange(limited, conn, c)
	u.keep(key, c.connection)
	if err != nil && limited.Err() != nil {
		err = u.end(ctx, c.why)
	}
	return answer, size, err
}

// end is the error when a call ran out of time, or its context ended.
func (u *udp) end(ctx context.Context, why error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return noAnswer(u.timeout, why)
}

// exchange does for a call what it wants, until it has an answer or ctx ends.
func (u *udp) exchange(ctx context.Context, conn net.Conn, c *call) ([]byte, error) {
	defer context.AfterFunc(ctx, func() { conn.SetReadDeadline(time.Unix(1, 0)) })()
	b := make([]byte, maxDatagram+1)
	for {
		if datagram := c.poll(time.Now(), rand.Uint32()); datagram != nil {
			if _, err := conn.Write(datagram); err != nil {
				return nil, err
			}
		}
		if err := conn.SetReadDeadline(c.due); err != nil {
			return nil, err
		}
		if ctx.Err() != nil { // its end may have come before this deadline was set
			return nil, ctx.Err()
		}
		n, err := conn.Read(b)
		var network net.Error
		if errors.As(err, &network) && network.Timeout() {
			continue
		}
		if err != nil {
			return nil, err
		}
		if n > maxDatagram {
			return nil, fmt.Errorf("%w: more than 16 KiB in a datagram", ErrTooLarge)
		}
		if answer, err := c.receive(time.Now(), b[:n]); answer != nil || err != nil {
			return answer, err
		}
	}
}

// connection returns the id that is kept for a tracker's address.
func (u *udp) connection(key string) (connection, bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	c := u.connections[key]
	return c, c.valid(time.Now())
}

// keep notes the id that the next calls may use, or that there is none.
func (u *udp) keep(key string, c connection) {
	u.mu.Lock()
	defer u.mu.Unlock()
	now := time.Now()
	if len(u.connections) >= maxConnections {
		for k, old := range u.connections {
			if !old.valid(now) {
				delete(u.connections, k)
			}
		}
	}
	switch {
	case !c.valid(now):
		delete(u.connections, key)
	case len(u.connections) < maxConnections:
		u.connections[key] = c
	}
}
