package apiclient

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
)

// Metric returns the sum of a metric's samples, whatever their labels, of those that the surrogate shows at /metrics. It is an error
// if there is none.
func (c *Client) Metric(ctx context.Context, name string) (float64, error) {
	response, b, err := c.send(ctx, c.config.Timeout, http.MethodGet, "/metrics", nil)
	if err != nil {
		return 0, err
	}
	if response.StatusCode != http.StatusOK {
		return 0, c.decode(response, b, nil)
	}
	sum, err := sumMetric(string(b), name)
	if err != nil {
		return 0, fmt.Errorf("the surrogate at %s: %w", c.where, err)
	}
	return sum, nil
}

// sumMetric adds up the samples of a metric in Prometheus' text format.
func sumMetric(text, name string) (sum float64, err error) {
	found := false
	for line := range strings.Lines(text) {
		sample, ok := strings.CutPrefix(strings.TrimSpace(line), name)
		if !ok || sample == "" || sample[0] != ' ' && sample[0] != '{' {
			continue
		}
		fields := strings.Fields(sample[strings.LastIndexByte(sample, '}')+1:])
		if len(fields) == 0 {
			return 0, fmt.Errorf("metric %s has no value", name)
		}
		v, err := strconv.ParseFloat(fields[0], 64)
		if err != nil {
			return 0, fmt.Errorf("metric %s: %w", name, err)
		}
		sum, found = sum+v, true
	}
	if !found {
		return 0, fmt.Errorf("there is no metric %s", name)
	}
	return sum, nil
}
