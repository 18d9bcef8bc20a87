package tracker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

const (
	maxRedirects = 5
	maxHeader    = 64 << 10         // bytes of an answer's header
	idleTimeout  = 10 * time.Second // for connections that may serve the next torrent
	perHost      = 16               // connections to one tracker and family, so that a restart with many torrents does not flood it
)

// web asks HTTP and HTTPS trackers.
type web struct {
	clients   map[family]*http.Client
	dialer    net.Dialer
	userAgent string
}

func newWeb(c Config) *web {
	w := &web{clients: make(map[family]*http.Client), dialer: net.Dialer{Timeout: c.Timeout, Control: c.Control}, userAgent: c.UserAgent}
	for _, f := range []family{anyFamily, ipv4, ipv6} {
		w.clients[f] = &http.Client{
			CheckRedirect: checkRedirect,
			Timeout:       c.Timeout,
			Transport: &http.Transport{
				DialContext: func(ctx context.Context, _, address string) (net.Conn, error) {
					return w.dialer.DialContext(ctx, "tcp"+string(f), address)
				},
				TLSHandshakeTimeout:    c.Timeout,
				IdleConnTimeout:        idleTimeout,
				MaxIdleConns:           2 * perHost,
				MaxIdleConnsPerHost:    2,
				MaxConnsPerHost:        perHost,
				MaxResponseHeaderBytes: maxHeader,
			},
		}
	}
	return w
}

func (w *web) announce(ctx context.Context, f family, tracker *url.URL, r Request) (Response, error) {
	return get(ctx, w, f, announceURL(tracker, r), parseReply)
}

func (w *web) scrape(ctx context.Context, f family, tracker *url.URL, infoHash [20]byte) (Scrape, error) {
	u, ok := scrapeURL(tracker, infoHash)
	if !ok {
		return Scrape{}, fmt.Errorf("%w: the last part of its path does not begin with \"announce\", so it cannot be scraped", ErrUnsupported)
	}
	return get(ctx, w, f, u, func(b []byte) (Scrape, error) { return parseScrape(b, infoHash) })
}

// get asks for an address and has the body of the answer parsed, whatever its content type: trackers send any.
func get[T any](ctx context.Context, w *web, f family, u *url.URL, parse func([]byte) (T, error)) (none T, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return none, fmt.Errorf("%w: it is malformed", ErrUnsupported)
	}
	req.Header.Set("User-Agent", w.userAgent)
	res, err := w.clients[f].Do(req)
	if err != nil {
		return none, w.plain(ctx, err)
	}
	defer res.Body.Close()
	// The transport asks for gzip and unpacks it by itself, so this limits what comes out.
	body, err := io.ReadAll(io.LimitReader(res.Body, maxReply+1))
	if err != nil {
		return none, fmt.Errorf("reading the answer: %w", w.plain(ctx, err))
	}
	if len(body) > maxReply {
		return none, fmt.Errorf("%w: more than 1 MiB", ErrTooLarge)
	}
	answer, err := parse(body)
	switch {
	case errors.As(err, new(*FailureError)):
		return none, err
	case res.StatusCode != http.StatusOK:
		return none, statusError(res)
	case err != nil && bytes.HasPrefix(bytes.TrimSpace(body), []byte("<")):
		return none, fmt.Errorf("%w but a web page: check the tracker's address", ErrMalformed)
	case err != nil:
		return none, err
	}
	return answer, nil
}

// statusError is what an answer with another status than 200 means.
func statusError(res *http.Response) error {
	seconds, err := strconv.ParseInt(res.Header.Get("Retry-After"), 10, 64)
	overloaded := res.StatusCode == http.StatusTooManyRequests || res.StatusCode == http.StatusServiceUnavailable
	if overloaded && err == nil {
		return &FailureError{Reason: "HTTP status " + oneLine(res.Status), RetryIn: clampSeconds(seconds, 0, 0, mostInterval)}
	}
	return fmt.Errorf("%w: HTTP status %s", ErrMalformed, res.Status)
}

// plain takes the address out of an error of net/http, since its query holds the keys of private trackers, and says in
// words that time ran out.
func (w *web) plain(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		err = wrapped.Err
	}
	var network net.Error
	if errors.As(err, &network) && network.Timeout() {
		return noAnswer(w.clients[anyFamily].Timeout, nil)
	}
	return err
}

// noAnswer is the error when time ran out, with what was ignored meanwhile.
func noAnswer(timeout time.Duration, ignored error) error {
	if ignored != nil {
		return fmt.Errorf("no answer in %v: %w; what came was ignored: %w", timeout, context.DeadlineExceeded, ignored)
	}
	return fmt.Errorf("no answer in %v: %w", timeout, context.DeadlineExceeded)
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
