package apiclient

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode"
)

// DefaultURL is where a surrogate listens when nobody says otherwise.
const DefaultURL = "http://127.0.0.1:8080"

// MaxBody is the limit of a request's body in bytes. A .torrent file is sent in
// base64, so MaxTorrent is what fits.
const (
	MaxBody    = 40 << 20
	MaxTorrent = (MaxBody - 64<<10) / 4 * 3
)

// maxReply bounds the memory that an answer can cost: 64 MiB.
const maxReply = 64 << 20

const (
	defaultTimeout = 30 * time.Second
	// uploadFactor is how much longer than other requests adding a torrent may
	// take: 40 MiB on a line of 1 Mbit/s need over five minutes.
	uploadFactor = 12
)

// ErrUnreachable is wrapped by every error of a request that got no answer.
var ErrUnreachable = errors.New("cannot reach the surrogate")

// Config says which surrogate a Client talks to and as whom. The zero value is
// the surrogate at DefaultURL, without a token.
type Config struct {
	// URL is the surrogate's http or https address, without /api/v1; "http://"
	// is assumed when there is no scheme. Default DefaultURL.
	URL string
	// Token is the bearer token. Empty sends none.
	Token string
	// Socket is the path of the surrogate's unix socket for local
	// administration. When set, URL and Token are not used: the socket's file
	// permissions are what admits.
	Socket string
	// Timeout bounds one request with its answer; adding a torrent may take
	// twelve times as long. Default 30 s.
	Timeout time.Duration
	// UserAgent names the program. Default "simplebit".
	UserAgent string
}

// Client calls one surrogate. Its methods may be called from any goroutine.
// They return *Error when the surrogate refused, an error wrapping
// ErrUnreachable when it did not answer, and the context's error when that ended.
// It keeps idle connections for 30 s, or until Close.
type Client struct {
	base      *url.URL
	invalid   error // what is wrong with Config.URL; every call returns it
	where     string
	config    Config
	transport http.Client
}

// New returns a client; it does not connect. A malformed Config.URL is reported
// by every call.
func New(c Config) *Client {
	if c.Timeout <= 0 {
		c.Timeout = defaultTimeout
	}
	if c.UserAgent == "" {
		c.UserAgent = "simplebit"
	}
	client := &Client{config: c}
	transport := &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
		TLSHandshakeTimeout:    10 * time.Second,
		IdleConnTimeout:        30 * time.Second,
		MaxIdleConnsPerHost:    2,
		MaxResponseHeaderBytes: 64 << 10,
		ForceAttemptHTTP2:      true,
	}
	if c.Socket != "" {
		transport.Proxy = nil
		transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", c.Socket)
		}
		client.config.Token = ""
		client.base, client.where = &url.URL{Scheme: "http", Host: "localhost"}, c.Socket
	} else {
		client.base, client.invalid = ParseURL(c.URL)
		if client.invalid == nil {
			client.where = client.base.Redacted()
		}
	}
	client.transport = http.Client{
		Transport: transport,
		// A redirect would repeat the token elsewhere, and turn a POST into a GET.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return client
}

// ParseURL reads a surrogate's address as users type it: a missing scheme is
// http, an empty text is DefaultURL, slashes at the end do not count.
func ParseURL(text string) (*url.URL, error) {
	if text == "" {
		text = DefaultURL
	}
	if !strings.Contains(text, "://") {
		text = "http://" + text
	}
	u, err := url.Parse(strings.TrimRight(text, "/"))
	switch {
	case err != nil:
		var parse *url.Error
		if errors.As(err, &parse) {
			err = parse.Err
		}
		return nil, fmt.Errorf("the surrogate's URL %q is malformed: %w", text, err)
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, fmt.Errorf("the surrogate's URL %q must begin with http:// or https://", text)
	case u.Hostname() == "":
		return nil, fmt.Errorf("the surrogate's URL %q names no host", text)
	case u.RawQuery != "" || u.Fragment != "":
		return nil, fmt.Errorf("the surrogate's URL %q must end before %q", text, "?")
	}
	return u, nil
}

