package tracker

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

func (w *web) close() {
	for _, c := range w.clients {
		c.CloseIdleConnections()
	}
}

// serve starts a tracker that answers by h.
func serve(t *testing.T, h http.HandlerFunc) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s
}

func answer(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, body) }
}

func announce(t *testing.T, c Config, tracker string) (Response, error) {
	t.Helper()
	client := NewClient(c)
	defer client.web.close()
	return client.Announce(t.Context(), tracker, Request{InfoHash: [20]byte{0: 0xff, 1: ' ', 2: '%'}, Event: EventStarted})
}

const onePeer = "d8:intervali1800e5:peers6:\xc0\x00\x02\x01\x1a\xe1e"

func TestAnnounceKeepsTheAddressAndSendsRawBytes(t *testing.T) {
	var got *http.Request
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		got = r
		w.Header().Set("Content-Type", "image/png") // trackers send anything
		http.SetCookie(w, &http.Cookie{Name: "id", Value: "1"})
		io.WriteString(w, onePeer)
	})
	client := NewClient(Config{UserAgent: "Test/1"})
	for range 2 {
		r, err := client.Announce(t.Context(), s.URL+"/a%2Fb/announce?passkey=k%20y&x#frag", Request{InfoHash: [20]byte{0: 0xff, 1: ' ', 2: '%'}})
		if err != nil || !slices.Equal(r.Peers, addrs("192.0.2.1:6881")) || r.Interval != 30*time.Minute {
			t.Fatalf("got %+v, %v", r, err)
		}
	}
	if want := "/a%2Fb/announce?passkey=k%20y&x&info_hash=%FF%20%25%00"; !strings.HasPrefix(got.RequestURI, want) {
		t.Errorf("asked for %s, want it to start with %s", got.RequestURI, want)
	}
	if hash := got.URL.Query().Get("info_hash"); hash != "\xff %"+strings.Repeat("\x00", 17) {
		t.Errorf("info_hash arrives as %q", hash)
	}
	if got.UserAgent() != "Test/1" || got.Header.Get("Cookie") != "" {
		t.Errorf("headers %v", got.Header)
	}
}

func TestHostileAnswers(t *testing.T) {
	bomb := new(bytes.Buffer)
	z := gzip.NewWriter(bomb)
	z.Write([]byte("d5:peers10000000:"))
	z.Write(make([]byte, 10_000_000))
	z.Close()
	slow := func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			io.WriteString(w, "d")
			w.(http.Flusher).Flush()
			time.Sleep(10 * time.Millisecond)
		}
	}
	for _, c := range []struct {
		name   string
		answer http.HandlerFunc
		is     error
		says   string
	}{
		{"ten megabytes", func(w http.ResponseWriter, _ *http.Request) { w.Write(make([]byte, 10<<20)) }, ErrTooLarge, ""},
		{"gzip bomb", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			w.Write(bomb.Bytes())
		}, ErrTooLarge, ""},
		{"broken gzip", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			io.WriteString(w, onePeer)
		}, nil, "gzip"},
		{"no answer", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, context.DeadlineExceeded, "no answer in 300ms"},
		{"drop by drop", slow, context.DeadlineExceeded, "no answer in 300ms"},
		{"a page", answer(" <!DOCTYPE html><html>hello</html>"), ErrMalformed, "but a web page: check the tracker's address"},
		{"text", answer("hello"), ErrMalformed, "not bencoded"},
		{"nothing", answer(""), ErrMalformed, "middle"},
		{"deep", answer("d1:x" + strings.Repeat("l", 1000000)), ErrMalformed, "nested"},
		{"odd peers", answer("d5:peers3:abce"), ErrMalformed, "multiple of 6"},
		{"status 404", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusNotFound) }, ErrMalformed, "404 Not Found"},
		{"status 404 with peers", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, onePeer, http.StatusNotFound) }, ErrMalformed, "404 Not Found"},
		{"refusal", answer("d14:failure reason9:forbiddene"), nil, "refused: forbidden"},
		{"refusal with status 403", func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusForbidden)
			io.WriteString(w, "d14:failure reason9:forbiddene")
		}, nil, "refused: forbidden"},
		{"overload", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "120")
			w.WriteHeader(http.StatusServiceUnavailable)
		}, nil, "503 Service Unavailable (and wants to be asked again in 2m0s)"},
		{"overload for ever", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "9223372036854775807")
			w.WriteHeader(http.StatusTooManyRequests)
		}, nil, "429 Too Many Requests (and wants to be asked again in 24h0m0s)"},
		{"huge header", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Fill", strings.Repeat("x", 1<<20))
		}, nil, "header"},
		{"no HTTP", func(w http.ResponseWriter, _ *http.Request) {
			c, _, _ := w.(http.Hijacker).Hijack()
			io.WriteString(c, "SSH-2.0-OpenSSH_9.2\x1b[2J\r\n")
			c.Close()
		}, nil, "malformed HTTP"},
		{"hang up", func(w http.ResponseWriter, _ *http.Request) {
			c, _, _ := w.(http.Hijacker).Hijack()
			c.Close()
		}, io.EOF, ""},
		{"redirect in a circle", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/again", http.StatusFound) }, nil, "more than 5 redirects"},
		{"redirect to a file", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "file:///etc/passwd", http.StatusFound)
		}, ErrUnsupported, `scheme "file"`},
		{"redirect to UDP", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "udp://a.example:80", http.StatusFound)
		}, ErrUnsupported, `scheme "udp"`},
		{"redirect nowhere", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusFound) }, nil, "302"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := serve(t, c.answer)
			var config Config
			if c.is == context.DeadlineExceeded {
				config.Timeout = 300 * time.Millisecond
			}
			_, err := announce(t, config, s.URL+"/announce?passkey=secret")
			var typed *Error
			if !errors.As(err, &typed) || typed.Tracker != s.Listener.Addr().String() {
				t.Fatalf("error %v", err)
			}
			if c.is != nil && !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("error %q is not %v or does not say %q", err, c.is, c.says)
			}
			if strings.Contains(err.Error(), "secret") || strings.ContainsAny(err.Error(), "\n\x1b") || len(err.Error()) > 400 {
				t.Errorf("the error is not fit to be shown: %q", err)
			}
		})
	}
}

