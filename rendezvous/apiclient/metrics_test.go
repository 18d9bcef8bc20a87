package apiclient

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
)

const carried = "simplebit_relay_bytes_total"

func TestSamplesOfAMetricAreAddedUp(t *testing.T) {
	for text, want := range map[string]float64{
		"simplebit_relay_bytes_total 12\nsimplebit_relay_streams 3\n":                                                                         12,
		"# TYPE x\nsimplebit_relay_bytes_total{a=\"b c}\"} 1.5e3\r\nsimplebit_relay_bytes_total{a=\"\"} 0\nsimplebit_relay_bytes_total_x 9\n": 1500,
	} {
		if got, err := sumMetric(text, carried); got != want || err != nil {
			t.Errorf("%q: %g, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "simplebit_relay_bytes 1\n", "simplebit_relay_bytes_total many\n", "simplebit_relay_bytes_total{}\n"} {
		if got, err := sumMetric(text, carried); err == nil {
			t.Errorf("%q is taken for %g", text, got)
		}
	}
}

func TestMetricsNeedTheToken(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/metrics" || r.Header.Get("Authorization") != "Bearer right" {
			w.WriteHeader(http.StatusUnauthorized)
			w.Write([]byte(`{"error": "a token is needed"}`))
			return
		}
		w.Write([]byte(carried + " 7\n"))
	}))
	defer server.Close()
	if got, err := New(Config{URL: server.URL, Token: "right"}).Metric(t.Context(), carried); got != 7 || err != nil {
		t.Errorf("got %g, %v", got, err)
	}
	if _, err := New(Config{URL: server.URL, Token: "wrong"}).Metric(t.Context(), carried); !errors.As(err, new(*Error)) {
		t.Errorf("with a wrong token: %v", err)
	}
	if _, err := New(Config{URL: server.URL, Token: "right"}).Metric(t.Context(), "no_such"); err == nil {
		t.Error("a metric that there is not was found")
	}
}