// URL returns the surrogate's address, or the socket's path, for messages.
func (c *Client) URL() string { return c.where }

// Close gives up the connections that wait for a next request. The client may
// still be used.
func (c *Client) Close() { c.transport.CloseIdleConnections() }

// call sends one request and decodes its answer into reply, unless that is nil.
func (c *Client) call(ctx context.Context, method, path string, body, reply any) error {
	timeout := c.config.Timeout
	var content io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return fmt.Errorf("cannot encode the request: %w", err)
		}
		if len(b) >= MaxBody {
			return fmt.Errorf("the request is too large: %d bytes, the limit is %d", len(b), MaxBody)
		}
		if len(b) > 1<<20 {
			timeout *= uploadFactor
		}
		content = bytes.NewReader(b)
	}
	response, b, err := c.send(ctx, timeout, method, "/api/v1"+path, content)
	if err != nil {
		return err
	}
	return c.decode(response, b, reply)
}

// send sends one request, with a body of JSON unless that is nil, and returns the answer, whatever its status, with its body read.
func (c *Client) send(ctx context.Context, timeout time.Duration, method, path string, body io.Reader) (*http.Response, []byte, error) {
	if c.invalid != nil {
		return nil, nil, c.invalid
	}
	limited, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	request, err := http.NewRequestWithContext(limited, method, c.base.String()+path, body)
	if err != nil {
		return nil, nil, fmt.Errorf("cannot make the request: %w", err)
	}
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	if c.config.Token != "" {
		request.Header.Set("Authorization", "Bearer "+c.config.Token)
	}
	request.Header.Set("Accept", "application/json")
	request.Header.Set("User-Agent", c.config.UserAgent)

	response, err := c.transport.Do(request)
	if err != nil {
		return nil, nil, c.unreachable(ctx, timeout, err)
	}
	defer response.Body.Close()
	b, err := io.ReadAll(io.LimitReader(response.Body, maxReply+1))
	if err != nil {
		return nil, nil, c.unreachable(ctx, timeout, err)
	}
	if len(b) > maxReply {
		return nil, nil, fmt.Errorf("the surrogate at %s sent more than %d bytes", c.where, maxReply)
	}
	return response, b, nil
}

// decode turns an answer into reply, or into the error that it is.
func (c *Client) decode(response *http.Response, b []byte, reply any) error {
	status := response.StatusCode
	if location := response.Header.Get("Location"); status >= 300 && status < 400 {
		return fmt.Errorf("%s redirects to %s: pass that address with --url", c.where, location)
	}
	if status < 200 || status >= 300 {
		refusal := &Error{Status: status}
		if json.Unmarshal(b, refusal) != nil || refusal.Message == "" {
			return fmt.Errorf("%s answered %q, which is not a surrogate's answer: check the URL", c.where, response.Status)
		}
		refusal.Message = oneLine(refusal.Message)
		return refusal
	}
	if reply == nil || status == http.StatusNoContent {
		return nil
	}
	if err := json.Unmarshal(b, reply); err != nil {
		return fmt.Errorf("%s sent an answer that is not a surrogate's: check the URL: %w", c.where, err)
	}
	return nil
}

// unreachable explains a request without an answer. ctx is the caller's context.
func (c *Client) unreachable(ctx context.Context, timeout time.Duration, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	// The request's method and URL are known to the reader; the cause is not.
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		err = wrapped.Err
	}
	if errors.Is(err, context.DeadlineExceeded) {
		err = fmt.Errorf("no answer within %v", timeout)
	}
	return fmt.Errorf("%w at %s: %w; start it with `rendezvous serve` or pass --url", ErrUnreachable, c.where, err)
}

// oneLine keeps a foreign text from breaking out of the line it is printed on.
func oneLine(s string) string {
	return strings.Join(strings.FieldsFunc(s, func(r rune) bool {
		return unicode.IsSpace(r) || !unicode.IsPrint(r)
	}), " ")
}
