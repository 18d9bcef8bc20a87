package punch

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"simplebit/integration/natlab"
)

func TestTable(t *testing.T) {
	sites := []site{}
	for _, k := range natlab.Kinds() {
		sites = append(sites, site{kind: k})
	}
	sites = append(sites, site{kind: natlab.PortRestricted, carrier: true}, site{kind: natlab.Symmetric, carrier: true})
	var b strings.Builder
	for _, x := range sites {
		for _, y := range sites {
			n := 5
			var times []time.Duration
			for seed := range n {
				w := newWorld(t, uint64(seed), x, y)
				if d, ok := w.punch(2, 0); ok {
					times = append(times, d)
				}
			}
			slices.Sort(times)
			if len(times) == 0 {
				fmt.Fprintf(&b, "%s × %s: 0\n", x, y)
				continue
			}
			fmt.Fprintf(&b, "%s × %s: %d/%d %v %v\n", x, y, len(times), n, times[len(times)/2], times[len(times)-1])
		}
	}
	t.Log(b.String())
}
