package main

import "testing"

func TestRatesAreReadAsPeopleWriteThem(t *testing.T) {
	for text, want := range map[string]int64{
		"0": 0, "0K": 0, "1024": 1 << 10, "500K": 500 << 10, "2M": 2 << 20, "2 M": 2 << 20, "1.5MiB": 3 << 19, "1.5MiB/s": 3 << 19,
		"256KiB": 256 << 10, "1G": 1 << 30, " 10M ": 10 << 20, "1024G": 1 << 40,
	} {
		if got, err := parseRate(text); err != nil || got != want {
			t.Errorf("%q: %d, %v; want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "K", "-1K", "1T", "1K2", "nan", "inf", "1e300", "1023", "1025G", "500KB", "0.1", "1b", "5 parsecs"} {
		if got, err := parseRate(text); err == nil {
			t.Errorf("%q reads as %d", text, got)
		}
	}
}
