package main

import (
	"fmt"
	"strconv"
	"strings"
)

// rate is a number of bytes a second that reads and prints as 500K, 2M or
// 1.5MiB; 0 is no limit.
type rate int64

// The bounds of a rate. Blocks are 16 KiB: with less than a KiB a second, peers
// would give up before one is through.
const (
	minRate rate = 1 << 10
	maxRate rate = 1 << 40
)

// rateUnits are binary, as in simplebit and as in the rates of other clients.
var rateUnits = []struct {
	name  string
	bytes rate
}{
	{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10},
}

// String prints what Set reads, with the largest unit that is exact.
func (r rate) String() string {
	for _, u := range rateUnits {
		if r >= u.bytes && r*10%u.bytes == 0 {
			return strconv.FormatFloat(float64(r)/float64(u.bytes), 'f', -1, 64) + u.name
		}
	}
	return strconv.FormatInt(int64(r), 10)
}

// Set reads a number with an optional unit, K, M or G, which may end in iB.
func (r *rate) Set(text string) error {
	number := strings.TrimSuffix(strings.TrimSpace(text), "/s")
	factor := rate(1)
	for _, u := range rateUnits {
		cut, ok := strings.CutSuffix(number, u.name)
		if !ok {
			cut, ok = strings.CutSuffix(number, u.name[:1])
		}
		if ok {
			number, factor = cut, u.bytes
			break
		}
	}
	v, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
	if err != nil || !(v >= 0 && v*float64(factor) <= float64(maxRate)) {
		return fmt.Errorf("rate %q: want bytes a second as 500K, 2M or 1.5MiB, 0 for no limit", text)
	}
	got := rate(v * float64(factor))
	if got != 0 && got < minRate || got == 0 && v != 0 {
		return fmt.Errorf("rate %q: want 0 for no limit, or %s at least", text, minRate)
	}
	*r = got
	return nil
}
