package main

import "testing"

func TestLimitsAreRatesOfAKiBAtLeast(t *testing.T) {
	for text, want := range map[string]limit{"0": 0, "1K": 1 << 10, "1.5MiB/s": 3 << 19} {
		l := limit(7)
		if err := l.Set(text); err != nil || l != want {
			t.Errorf("%q: %d, %v; want %d", text, l, err, want)
		}
	}
	for _, text := range []string{"", "1023", "1", "-1K", "2T", "5 parsecs"} {
		l := limit(7)
		if err := l.Set(text); err == nil || l != 7 {
			t.Errorf("%q reads as %d, %v", text, l, err)
		}
	}
}