func TestRedirectsAreFollowedWithoutTellingWhereFrom(t *testing.T) {
	var referer, query string
	to := serve(t, func(w http.ResponseWriter, r *http.Request) {
		referer, query = r.Referer(), r.URL.RawQuery
		io.WriteString(w, onePeer)
	})
	hops := 0
	from := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if hops++; hops < 5 {
			http.Redirect(w, r, r.RequestURI, http.StatusFound)
			return
		}
		http.Redirect(w, r, to.URL+"/moved?"+r.URL.RawQuery, http.StatusTemporaryRedirect)
	})
	if _, err := announce(t, Config{}, from.URL+"/?passkey=secret"); err != nil {
		t.Fatal(err)
	}
	if referer != "" || !strings.HasPrefix(query, "passkey=secret&info_hash=") {
		t.Errorf("referer %q, query %q", referer, query)
	}
}

func TestEncryptionIsNotGivenUpByARedirect(t *testing.T) {
	plain := serve(t, answer(onePeer))
	secure := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/down" {
			http.Redirect(w, r, plain.URL, http.StatusFound)
			return
		}
		io.WriteString(w, onePeer)
	}))
	secure.Config.ErrorLog = log.New(io.Discard, "", 0)
	secure.StartTLS()
	defer secure.Close()
	up := serve(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, secure.URL, http.StatusFound) })

	client := NewClient(Config{})
	pool := x509.NewCertPool()
	pool.AddCert(secure.Certificate())
	for _, c := range client.web.clients {
		c.Transport.(*http.Transport).TLSClientConfig = &tls.Config{RootCAs: pool}
	}
	for tracker, want := range map[string]string{secure.URL: "", up.URL: "", secure.URL + "/down": "https to http"} {
		_, err := client.Announce(t.Context(), tracker, Request{})
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, want %q", tracker, err, want)
		}
	}
	if _, err := announce(t, Config{}, secure.URL); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("an unknown certificate gives %v", err)
	}
}

func TestControlHookGuardsEveryConnection(t *testing.T) {
	inner := serve(t, answer(onePeer))
	outer := serve(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, inner.URL, http.StatusFound) })
	errPrivate := errors.New("private address, start with --allow-private")
	guard := func(network, address string, _ syscall.RawConn) error {
		if address == inner.Listener.Addr().String() {
			return errPrivate
		}
		return nil
	}
	for _, tracker := range []string{inner.URL, outer.URL, strings.Replace(inner.URL, "127.0.0.1", "localhost", 1)} {
		_, err := announce(t, Config{Control: guard}, tracker)
		if !errors.Is(err, errPrivate) || !strings.Contains(err.Error(), "--allow-private") {
			t.Errorf("%s: %v", tracker, err)
		}
	}
}

func TestEnvironmentDoesNotChooseAProxy(t *testing.T) {
	for _, c := range NewClient(Config{}).web.clients {
		if c.Transport.(*http.Transport).Proxy != nil {
			t.Error("a proxy would be asked instead of the tracker, past the guard of addresses")
		}
		if c.Jar != nil {
			t.Error("trackers could set cookies")
		}
	}
}

func TestAddressesThatAreNoTrackersAreUnsupported(t *testing.T) {
	for _, tracker := range []string{"udp://a.example/announce?passkey=secret", "udp://:80", "udp://a.example:80/" + strings.Repeat("x", 1024), "wss://a.example", "file:///etc/passwd", "a.example", "", "http://", ":", "http://a\x7f"} {
		_, err := announce(t, Config{Control: func(string, string, syscall.RawConn) error { panic("traffic") }}, tracker)
		if !errors.Is(err, ErrUnsupported) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: %v", tracker, err)
		}
		if _, err := NewClient(Config{}).Scrape(t.Context(), tracker, [20]byte{}); !errors.Is(err, ErrUnsupported) {
			t.Errorf("a scrape of %q: %v", tracker, err)
		}
	}
}

func TestUnreachableTrackerIsNamed(t *testing.T) {
	s := serve(t, answer(onePeer))
	taken, err := net.Dial("tcp", s.Listener.Addr().String()) // from a port that nobody else can take, and that does not listen
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	where := taken.LocalAddr().String()
	_, err = announce(t, Config{}, fmt.Sprintf("http://%s/announce?passkey=secret", where))
	if !errors.Is(err, syscall.ECONNREFUSED) || !strings.Contains(err.Error(), where) || strings.Contains(err.Error(), "secret") {
		t.Errorf("error %v", err)
	}
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		t.Errorf("the address is still in %v", wrapped)
	}
}

func TestCancelledAnnounceReturnsAtOnce(t *testing.T) {
	s := serve(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	_, err := NewClient(Config{}).Announce(ctx, s.URL, Request{})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}
