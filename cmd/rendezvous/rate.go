package main

import (
	"fmt"
	"strconv"
	"strings"

	"simplebit/rendezvous"
)

// rateUnits are binary, as in simplebit and edgeagent.
var rateUnits = []struct {
	name  string
	bytes float64
}{
	{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"G", 1 << 30}, {"M", 1 << 20}, {"K", 1 << 10}, {"", 1},
}

// parseRate reads bytes a second as 500K, 2M or 1.5MiB; 0 stands for none.
func parseRate(text string) (int64, error) {
	number := strings.TrimSuffix(strings.TrimSpace(text), "/s")
	for _, u := range rateUnits {
		cut, ok := strings.CutSuffix(number, u.name)
		if !ok {
			continue
		}
		v, err := strconv.ParseFloat(strings.TrimSpace(cut), 64)
		v *= u.bytes
		if err != nil || !(v == 0 || v >= rendezvous.MinRelayRate && v <= rendezvous.MaxRelayRate) {
			break
		}
		return int64(v), nil
	}
	return 0, fmt.Errorf("%q: want bytes a second as 500K, 2M or 1.5MiB, 1K to 1024G, or 0 for none", text)
}
