package rate

import "testing"

func TestRatesReadAndPrintAsPeopleWriteThem(t *testing.T) {
	for text, want := range map[string]int64{
		"0": 0, "0K": 0, "7": 7, "7B": 7, "1024": 1 << 10, "500K": 500 << 10, "2M": 2 << 20, "2 M": 2 << 20, "1.5MiB": 3 << 19,
		"1.5MiB/s": 3 << 19, "64KiB": 64 << 10, "1G": 1 << 30, "1GiB": 1 << 30, " 10M ": 10 << 20, "1024G": 1 << 40, "1T": 1 << 40,
	} {
		got, err := Parse(text)
		if err != nil || got != want {
			t.Errorf("%q: %d, %v; want %d", text, got, err, want)
		}
		if again, err := Parse(Format(got)); err != nil || again != got {
			t.Errorf("%d prints as %q, which reads as %d, %v", got, Format(got), again, err)
		}
	}
	for r, want := range map[int64]string{
		0: "0", 999: "999", 1 << 10: "1KiB", 500 << 10: "500KiB", 2 << 20: "2MiB", 3 << 19: "1.5MiB", 1234567: "1234567", 1 << 40: "1TiB",
	} {
		if got := Format(r); got != want {
			t.Errorf("%d prints as %s, want %s", r, got, want)
		}
	}
	for _, text := range []string{
		"", "K", "-1K", "2T", "1025G", "1K2", "nan", "inf", "1e3", "0x10", "500KB", "0.1", "1b", "1.2.3", "5 parsecs", "/s", "1KiB/h",
	} {
		if got, err := Parse(text); err == nil {
			t.Errorf("%q reads as %d", text, got)
		}
	}
}
