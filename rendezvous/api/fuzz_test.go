package api_test

import (
	"encoding/json"
	"net/http/httptest"
	"strings"
	"testing"
	"unicode"

	"simplebit/rendezvous/api"
)

// FuzzRequest sends any body to the operations that read one. Whatever it is,
// the answer is JSON, a refusal is one bounded printable line, and nothing
// reaches the jobs that is not exactly one of magnet and torrent.
func FuzzRequest(f *testing.F) {
	b := newBackend()
	h := api.New(config(b))
	f.Fuzz(func(t *testing.T, contentType string, body []byte) {
		b.mu.Lock()
		b.asked = nil
		b.mu.Unlock()
		for _, target := range [][2]string{{"POST", "/api/v1/jobs"}, {"PATCH", "/api/v1/devices/attic"},
			{"PATCH", "/api/v1/jobs/aaaaaaaa"}, {"PATCH", "/api/v1/jobs/aaaaaaaa/files"}} {
			r := httptest.NewRequest(target[0], target[1], strings.NewReader(string(body)))
			r.Header.Set("Authorization", "Bearer secret")
			r.Header.Set("Content-Type", contentType)
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			var reply struct{ Error string }
			if err := json.Unmarshal(w.Body.Bytes(), &reply); err != nil {
				t.Fatalf("%d %q: %v", w.Code, w.Body, err)
			}
			if w.Code >= 500 || w.Code >= 300 && reply.Error == "" || w.Code < 300 && reply.Error != "" {
				t.Errorf("%d %q", w.Code, w.Body)
			}
			if len(reply.Error) > 504 || strings.ContainsFunc(reply.Error, func(r rune) bool { return !unicode.IsPrint(r) }) {
				t.Errorf("%q is no bounded printable line", reply.Error)
			}
		}
		for _, call := range b.asked {
			if strings.HasPrefix(call, "add ") && strings.HasPrefix(call, "add  ") == (len(b.torrent) == 0) {
				t.Errorf("asked %q with a torrent of %d bytes", call, len(b.torrent))
			}
		}
	})
}
