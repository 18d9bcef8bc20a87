package apiclient

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// answer serves one fixed answer and returns its client.
func answer(t *testing.T, status int, body string) *Client {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		io.WriteString(w, body)
	}))
	t.Cleanup(s.Close)
	return New(Config{URL: s.URL, Token: "secret"})
}

func TestCallsAreRequestsOfTheAPI(t *testing.T) {
	var got, body, auth string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		got, body, auth = r.Method+" "+r.RequestURI, string(b), r.Header.Get("Authorization")
		if r.Method == http.MethodDelete {
			w.WriteHeader(http.StatusNoContent)
			return
		}
		if r.Method == http.MethodGet && (r.URL.Path == "/api/v1/jobs" || strings.HasSuffix(r.URL.Path, "/files")) || strings.HasSuffix(r.URL.Path, "/devices") {
			io.WriteString(w, `[{"id":"x"}]`)
			return
		}
		io.WriteString(w, `{"id":"x","url":"simplebit://h","future_field":1}`)
	}))
	defer s.Close()
	c := New(Config{URL: s.URL + "/", Token: "secret"})
	ctx := t.Context()
	one := func(j Job, err error) error {
		if err == nil && j.ID != "x" {
			return errors.New("the answer was lost")
		}
		return err
	}
	ratio := 1.5
	for _, row := range []struct {
		call       func() error
		want, body string
	}{
		{func() error { return one(c.Add(ctx, NewJob{Magnet: "magnet:?xt", Target: "device:a"})) }, "POST /api/v1/jobs",
			`{"magnet":"magnet:?xt","target":"device:a"}`},
		{func() error { return one(c.Add(ctx, NewJob{Torrent: []byte("d4:info"), Target: "device:a"})) }, "POST /api/v1/jobs",
			`{"torrent":"ZDQ6aW5mbw==","target":"device:a"}`},
		{func() error {
			jobs, err := c.Jobs(ctx)
			if len(jobs) != 1 {
				return errors.New("the list was lost")
			}
			return err
		}, "GET /api/v1/jobs", ""},
		{func() error { return one(c.Job(ctx, "x")) }, "GET /api/v1/jobs/x", ""},
		{func() error { return one(c.SetOptions(ctx, "x", OptionsChange{Down: new(int64), Ratio: &ratio})) }, "PATCH /api/v1/jobs/x",
			`{"down":0,"ratio":1.5}`},
		{func() error {
			files, err := c.Files(ctx, "x")
			if len(files) != 1 {
				return errors.New("the list was lost")
			}
			return err
		}, "GET /api/v1/jobs/x/files", ""},
		{func() error {
			return one(c.ChooseFiles(ctx, "x", []Choice{{Priority: PrioritySkip, Patterns: []string{"*"}}, {Priority: PriorityHigh, Files: []int{3}}}))
		}, "PATCH /api/v1/jobs/x/files", `{"choices":[{"priority":"skip","patterns":["*"]},{"priority":"high","files":[3]}]}`},
		{func() error { return one(c.Pause(ctx, "a/b c")) }, "POST /api/v1/jobs/a%2Fb%20c/pause", ""},
		{func() error { return one(c.Resume(ctx, "x")) }, "POST /api/v1/jobs/x/resume", ""},
		{func() error { return one(c.Verify(ctx, "x")) }, "POST /api/v1/jobs/x/verify", ""},
		{func() error { return c.Remove(ctx, "x", false) }, "DELETE /api/v1/jobs/x", ""},
		{func() error { return c.Remove(ctx, "x", true) }, "DELETE /api/v1/jobs/x?data=true", ""},
		{func() error { _, err := c.Devices(ctx); return err }, "GET /api/v1/devices", ""},
		{func() error { _, err := c.Device(ctx, "a/b"); return err }, "GET /api/v1/devices/a%2Fb", ""},
		{func() error { _, err := c.RenameDevice(ctx, "attic", "cellar"); return err }, "PATCH /api/v1/devices/attic", `{"name":"cellar"}`},
		{func() error { return c.RevokeDevice(ctx, "attic") }, "DELETE /api/v1/devices/attic", ""},
		{func() error { _, err := c.Invite(ctx); return err }, "POST /api/v1/invites", ""},
	} {
		if err := row.call(); err != nil {
			t.Errorf("%s: %v", row.want, err)
		}
		if got != row.want || body != row.body || auth != "Bearer secret" {
			t.Errorf("got %s %s with %q\nwant %s %s", got, body, auth, row.want, row.body)
		}
	}
}

func TestRefusalIsTheSurrogatesLineWithItsStatus(t *testing.T) {
	_, err := answer(t, 404, `{"error":"there is no\njob \u001b[31mx"}`).Job(t.Context(), "x")
	var refusal *Error
	if !errors.As(err, &refusal) || refusal.Status != 404 || err.Error() != "there is no job [31mx" {
		t.Errorf("%#v", err)
	}
}

