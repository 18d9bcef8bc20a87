//go:build linux

package classify

import (
	"strings"
	"testing"
	"time"

	"simplebit/integration/natlab"
)

func TestAllWitnessesAgreeOrTheDifferenceIsExplained(t *testing.T) {
	natlab.Require(t)
	began := time.Now()
	rows, err := Table(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	if err := Print(&b, rows); err != nil {
		t.Fatal(err)
	}
	t.Logf("%v\n%s", time.Since(began).Round(time.Second), &b)
	for _, r := range rows {
		for _, wrong := range r.Wrong {
			t.Errorf("%s: %s", r.Name, wrong)
		}
	}
}
