package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"

	"simplebit/rendezvous/api"
	"simplebit/rendezvous/apiclient"
)

func config(b *backend) api.Config {
	return api.Config{
		Jobs: jobs{b}, Devices: devices{b}, Invites: invites{b},
		Authorize: func(token string) bool { return token == "secret" },
	}
}

// ask sends one request with the right token and returns status and body.
func ask(t *testing.T, h http.Handler, method, target, body string, headers ...string) (*http.Response, string) {
	t.Helper()
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer secret")
	for i := 0; i < len(headers); i += 2 {
		if headers[i+1] == "" {
			r.Header.Del(headers[i])
		} else {
			r.Header.Set(headers[i], headers[i+1])
		}
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	b, _ := io.ReadAll(w.Result().Body)
	return w.Result(), strings.TrimSpace(string(b))
}

const empty = `"size":0,"have":0,"selected":0,"selected_have":0,"checked":0,"downloaded":0,"uploaded":0,"down_rate":0,"up_rate":0,"relayed":{"down":0,"up":0},"error":"",` +
	`"added":"2026-11-22T12:00:00Z","private":false,` +
	`"options":{"down":0,"up":0,"max_peers":0,"sequential":false,"ratio":0,"seed_time":0},"known":0,"reachable":0,` +
	`"dht":{"enabled":false,"nodes":0,"peers":0,"error":""},"peers":[],"trackers":[]}`

func job(state string) string {
	return `{"id":"aaaaaaaa","infohash":"","name":"debian.iso","target":"device:attic","target_online":false,"state":"` + state + `","message":"",` + empty
}

func TestOperationsReachTheirImplementation(t *testing.T) {
	for _, row := range []struct {
		method, path, body string
		status             int
		reply, asked       string
	}{
		{"POST", "/jobs", `{"magnet":"magnet:?xt=urn:btih:x","target":"device:attic"}`, 201,
			`{"id":"bbbbbbbb","infohash":"","name":"","target":"device:attic","target_online":false,"state":"metadata","message":"",` + empty,
			"add magnet:?xt=urn:btih:x device:attic"},
		{"POST", "/jobs", `{"magnet":"m","target":"device:attic","options":{"down":2048,"ratio":1.5},"choices":[{"priority":"high","patterns":["*.iso"]}]}`, 201,
			`{"id":"bbbbbbbb","infohash":"","name":"","target":"device:attic","target_online":false,"state":"metadata","message":"",` + empty,
			`add m device:attic {"down":2048,"ratio":1.5} [{"priority":"high","patterns":["*.iso"]}]`},
		{"PATCH", "/jobs/aaaaaaaa", `{"down":0,"sequential":true,"seed_time":60}`, 200, job("downloading"),
			`set {"down":0,"sequential":true,"seed_time":60} aaaaaaaa`},
		{"PATCH", "/jobs/aaaaaaaa", `{}`, 200, job("downloading"), "set {} aaaaaaaa"},
		{"GET", "/jobs/aaaaaaaa/files", "", 200, `[{"index":0,"path":"a/b","size":5,"priority":"skip"}]`, "files aaaaaaaa"},
		{"PATCH", "/jobs/aaaaaaaa/files", `{"choices":[{"priority":"skip","patterns":["*"]},{"priority":"normal","files":[3,4]}]}`, 200, job("downloading"),
			`choose [{"priority":"skip","patterns":["*"]},{"priority":"normal","files":[3,4]}] aaaaaaaa`},
		{"GET", "/jobs", "", 200, "[" + job("downloading") + "]", "list"},
		{"GET", "/jobs/aaaaaaaa", "", 200, job("downloading"), "get aaaaaaaa"},
		{"POST", "/jobs/aaaaaaaa/pause", "", 200, job("paused"), "pause aaaaaaaa"},
		{"POST", "/jobs/aaaaaaaa/resume", "", 200, job("downloading"), "resume aaaaaaaa"},
		{"POST", "/jobs/aaaaaaaa/verify", "", 200, job("checking"), "verify aaaaaaaa"},
		{"DELETE", "/jobs/aaaaaaaa", "", 204, "", "remove data=false aaaaaaaa"},
		{"DELETE", "/jobs/aaaaaaaa?data=true", "", 204, "", "remove data=true aaaaaaaa"},
		{"GET", "/devices", "", 200, "[]", "devices"},
		{"PATCH", "/devices/attic", `{"name":"cellar"}`, 200,
			`{"id":"id","name":"cellar","online":false,"addr":"","software":"","created":"2026-11-22T12:00:00Z","revoked":false}`, "rename attic cellar"},
		{"DELETE", "/devices/attic", "", 204, "", "revoke attic"},
		{"POST", "/invites", "", 201, `{"url":"simplebit://198.18.0.1:4433/?pin=p&token=t","expires":"2026-11-22T12:15:00Z"}`, "invite"},
	} {
		b := newBackend()
		response, reply := ask(t, api.New(config(b)), row.method, "/api/v1"+row.path, row.body)
		if response.StatusCode != row.status || reply != row.reply {
			t.Errorf("%s %s: %d %s\nwant %d %s", row.method, row.path, response.StatusCode, reply, row.status, row.reply)
		}
		if got := strings.Join(b.asked, ", "); got != row.asked {
			t.Errorf("%s %s: asked %q, want %q", row.method, row.path, got, row.asked)
		}
	}
}

func TestADeviceIsShownWithItsNetworkOnceItHasToldOfIt(t *testing.T) {
	const (
		unknown = `{"id":"","name":"cellar","online":false,"addr":"","software":"","created":"2026-11-22T12:00:00Z","revoked":false}`
		told    = `{"id":"","name":"attic","online":false,"addr":"","software":"","created":"2026-11-22T12:00:00Z","revoked":false,"network":{` +
			`"summary":"behind a home router that allows direct connections","checked":"2026-11-22T12:00:00Z","blocked":false,"public":"no",` +
			`"mapping":"endpoint-independent","filtering":"address and port-dependent","port_preserved":"yes","port_step":0,"hairpin":"no",` +
			`"lifetime_seconds":60,"double_nat":"unknown","reachable":"no","candidates":[`
		candidates = `{"kind":"mapped","addr":"203.0.113.7:6882","tcp":true}`
	)
	b := newBackend()
	network := apiclient.Network{
		Summary: "behind a home router that allows direct connections", Checked: day, Public: "no", Mapping: "endpoint-independent",
		Filtering: "address and port-dependent", PortPreserved: "yes", Hairpin: "no", Lifetime: 60, Double: "unknown", Reachable: "no",
	}
	b.known = []apiclient.Device{{Name: "attic", Created: day, Network: &network}, {Name: "cellar", Created: day}}
	h := api.New(config(b))
	for path, want := range map[string]string{
		"/devices":        "[" + told + "]}}," + unknown + "]",
		"/devices/attic":  told + "]}}",
		"/devices/cellar": unknown,
		"/devices/roof":   `{"error":"there is no device \"roof\""}`,
	} {
		if _, reply := ask(t, h, "GET", "/api/v1"+path, ""); reply != want {
			t.Errorf("%s: %s\nwant %s", path, reply, want)
		}
	}
	if network.Candidates != nil {
		t.Error("the device's record was changed")
	}
	network.Candidates = []apiclient.Candidate{{Kind: "mapped", Addr: "203.0.113.7:6882", TCP: true}}
	if _, reply := ask(t, h, "GET", "/api/v1/devices/attic", ""); reply != told+candidates+"]}}" {
		t.Error(reply)
	}
}

func TestTorrentComesThroughBase64(t *testing.T) {
	b := newBackend()
	response, reply := ask(t, api.New(config(b)), "POST", "/api/v1/jobs", `{"torrent":"ZDQ6aW5mb2Rl","target":"device:attic"}`)
	if response.StatusCode != 201 || string(b.torrent) != "d4:infode" {
		t.Errorf("%d %s, torrent %q", response.StatusCode, reply, b.torrent)
	}
}

func TestBadInputGetsOneClearLine(t *testing.T) {
	big := strings.Repeat("A", apiclient.MaxBody)
	for _, row := range []struct {
		name, method, path, body string
		headers                  []string
		status                   int
		line                     string
	}{
		{"not JSON", "POST", "/jobs", "magnet", nil, 400, "the request is not valid: body: invalid character 'm' looking for beginning of value"},
		{"cut JSON", "POST", "/jobs", `{"magnet":`, nil, 400, "the request is not valid: body: unexpected end of JSON input"},
		{"two documents", "POST", "/jobs", `{"magnet":"m","target":"device:a"}{}`, nil, 400,
			"the request is not valid: body: invalid character '{' after top-level value"},
		{"no body", "POST", "/jobs", "", nil, 400, "request body is required"},
		{"other type", "POST", "/jobs", "magnet=x", []string{"Content-Type", "application/x-www-form-urlencoded"}, 415,
			"the request is not valid: body: unknown content type: application/x-www-form-urlencoded"},
		{"unknown field", "POST", "/jobs", `{"magnet":"m","target":"device:a","path":"/etc"}`, nil, 422,
			"the request is not valid: body.path: unexpected property"},
		{"wrong type", "POST", "/jobs", `{"magnet":7,"target":"device:a"}`, nil, 422, "the request is not valid: body.magnet: expected string"},
		{"bad base64", "POST", "/jobs", `{"torrent":"%%%","target":"device:a"}`, nil, 422,
			"the request is not valid: body.torrent: expected string to be base64 encoded"},
		{"no target", "POST", "/jobs", `{"magnet":"m"}`, nil, 422, "the request is not valid: body: expected required property target to be present"},
		{"strange target", "POST", "/jobs", `{"magnet":"m","target":"attic"}`, nil, 422,
			`the target must be "device:" and a device's name, such as device:attic`},
		{"neither", "POST", "/jobs", `{"target":"device:a"}`, nil, 422, "give a magnet link or a torrent file"},
		{"both", "POST", "/jobs", `{"target":"device:a","magnet":"m","torrent":"AAAA"}`, nil, 422, "give a magnet link or a torrent file, not both"},
		{"unknown device", "POST", "/jobs", `{"target":"device:nobody","magnet":"m"}`, nil, 422, "there is no device named nobody"},
		{"an array", "POST", "/jobs", `[]`, nil, 422, "the request is not valid: body: expected object"},
		{"too large", "POST", "/jobs", big, nil, 413, "the request is too large: 41943040 bytes, the limit is 41943040"},
		{"too large a name", "PATCH", "/devices/a", `{"name":"` + big[:5000] + `"}`, nil, 413, "request body is too large limit=4096 bytes"},
		{"upper case name", "PATCH", "/devices/a", `{"name":"Attic"}`, nil, 422,
			"the request is not valid: body.name: expected string to be lower-case letters, digits and hyphens"},
		{"name taken", "PATCH", "/devices/a", `{"name":"taken"}`, nil, 409, "another device is called taken"},
		{"negative rate", "PATCH", "/jobs/aaaaaaaa", `{"up":-1}`, nil, 422, "the request is not valid: body.up: expected number >= 0"},
		{"rate of no number", "PATCH", "/jobs/aaaaaaaa", `{"up":"2M"}`, nil, 422, "the request is not valid: body.up: expected integer"},
		{"too many peers", "PATCH", "/jobs/aaaaaaaa", `{"max_peers":1001}`, nil, 422, "the request is not valid: body.max_peers: expected number <= 1000"},
		{"unknown option", "PATCH", "/jobs/aaaaaaaa", `{"speed":1}`, nil, 422, "the request is not valid: body.speed: unexpected property"},
		{"unknown option of a new job", "POST", "/jobs", `{"magnet":"m","target":"device:a","options":{"downn":1}}`, nil, 422,
			"the request is not valid: body.options.downn: unexpected property"},
		{"no choice", "PATCH", "/jobs/aaaaaaaa/files", `{"choices":[]}`, nil, 422,
			"the request is not valid: body.choices: expected array length >= 1"},
		{"choice of nothing", "PATCH", "/jobs/aaaaaaaa/files", `{"choices":[{"priority":"high"}]}`, nil, 422,
			"a choice with the priority high names no files: give patterns or files"},
		{"choice of nothing for a new job", "POST", "/jobs", `{"magnet":"m","target":"device:a","choices":[{"priority":"low"}]}`, nil, 422,
			"a choice with the priority low names no files: give patterns or files"},
		{"unknown priority", "PATCH", "/jobs/aaaaaaaa/files", `{"choices":[{"priority":"urgent","files":[1]}]}`, nil, 422,
			`the request is not valid: body.choices[0].priority: expected value to be one of "skip, low, normal, high"`},
		{"too many patterns", "PATCH", "/jobs/aaaaaaaa/files", `{"choices":[{"priority":"low","patterns":["` + strings.Repeat(`a","`, 100) + `b"]}]}`, nil, 422,
			"the request is not valid: body.choices[0].patterns: expected array length <= 100"},
		{"files of an unknown job", "PATCH", "/jobs/zzzzzzzz/files", `{"choices":[{"priority":"low","files":[1]}]}`, nil, 404, `there is no job "zzzzzzzz"`},
		{"unknown job", "GET", "/jobs/zzzzzzzz", "", nil, 404, `there is no job "zzzzzzzz"`},
		{"long id", "GET", "/jobs/" + big[:300], "", nil, 422, "the request is not valid: path.id: expected length <= 256"},
		{"not a boolean", "DELETE", "/jobs/aaaaaaaa?data=perhaps", "", nil, 422, "the request is not valid: query.data: invalid boolean"},
		{"unknown parameter", "DELETE", "/jobs/aaaaaaaa?delete=true", "", nil, 422, "the request is not valid: query.delete: unknown query parameter"},
		{"no such path", "GET", "/torrents", "", nil, 404, `nothing is served at "/api/v1/torrents"; the API is described at /api/v1/openapi.json`},
		{"no such method", "PUT", "/jobs", "", nil, 405, "PUT is not possible here, only GET, POST"},
		{"no token", "GET", "/jobs", "", []string{"Authorization", ""}, 401,
			"this needs a token: run `simplebit login URL`, or send the header `Authorization: Bearer TOKEN`"},
		{"no token, no path", "GET", "/torrents", "", []string{"Authorization", ""}, 401,
			"this needs a token: run `simplebit login URL`, or send the header `Authorization: Bearer TOKEN`"},
		{"other scheme", "GET", "/jobs", "", []string{"Authorization", "Basic secret"}, 401,
			"this needs a token: run `simplebit login URL`, or send the header `Authorization: Bearer TOKEN`"},
		{"wrong token", "GET", "/jobs", "", []string{"Authorization", "Bearer guess"}, 401,
			"wrong token: the right one is in the surrogate's data folder; run `simplebit login URL` again"},
		{"another site's page", "POST", "/invites", "", []string{"Sec-Fetch-Site", "cross-site"}, 403,
			"the request comes from another site's page, which may not use this API"},
		{"another origin", "POST", "/invites", "", []string{"Origin", "https://evil.example"}, 403,
			"the request comes from another site's page, which may not use this API"},
	} {
		b := newBackend()
		response, reply := ask(t, api.New(config(b)), row.method, "/api/v1"+row.path, row.body, row.headers...)
		var refusal struct{ Error string }
		if err := json.Unmarshal([]byte(reply), &refusal); err != nil {
			t.Errorf("%s: %q is not JSON: %v", row.name, reply, err)
		}
		if response.StatusCode != row.status || refusal.Error != row.line {
			t.Errorf("%s: %d %s\nwant %d %s", row.name, response.StatusCode, refusal.Error, row.status, row.line)
		}
		if ct := response.Header.Get("Content-Type"); ct != "application/json" {
			t.Errorf("%s: content type %q", row.name, ct)
		}
		for _, call := range b.asked {
			if response.StatusCode != 404 {
				t.Errorf("%s: %q was asked of the surrogate", row.name, call)
			}
		}
	}
}

func TestRefusalIsOneBoundedPrintableLine(t *testing.T) {
	key := strings.Repeat("x\x1b[31m\n", 1000)
	body, _ := json.Marshal(map[string]string{key: "", "a": "", "b": "", "c": "", "target": "device:a", "magnet": "m"})
	_, reply := ask(t, api.New(config(newBackend())), "POST", "/api/v1/jobs", string(body))
	var refusal apiclient.Error
	if err := json.Unmarshal([]byte(reply), &refusal); err != nil {
		t.Fatal(err)
	}
	if len(refusal.Message) > 504 || strings.ContainsAny(refusal.Message, "\x1b\n") {
		t.Errorf("%d bytes: %q", len(refusal.Message), refusal.Message)
	}
}

func TestUnexpectedErrorGoesToTheLogAndNotToTheUser(t *testing.T) {
	var log bytes.Buffer
	b := newBackend()
	b.fail = errDisk
	c := config(b)
	c.Log = slog.New(slog.NewTextHandler(&log, nil))
	response, reply := ask(t, api.New(c), "POST", "/api/v1/invites", "")
	want := `{"error":"the surrogate failed at \"Make an invite for one new device\"; its log says why"}`
	if response.StatusCode != 500 || reply != want {
		t.Errorf("%d %s, want 500 %s", response.StatusCode, reply, want)
	}
	if !strings.Contains(log.String(), errDisk.Error()) {
		t.Errorf("the log has no cause: %s", log.String())
	}
}

func TestAStoreThatIsAwayIsNamedToTheUserAndInTheLog(t *testing.T) {
	var log bytes.Buffer
	b := newBackend()
	b.fail = fmt.Errorf("writing jobs/a: no connection to the NATS server nats://box: check it: %w", api.ErrUnavailable)
	c := config(b)
	c.Log = slog.New(slog.NewTextHandler(&log, nil))
	for _, path := range []string{"/jobs/aaaaaaaa/pause", "/invites"} {
		log.Reset()
		response, reply := ask(t, api.New(c), "POST", "/api/v1"+path, "")
		if want := `{"error":"writing jobs/a: no connection to the NATS server nats://box: check it"}`; response.StatusCode != 503 || reply != want {
			t.Errorf("%s: %d %s, want 503 %s", path, response.StatusCode, reply, want)
		}
		if !strings.Contains(log.String(), "no connection to the NATS server") {
			t.Errorf("%s: the log has no cause: %s", path, log.String())
		}
	}
}

func TestSlowStoreIsReportedAsBusy(t *testing.T) {
	b := newBackend()
	b.fail = context.DeadlineExceeded
	response, reply := ask(t, api.New(config(b)), "GET", "/api/v1/jobs", "")
	if response.StatusCode != 503 || reply != `{"error":"the surrogate did not manage this in time; try again"}` {
		t.Errorf("%d %s", response.StatusCode, reply)
	}
}

func TestZeroConfigAdmitsNobody(t *testing.T) {
	b := newBackend()
	h := api.New(api.Config{Jobs: jobs{b}, Devices: devices{b}, Invites: invites{b}})
	for _, token := range []string{"", "secret", "Bearer"} {
		if response, _ := ask(t, h, "GET", "/api/v1/jobs", "", "Authorization", "Bearer "+token); response.StatusCode != 401 {
			t.Errorf("token %q: %d", token, response.StatusCode)
		}
	}
}

func TestLocalHandlerNeedsNoToken(t *testing.T) {
	b := newBackend()
	c := config(b)
	c.Local = true
	if response, reply := ask(t, api.New(c), "GET", "/api/v1/jobs", "", "Authorization", ""); response.StatusCode != 200 {
		t.Errorf("%d %s", response.StatusCode, reply)
	}
}

func TestHealthAndReadinessArePublic(t *testing.T) {
	var notReady error
	c := config(newBackend())
	c.Ready = func(context.Context) error { return notReady }
	h := api.New(c)
	for _, row := range []struct {
		path   string
		err    error
		status int
		reply  string
	}{
		{"/healthz", errors.New("store is down"), 200, `{"status":"ok"}`},
		{"/readyz", nil, 200, `{"status":"ready"}`},
		{"/readyz", errors.New("store is down"), 503, `{"error":"not ready: store is down"}`},
		{"/", nil, 404, `{"error":"nothing is served at \"/\"; the API is described at /api/v1/openapi.json"}`},
	} {
		notReady = row.err
		response, reply := ask(t, h, "GET", row.path, "", "Authorization", "")
		if response.StatusCode != row.status || reply != row.reply {
			t.Errorf("%s: %d %s, want %d %s", row.path, response.StatusCode, reply, row.status, row.reply)
		}
	}
}

func TestMetricsNeedTheTokenAndAreText(t *testing.T) {
	c := config(newBackend())
	if response, _ := ask(t, api.New(c), "GET", "/metrics", ""); response.StatusCode != 404 {
		t.Errorf("without any: %d", response.StatusCode)
	}
	c.Metrics = func(w io.Writer) { io.WriteString(w, "up 1\n") }
	h := api.New(c)
	for _, headers := range [][]string{{"Authorization", ""}, {"Authorization", "Bearer guess"}, {"Authorization", "", "X-Forwarded-For", "127.0.0.1"}} {
		if response, reply := ask(t, h, "GET", "/metrics", "", headers...); response.StatusCode != 401 || strings.Contains(reply, "up 1") {
			t.Errorf("with %q: %d %s", headers, response.StatusCode, reply)
		}
	}
	response, reply := ask(t, h, "GET", "/metrics", "")
	if response.StatusCode != 200 || reply != "up 1" || response.Header.Get("Content-Type") != "text/plain; version=0.0.4; charset=utf-8" {
		t.Errorf("%d %s, %s", response.StatusCode, reply, response.Header.Get("Content-Type"))
	}
	if response, _ := ask(t, h, "POST", "/metrics", ""); response.StatusCode != 405 {
		t.Errorf("posted: %d", response.StatusCode)
	}
	c.Local = true
	if response, _ := ask(t, api.New(c), "GET", "/metrics", "", "Authorization", ""); response.StatusCode != 200 {
		t.Errorf("at the administration socket: %d", response.StatusCode)
	}
}

// OpenAPI 3.1.0 section 4.8: the document lists every path with its answers.
func TestDocumentDescribesTheAPI(t *testing.T) {
	response, reply := ask(t, api.New(config(newBackend())), "GET", "/api/v1/openapi.json", "", "Authorization", "")
	if response.StatusCode != 200 || response.Header.Get("Content-Type") != "application/openapi+json" {
		t.Fatalf("%d %v", response.StatusCode, response.Header)
	}
	var document struct {
		OpenAPI    string
		Servers    []struct{ URL string }
		Paths      map[string]map[string]any
		Components struct{ Schemas map[string]any }
	}
	if err := json.Unmarshal([]byte(reply), &document); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(document.OpenAPI, "3.1") || len(document.Servers) != 1 || document.Servers[0].URL != "/api/v1" {
		t.Errorf("version %q, servers %v", document.OpenAPI, document.Servers)
	}
	got := map[string]int{}
	for path, methods := range document.Paths {
		got[path] = len(methods)
	}
	want := map[string]int{"/jobs": 2, "/jobs/{id}": 3, "/jobs/{id}/files": 2, "/jobs/{id}/pause": 1, "/jobs/{id}/resume": 1, "/jobs/{id}/verify": 1,
		"/devices": 1, "/devices/{id}": 3, "/invites": 1}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("paths %v, want %v", got, want)
	}
	for _, name := range []string{"Job", "Peer", "Tracker", "Device", "Network", "Candidate", "Invite", "NewJob", "Options", "OptionsChange", "File", "Choice", "DHT", "Relayed", "Path", "Attempt", "Try", "Rename", "Error"} {
		if document.Components.Schemas[name] == nil {
			t.Errorf("no schema %s", name)
		}
	}
	if strings.Contains(reply, "problem+json") || strings.Contains(reply, "ErrorModel") {
		t.Error("the document promises problem documents, which are never sent")
	}
}

func TestUncleanPathsDoNotPassTheToken(t *testing.T) {
	h := api.New(config(newBackend()))
	for _, path := range []string{"//api/v1/jobs", "/x/../api/v1/jobs", "/api/v1/../v1/jobs", "/api//v1/jobs", "/%61pi/v1/jobs", "/api/v1/./jobs", "/healthz/../api/v1/jobs"} {
		response, reply := ask(t, h, "GET", path, "", "Authorization", "")
		if response.StatusCode == 200 || strings.Contains(reply, "debian") {
			t.Errorf("%s: %d %s", path, response.StatusCode, reply)
		}
	}
}