func TestStrangeServerIsNamed(t *testing.T) {
	for _, row := range []struct {
		status int
		body   string
		want   string
	}{
		{404, "<html>", "URL answered \"404 Not Found\", which is not a surrogate's answer: check the URL"},
		{500, "{}", "URL answered \"500 Internal Server Error\", which is not a surrogate's answer: check the URL"},
		{200, "<html>", "URL sent an answer that is not a surrogate's: check the URL: invalid character '<' looking for beginning of value"},
		{200, "", "URL sent an answer that is not a surrogate's: check the URL: unexpected end of JSON input"},
	} {
		c := answer(t, row.status, row.body)
		_, err := c.Jobs(t.Context())
		if want := strings.ReplaceAll(row.want, "URL a", c.URL()+" a"); err == nil || err.Error() != strings.Replace(want, "URL s", c.URL()+" s", 1) {
			t.Errorf("%v\nwant %s", err, want)
		}
	}
}

func TestRedirectIsNotFollowedWithTheToken(t *testing.T) {
	reached := false
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached = true }))
	defer elsewhere.Close()
	s := httptest.NewServer(http.RedirectHandler(elsewhere.URL, http.StatusFound))
	defer s.Close()
	_, err := New(Config{URL: s.URL, Token: "secret"}).Jobs(t.Context())
	if want := s.URL + " redirects to " + elsewhere.URL + ": pass that address with --url"; err == nil || err.Error() != want || reached {
		t.Errorf("%v, want %s", err, want)
	}
}

func TestUnreachableSurrogateSaysWhatToDo(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	taken, err := net.Dial("tcp", l.Addr().String()) // from a port that nobody else can take, and that does not listen
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	where := taken.LocalAddr().String()
	_, err = New(Config{URL: where}).Jobs(t.Context())
	want := "cannot reach the surrogate at http://" + where + ": dial tcp " + where +
		": connect: connection refused; start it with `rendezvous serve` or pass --url"
	if !errors.Is(err, ErrUnreachable) || err.Error() != want {
		t.Errorf("%v\nwant %s", err, want)
	}
	socket := filepath.Join(t.TempDir(), "none.sock")
	_, err = New(Config{Socket: socket}).Jobs(t.Context())
	if !errors.Is(err, ErrUnreachable) || !strings.HasPrefix(err.Error(), "cannot reach the surrogate at "+socket+": ") {
		t.Error(err)
	}
}

func TestSilentSurrogateTimesOut(t *testing.T) {
	release := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	defer s.Close()
	defer close(release)
	_, err := New(Config{URL: s.URL, Timeout: 50 * time.Millisecond}).Jobs(t.Context())
	want := "cannot reach the surrogate at " + s.URL + ": no answer within 50ms; start it with `rendezvous serve` or pass --url"
	if !errors.Is(err, ErrUnreachable) || err.Error() != want {
		t.Errorf("%v\nwant %s", err, want)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := New(Config{URL: s.URL}).Jobs(ctx); err != context.Canceled {
		t.Errorf("the caller's own end came as %v", err)
	}
}

func TestUnixSocketIsUsedWithoutToken(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "admin.sock")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "" {
			t.Error("a token was sent over the socket")
		}
		io.WriteString(w, `[]`)
	})}
	go s.Serve(l)
	defer s.Close()
	c := New(Config{Socket: socket, Token: "secret"})
	if _, err := c.Devices(t.Context()); err != nil || c.URL() != socket {
		t.Errorf("%s: %v", c.URL(), err)
	}
}

func TestOversizeRequestIsNotSent(t *testing.T) {
	_, err := New(Config{URL: "127.0.0.1:1"}).Add(t.Context(), NewJob{Torrent: make([]byte, MaxBody), Target: "device:a"})
	if err == nil || !strings.HasPrefix(err.Error(), "the request is too large: ") {
		t.Error(err)
	}
	if MaxTorrent*4/3 >= MaxBody {
		t.Error("a torrent of MaxTorrent bytes does not fit into a request")
	}
}

func TestURLIsReadAsUsersTypeIt(t *testing.T) {
	for text, want := range map[string]string{
		"":                          "http://127.0.0.1:8080",
		"box:8080":                  "http://box:8080",
		"https://box/":              "https://box",
		"https://box/simplebit//":   "https://box/simplebit",
		"[2001:db8::1]:8080":        "http://[2001:db8::1]:8080",
		"ftp://box":                 `error: the surrogate's URL "ftp://box" must begin with http:// or https://`,
		"http://":                   `error: the surrogate's URL "http://" names no host`,
		"http://box?x":              `error: the surrogate's URL "http://box?x" must end before "?"`,
		"http://box:port":           `error: the surrogate's URL "http://box:port" is malformed: invalid port ":port" after host`,
		"http://user:password@box/": "http://user:xxxxx@box",
	} {
		u, err := ParseURL(text)
		got := ""
		if err != nil {
			got = "error: " + err.Error()
			if _, again := New(Config{URL: text}).Jobs(t.Context()); again == nil || again.Error() != err.Error() {
				t.Errorf("%q: the client reports %v", text, again)
			}
		} else {
			got = u.Redacted()
		}
		if got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
}
