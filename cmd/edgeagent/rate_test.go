package main

import "testing"

func TestRatesReadAndPrintAsPeopleWriteThem(t *testing.T) {
	for text, want := range map[string]rate{
		"0": 0, "1024": 1 << 10, "500K": 500 << 10, "2M": 2 << 20, "2 M": 2 << 20, "1.5MiB": 3 << 19,
		"1.5MiB/s": 3 << 19, "64KiB": 64 << 10, "1G": 1 << 30, "1GiB": 1 << 30, " 10M ": 10 << 20,
	} {
		var r rate
		if err := r.Set(text); err != nil || r != want {
			t.Errorf("%q: %d, %v; want %d", text, r, err, want)
		}
		var again rate
		if err := again.Set(r.String()); err != nil || again != r {
			t.Errorf("%d prints as %q, which reads as %d, %v", r, r, again, err)
		}
	}
	for r, want := range map[rate]string{0: "0", 999: "999", 1 << 10: "1KiB", 500 << 10: "500KiB", 2 << 20: "2MiB", 3 << 19: "1.5MiB", 1234567: "1234567"} {
		if got := r.String(); got != want {
			t.Errorf("%d prints as %s, want %s", r, got, want)
		}
	}
	for _, text := range []string{"", "K", "-1K", "1T", "1K2", "nan", "inf", "1e300", "1023", "500KB", "0.1", "1b", "5 parsecs"} {
		r := rate(7)
		if err := r.Set(text); err == nil || r != 7 {
			t.Errorf("%q reads as %d, %v", text, r, err)
		}
	}
}
