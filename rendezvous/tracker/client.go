package tracker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"syscall"
	"time"
)

const (
	defaultTimeout   = 15 * time.Second
	defaultUserAgent = "SimpleBit"
	maxRedirects     = 5
	maxHeader        = 64 << 10         // bytes of an answer's header
	idleTimeout      = 10 * time.Second // for connections that may serve the next torrent
	perHost          = 16               // connections to one tracker, so that a restart with many torrents does not flood it
)

// Config configures a Client. The zero value works.
type Config struct {
	// Control is called before every connection, after names were resolved, also for redirects (see net.Dialer). Its
	// error refuses the address. Default: every address is dialled.
	Control func(network, address string, c syscall.RawConn) error
	// UserAgent is sent to trackers. Default: SimpleBit.
	UserAgent string
	// Timeout bounds one announce with all redirects. Default: 15 seconds.
	Timeout time.Duration
}

// Client announces to HTTP and HTTPS trackers. Any goroutine may use it.
type Client struct {
	http      *http.Client
	userAgent string
}

// NewClient makes a Client with connections of its own: no proxy from the environment, no cookies.
func NewClient(c Config) *Client {
	if c.UserAgent == "" {
		c.UserAgent = defaultUserAgent
	}
	if c.Timeout <= 0 {
		c.Timeout = defaultTimeout
	}
	dialer := &net.Dialer{Timeout: c.Timeout, Control: c.Control}
	return &Client{
		userAgent: c.UserAgent,
		http: &http.Client{
			CheckRedirect: checkRedirect,
			Timeout:       c.Timeout,
			Transport: &http.Transport{
				DialContext:            dialer.DialContext,
				TLSHandshakeTimeout:    c.Timeout,
				IdleConnTimeout:        idleTimeout,
				MaxIdleConns:           2 * perHost,
				MaxIdleConnsPerHost:    2,
				MaxConnsPerHost:        perHost,
				MaxResponseHeaderBytes: maxHeader,
			},
		},
	}
}

// Announce makes one announce to the tracker at an http or https address. It takes at most Config.Timeout. Errors are
// *Error; udp addresses and those of other schemes give one that wraps ErrUnsupported, without any traffic.
func (c *Client) Announce(ctx context.Context, tracker string, r Request) (Response, error) {
	u, err := url.Parse(tracker)
	if err != nil {
		return Response{}, &Error{Tracker: "with a malformed address", Err: ErrUnsupported}
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return Response{}, &Error{Tracker: u.Scheme + "://" + u.Host, Err: ErrUnsupported}
	}
	resp, err := c.get(ctx, announceURL(u, r))
	if err != nil {
		return Response{}, &Error{Tracker: u.Host, Err: err}
	}
	return resp, nil
}

func (c *Client) get(ctx context.Context, u *url.URL) (Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return Response{}, fmt.Errorf("%w: its address is malformed", ErrUnsupported)
	}
	req.Header.Set("User-Agent", c.userAgent)
	res, err := c.http.Do(req)
	if err != nil {
		return Response{}, c.plain(ctx, err)
	}
	defer res.Body.Close()
	// The transport asks for gzip and unpacks it by itself, so this limits what comes out.
	body, err := io.ReadAll(io.LimitReader(res.Body, maxReply+1))
	if err != nil {
		return Response{}, fmt.Errorf("reading the answer: %w", c.plain(ctx, err))
	}
	if len(body) > maxReply {
		return Response{}, ErrTooLarge
	}
	r, err := parseReply(body)
	var failure *FailureError
	if res.StatusCode != http.StatusOK && !errors.As(err, &failure) {
		return Response{}, fmt.Errorf("%w: HTTP status %s", ErrMalformed, res.Status)
	}
	return r, err
}

// plain takes the address out of an error of net/http, since its query holds the keys of private trackers, and says in
// words that time ran out.
func (c *Client) plain(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		err = wrapped.Err
	}
	var network net.Error
	if errors.As(err, &network) && network.Timeout() {
		return fmt.Errorf("no answer in %v: %w", c.http.Timeout, context.DeadlineExceeded)
	}
	return err
}

// checkRedirect follows a tracker that moved, but not from https to http, where others could read the user's key.
func checkRedirect(req *http.Request, via []*http.Request) error {
	// It would tell the new host the whole query for the old one.
	req.Header.Del("Referer")
	switch from := via[len(via)-1].URL; {
	case len(via) > maxRedirects:
		return fmt.Errorf("more than %d redirects", maxRedirects)
	case req.URL.Scheme != "http" && req.URL.Scheme != "https":
		return fmt.Errorf("redirected to an address of scheme %q: %w", req.URL.Scheme, ErrUnsupported)
	case from.Scheme == "https" && req.URL.Scheme == "http":
		return errors.New("redirected from https to http, which is not followed")
	}
	return nil
}
