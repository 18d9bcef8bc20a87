// Package rate reads and prints bytes a second as the flags of all commands have them: 500K, 2M or 1.5MiB, in binary units as rates of
// other clients.
package rate

import (
	"errors"
	"strconv"
	"strings"
)

// Max is the largest rate that is understood, in bytes a second: 1 TiB/s.
const Max = 1 << 40

var units = []struct {
	name  string
	bytes int64
}{
	{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10},
}

// Parse reads digits with at most one point, and behind them a unit or nothing: K, M, G or T, which may end in iB, or B; "/s" may
// follow. The rate is between 0 and Max; the error says what is wanted in a few words.
func Parse(text string) (int64, error) {
	number := strings.TrimSuffix(strings.TrimSpace(text), "/s")
	factor := int64(1)
	for _, u := range units {
		cut, ok := strings.CutSuffix(number, u.name)
		if !ok {
			cut, ok = strings.CutSuffix(number, u.name[:1])
		}
		if ok {
			number, factor = cut, u.bytes
			break
		}
	}
	if factor == 1 {
		number = strings.TrimSuffix(number, "B")
	}
	number = strings.TrimRight(number, " ")
	v, err := strconv.ParseFloat(number, 64)
	if err != nil || strings.Trim(number, "0123456789.") != "" {
		return 0, errors.New("want a rate such as 500K, 2M or 1.5MiB a second")
	}
	if v *= float64(factor); v > Max {
		return 0, errors.New("the largest rate is 1024G a second")
	}
	if v > 0 && v < 1 {
		return 0, errors.New("the least rate is 1 byte a second")
	}
	return int64(v), nil
}

// Format prints what Parse reads, in the largest unit that takes at most one decimal.
func Format(r int64) string {
	for _, u := range units {
		if r >= u.bytes && r%u.bytes*10%u.bytes == 0 {
			return strconv.FormatFloat(float64(r)/float64(u.bytes), 'f', -1, 64) + u.name
		}
	}
	return strconv.FormatInt(r, 10)
}
