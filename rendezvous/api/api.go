package api

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"

	"simplebit/rendezvous/apiclient"
)

// The prefix of the API, and what else is served.
const (
	prefix      = "/api/v1"
	openAPIPath = prefix + "/openapi.json"
	healthPath  = "/healthz"
	readyPath   = "/readyz"
	metricsPath = "/metrics"
)

// Config is what the API serves and whom it admits. Jobs, Devices and Invites are
// required; the zero value of the rest works and admits nobody.
type Config struct {
	Jobs    Jobs
	Devices Devices
	Invites Invites

	// Authorize reports whether a bearer token admits. It must compare in constant
	// time. Nil admits nobody.
	Authorize func(token string) bool
	// Local serves without a token: only for a listener that is guarded otherwise,
	// such as a unix socket with mode 0600.
	Local bool
	// Ready says why the surrogate cannot work now, for /readyz, in a line that
	// anybody may read. Nil is always ready.
	Ready func(ctx context.Context) error
	// Metrics writes samples in Prometheus' text format, for /metrics. Nil: there is no such path.
	Metrics func(w io.Writer)
	// Log gets what users are not told. Nil logs nothing.
	Log *slog.Logger
}

// server answers what lies outside of the described operations.
type server struct {
	config   Config
	mux      *http.ServeMux
	document []byte // the OpenAPI document
}

// New returns the handler for /api/v1, /healthz, /readyz and /metrics. It refuses
// every other path with 404.
func New(c Config) http.Handler {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	s := &server{config: c, mux: http.NewServeMux()}
	s.document = describe(s.mux, operations{Config: c})
	s.mux.HandleFunc("GET "+openAPIPath, s.openAPI)
	s.mux.HandleFunc("GET "+healthPath, s.health)
	s.mux.HandleFunc("GET "+readyPath, s.ready)
	if c.Metrics != nil {
		s.mux.HandleFunc("GET "+metricsPath, s.metrics)
	}

	sameOrigin := http.NewCrossOriginProtection()
	sameOrigin.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		refuse(w, http.StatusForbidden, "the request comes from another site's page, which may not use this API")
	}))
	return sameOrigin.Handler(s)
}

// ServeHTTP admits a request by the pattern that will serve it, not by its path:
// what is not known to be public needs a token.
func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Cache-Control", "no-store")
	_, pattern := s.mux.Handler(r)
	switch {
	case pattern == "GET "+openAPIPath, pattern == "GET "+healthPath, pattern == "GET "+readyPath:
	case pattern == "" && !strings.HasPrefix(r.URL.Path, prefix+"/"):
		s.refuseUnserved(w, r)
		return
	case !s.admit(w, r):
		return
	case pattern == "":
		s.refuseUnserved(w, r)
		return
	}
	// Refused before it is read: a client that sends 40 MiB first would be cut off
	// while it writes, and not see the answer.
	if r.ContentLength >= apiclient.MaxBody {
		refuse(w, http.StatusRequestEntityTooLarge, fmt.Sprintf("the request is too large: %d bytes, the limit is %d",
			r.ContentLength, apiclient.MaxBody))
		return
	}
	defer s.endPanic(r)
	s.mux.ServeHTTP(w, r)
}

// admit reports whether the request may go on, and refuses it otherwise.
func (s *server) admit(w http.ResponseWriter, r *http.Request) bool {
	if s.config.Local {
		return true
	}
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	token = strings.TrimSpace(token)
	switch {
	case token == "" || !strings.EqualFold(scheme, "Bearer"):
		w.Header().Set("WWW-Authenticate", `Bearer realm="simplebit"`)
		refuse(w, http.StatusUnauthorized,
			"this needs a token: run `simplebit login URL`, or send the header `Authorization: Bearer TOKEN`")
		return false
	case s.config.Authorize == nil || !s.config.Authorize(token):
		w.Header().Set("WWW-Authenticate", `Bearer realm="simplebit", error="invalid_token"`)
		refuse(w, http.StatusUnauthorized,
			"wrong token: the right one is in the surrogate's data folder; run `simplebit login URL` again")
		return false
	}
	return true
}

// refuseUnserved answers what no operation serves: 405 with the methods that
// the path has, or 404.
func (s *server) refuseUnserved(w http.ResponseWriter, r *http.Request) {
	var allowed []string
	for _, method := range []string{http.MethodDelete, http.MethodGet, http.MethodPatch, http.MethodPost} {
		other := r.Clone(r.Context())
		other.Method = method
		if _, pattern := s.mux.Handler(other); pattern != "" {
			allowed = append(allowed, method)
		}
	}
	if len(allowed) == 0 {
		refuse(w, http.StatusNotFound, fmt.Sprintf("nothing is served at %q; the API is described at %s", clip(r.URL.Path), openAPIPath))
		return
	}
	w.Header().Set("Allow", strings.Join(allowed, ", "))
	refuse(w, http.StatusMethodNotAllowed, fmt.Sprintf("%s is not possible here, only %s", clip(r.Method), strings.Join(allowed, ", ")))
}

// endPanic ends the connection of a request whose answer could not be written,
// with a line in the log instead of a stack on standard error.
func (s *server) endPanic(r *http.Request) {
	switch p := recover(); p {
	case nil:
	case http.ErrAbortHandler:
		panic(p)
	default:
		s.config.Log.Error("api: request broke off", "method", r.Method, "path", r.URL.Path, "cause", fmt.Sprint(p))
		panic(http.ErrAbortHandler)
	}
}

func (s *server) openAPI(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/openapi+json")
	w.Header().Set("Cache-Control", "no-cache")
	w.Header().Set("ETag", fmt.Sprintf(`"%x"`, sha256.Sum256(s.document)))
	w.Write(s.document)
}

func (s *server) health(w http.ResponseWriter, _ *http.Request) {
	reply(w, http.StatusOK, map[string]string{"status": "ok"})
}

func (s *server) ready(w http.ResponseWriter, r *http.Request) {
	if s.config.Ready != nil {
		if err := s.config.Ready(r.Context()); err != nil {
			refuse(w, http.StatusServiceUnavailable, "not ready: "+clip(err.Error()))
			return
		}
	}
	reply(w, http.StatusOK, map[string]string{"status": "ready"})
}

func (s *server) metrics(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	s.config.Metrics(w)
}

func refuse(w http.ResponseWriter, status int, line string) {
	reply(w, status, apiclient.Error{Message: line})
}

func reply(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	// A client that went away is no concern of the server.
	_ = encoder.Encode(v)
}
