//go:build linux

package matrix

import "context"

// relayed returns how many bytes the surrogate has carried since it began, for whomever.
func (s *street) relayed(ctx context.Context) (int64, error) {
	n, err := s.api.Metric(ctx, "simplebit_relay_bytes_total")
	return int64(n), err
}
