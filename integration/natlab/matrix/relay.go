//go:build linux

package matrix

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
)

// relayed returns how many bytes the surrogate has carried between devices since it began.
func (s *street) relayed(ctx context.Context) (int64, error) {
	transport := &http.Transport{DialContext: s.surrogate.DialContext, DisableKeepAlives: true}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://127.0.0.1:8080/metrics", nil)
	if err != nil {
		return 0, err
	}
	reply, err := transport.RoundTrip(request)
	if err != nil {
		return 0, err
	}
	defer reply.Body.Close()
	if reply.StatusCode == http.StatusNotFound {
		return 0, nil
	}
	if reply.StatusCode != http.StatusOK {
		return 0, fmt.Errorf("the surrogate's metrics: %s", reply.Status)
	}
	return sumMetric(reply.Body, "simplebit_relay_bytes_total")
}

// sumMetric adds up the samples of a metric, whatever their labels, in Prometheus' text format.
func sumMetric(r io.Reader, name string) (sum int64, err error) {
	for lines := bufio.NewScanner(r); lines.Scan(); {
		sample, ok := strings.CutPrefix(lines.Text(), name)
		if !ok || sample == "" || sample[0] != ' ' && sample[0] != '{' {
			continue
		}
		fields := strings.Fields(sample[strings.LastIndexByte(sample, '}')+1:])
		if len(fields) == 0 {
			return 0, fmt.Errorf("metric %s: no value in %q", name, lines.Text())
		}
		v, err := strconv.ParseFloat(fields[0], 64)
		if err != nil {
			return 0, fmt.Errorf("metric %s: %w", name, err)
		}
		sum += int64(v)
	}
	return sum, nil
}
