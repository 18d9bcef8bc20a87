//go:build linux

package matrix

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
)

// carried is the surrogate's count of what it carries between devices, in bytes since it began.
const carried = "simplebit_relay_bytes_total"

// relayed returns how many bytes the surrogate has carried, for whomever.
func (s *street) relayed(ctx context.Context) (int64, error) {
	transport := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", s.socket())
	}}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://localhost/metrics", nil)
	if err != nil {
		return 0, err
	}
	reply, err := transport.RoundTrip(request)
	if err != nil {
		return 0, fmt.Errorf("the surrogate's metrics: %w", err)
	}
	defer reply.Body.Close()
	if reply.StatusCode != http.StatusOK {
		return 0, fmt.Errorf("the surrogate's metrics: %s", reply.Status)
	}
	return sumMetric(reply.Body, carried)
}

// sumMetric adds up the samples of a metric, whatever their labels, in Prometheus' text format. There must be one.
func sumMetric(r io.Reader, name string) (sum int64, err error) {
	lines, found := bufio.NewScanner(r), false
	for lines.Scan() {
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
		sum, found = sum+int64(v), true
	}
	if err := lines.Err(); err != nil || !found {
		return 0, fmt.Errorf("metric %s is missing: %w", name, cmp.Or(err, io.ErrUnexpectedEOF))
	}
	return sum, nil
}
