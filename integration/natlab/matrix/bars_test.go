//go:build linux

package matrix

import (
	"slices"
	"strings"
	"testing"
	"time"
)

func pair(t *testing.T, text string) Pair {
	t.Helper()
	p, err := ParsePair(text)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestEveryPairHasTheBarOfItsNATs(t *testing.T) {
	for want, pairs := range map[string][]string{
		"direct ≥ 99 %, median < 1 s": {
			"port-restricted:port-restricted", "bare:bare", "bare:full-cone-hairpin", "none:none", "none:cgnat", "port-shifted:mapping",
			"cgnat:cgnat", "cgnat:cgnat-hairpin", "cgnat:port-restricted", "cgnat-hairpin:same-carrier", "bare:bare:no-relay", "dual-stack:ipv6-open", "ipv6-firewalled:ipv6-firewalled", "dual-stack:address-restricted",
		},
		"lan ≥ 99 %, median < 1 s":     {"cgnat:same-home", "symmetric:same-home", "none:same-home:no-relay"},
		"lan ≥ 99 % within 4 s":        {"udp-blocked:same-home", "tcp443-only:same-home"},
		"direct ≥ 95 %":                {"sequential:port-restricted", "sequential:none", "sequential:cgnat", "sequential:bare"},
		"direct ≥ 99 %":                {"symmetric:address-restricted", "symmetric:full-cone", "symmetric:none", "address-dependent:mapping"},
		"direct ≥ 95 % within 10 s":    {"symmetric:port-restricted:no-relay", "symmetric:bare:no-relay", "symmetric:cgnat:no-relay", "symmetric:dual-stack:no-relay", "address-dependent:port-shifted:no-relay"},
		"direct ≥ 80 %":                {"sequential:sequential"},
		"data in every try":            {"cgnat:same-carrier", "symmetric:port-restricted", "address-dependent:dual-stack", "sequential:symmetric", "sequential:address-dependent"},
		"data in every try within 2 s": {"symmetric:symmetric", "symmetric:address-dependent", "ipv6-open:none"},
		"data in every try within 4 s": {"udp-blocked:udp-blocked", "udp-blocked:port-restricted", "tcp443-only:symmetric", "tcp443-only:ipv6-open"},
		"":                             {"symmetric:symmetric:no-relay", "udp-blocked:none:no-relay"},
	} {
		for _, text := range pairs {
			if got := Bars(pair(t, text)).String(); got != want {
				t.Errorf("%s: %s, want %s", text, got, want)
			}
		}
	}
}

func TestAllPairsAreTriedAndTheSixMostOften(t *testing.T) {
	rows, seen, close := Rows(100, 10), map[Pair]bool{}, 0
	for _, r := range rows {
		if seen[r.Pair] {
			t.Errorf("%s is there twice", r)
		}
		seen[r.Pair] = true
		if got := pair(t, r.String()); got != r.Pair {
			t.Errorf("%s is read as %s", r, got)
		}
		if Bars(r.Pair) == (Bar{}) {
			t.Errorf("%s has no bar", r)
		}
		switch {
		case r.Tries == 100:
			close++
		case r.NoRelay && r.Tries == 40, !r.NoRelay && r.Tries == 10:
		default:
			t.Errorf("%s is tried %d times", r, r.Tries)
		}
	}
	n := len(Places())
	// Four share a home or carrier, and two random kinds have a second row with each of seven that are port-restricted.
	if want := n*(n+1)/2 + 4 + 14; len(rows) != want || close != 7 {
		t.Errorf("%d pairs, %d of them often, want %d and 7", len(rows), close, want)
	}
}

func TestPairsThatThereAreNotAreRefused(t *testing.T) {
	for text, want := range map[string]string{
		"": "want KIND:KIND", "symmetric": "want KIND:KIND", "cone:none": `no NAT of kind "cone"`, "none:cone": `no NAT of kind "cone"`,
		"none:same-carrier": "same-carrier for cgnat", "cgnat:same-street": "want KIND:same-home", "none:none:relay": `no NAT of kind "none:relay"`,
	} {
		if p, err := ParsePair(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is %v, %v", text, p, err)
		}
	}
	if a, b := pair(t, "symmetric:none"), pair(t, "none:symmetric"); a != b || a.String() != "none:symmetric" {
		t.Errorf("%s and %s differ", a, b)
	}
}

// after makes tries of a class whose first data came after so many milliseconds each.
func after(class Class, ms ...int) (tries []Try) {
	for _, n := range ms {
		tries = append(tries, Try{Class: class, First: time.Duration(n) * time.Millisecond})
	}
	return tries
}

func TestABarIsMetByEnoughTriesThatWereFastEnough(t *testing.T) {
	for i, c := range []struct {
		bar   Bar
		tries []Try
		met   bool
	}{
		{easy, after(Direct, 300, 400, 5000), true},
		{easy, after(LAN, 300), true},
		{home, after(LAN, 300), true},
		{home, after(Direct, 300), false},
		{easy, after(Direct, 300, 1000, 1000), false},
		{easy, append(after(Direct, slices.Repeat([]int{300}, 99)...), after(None, 0)...), true},
		{easy, append(after(Direct, slices.Repeat([]int{300}, 98)...), after(Relayed, 300, 300)...), false},
		{lucky, append(after(Direct, slices.Repeat([]int{9999}, 95)...), after(Direct, slices.Repeat([]int{10001}, 5)...)...), true},
		{lucky, append(after(Direct, slices.Repeat([]int{9999}, 94)...), after(Direct, slices.Repeat([]int{10001}, 6)...)...), false},
		{both, append(after(Direct, 1, 2, 3, 4), after(Relayed, 5)...), true},
		{both, append(after(Direct, 1, 2, 3), after(Relayed, 4, 5)...), false},
		{hopeless, append(after(Relayed, 2000), after(Direct, 9)...), true},
		{hopeless, after(Relayed, 1, 2001), false},
		{hopeless, append(after(Relayed, 1), after(None, 0)...), false},
		{anyway, after(Relayed, 29000), true},
	} {
		if got := c.bar.Met(c.tries); got != c.met {
			t.Errorf("%d: %s: met is %v", i, c.bar, got)
		}
	}
	if s := Summarize(Row{Pair: pair(t, "sequential:symmetric")}, nil); s.Met {
		t.Error("a pair that was not tried meets its bar")
	}
}

func TestATryWithoutDataIsSlowerThanAllOthers(t *testing.T) {
	tries := append(after(Direct, 40, 10, 30), after(None, 0)...)
	for q, want := range map[float64]time.Duration{0: 10, 0.25: 10, 0.5: 30, 0.75: 40, 0.76: 0, 1: 0} {
		if got, ok := Quantile(tries, q); got != want*time.Millisecond || ok != (want > 0) {
			t.Errorf("%g: %v, %v", q, got, ok)
		}
	}
	if got, ok := Quantile(nil, 0.5); ok {
		t.Errorf("nothing has the median %v", got)
	}
}
