package rate

import (
	"strconv"
	"strings"
	"testing"
)

// FuzzParse takes any text for a rate: what is understood is within bounds and reads the same as a plain number.
func FuzzParse(f *testing.F) {
	f.Fuzz(func(t *testing.T, text string) {
		r, err := Parse(text)
		if err != nil {
			if r != 0 || strings.Contains(err.Error(), "\n") {
				t.Errorf("%q: %d, %v", text, r, err)
			}
			return
		}
		if r < 0 || r > Max {
			t.Errorf("%q is %d", text, r)
		}
		for _, again := range []string{strconv.FormatInt(r, 10), Format(r)} {
			if got, err := Parse(again); err != nil || got != r {
				t.Errorf("%q is %d, which is %d as %s: %v", text, r, got, again, err)
			}
		}
	})
}
