package apiclient

import (
	"net/http"
	"strings"
	"testing"
	"unicode"
)

// FuzzReply takes any answer of a server: it is a job or one printable line.
func FuzzReply(f *testing.F) {
	c := New(Config{})
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		var job Job
		err := c.decode(&http.Response{StatusCode: status, Status: "a status"}, body, &job)
		if (status < 200 || status >= 300) && err == nil {
			t.Errorf("status %d is no error", status)
		}
		if err != nil && strings.ContainsFunc(err.Error(), func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Errorf("%q is no printable line", err)
		}
	})
}
