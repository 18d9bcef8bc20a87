package main

import (
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rivo/uniseg"

	"simplebit/rendezvous/apiclient"
)

func TestSizesHaveABinaryPrefixAndThreeDigits(t *testing.T) {
	for bytes, want := range map[int64]string{
		-5: "0 B", 0: "0 B", 1: "1 B", 1023: "1023 B", 1024: "1.0 KiB", 1075: "1.0 KiB", 1076: "1.1 KiB",
		102348: "99.9 KiB", 102349: "100 KiB", 1048063: "1023 KiB", 1048064: "1.0 MiB", 1 << 20: "1.0 MiB",
		12_900_000: "12.3 MiB", 100 << 20: "100 MiB", 1 << 30: "1.0 GiB", 5 << 40: "5.0 TiB", 1 << 50: "1.0 PiB", math.MaxInt64: "8.0 EiB",
	} {
		if got := formatSize(bytes); got != want {
			t.Errorf("%d: %q, want %q", bytes, got, want)
		}
	}
	if got := formatRate(5_350_000); got != "5.1 MiB/s" {
		t.Errorf("rate %q", got)
	}
}

func TestOnlyAllOfItIsOneHundredPercent(t *testing.T) {
	for _, row := range []struct {
		have, size int64
		want       string
	}{
		{0, 0, ""}, {5, 0, ""}, {0, 100, "0.0%"}, {-1, 100, "0.0%"}, {123, 1000, "12.3%"}, {1234, 10000, "12.3%"}, {999_999, 1_000_000, "99.9%"},
		{1<<50 - 1, 1 << 50, "99.9%"}, {100, 100, "100%"}, {101, 100, "100%"},
	} {
		if got := formatPercent(row.have, row.size); got != row.want {
			t.Errorf("%d of %d: %q, want %q", row.have, row.size, got, row.want)
		}
	}
}

func TestDurationsHaveTwoUnits(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "0s", 0: "0s", 499 * time.Millisecond: "0s", 59 * time.Second: "59s", 59*time.Second + 600*time.Millisecond: "1m00s",
		200 * time.Second: "3m20s", 3599 * time.Second: "59m59s", 2*time.Hour + 5*time.Minute + 59*time.Second: "2h05m", 24 * time.Hour: "1d00h",
		99 * time.Hour: "4d03h", 100 * 24 * time.Hour: ">100d", math.MaxInt64: ">100d",
	} {
		if got := formatDuration(d); got != want {
			t.Errorf("%v: %q, want %q", d, got, want)
		}
	}
}

func TestETAIsGivenOnlyWhereItCanBeKnown(t *testing.T) {
	job := apiclient.Job{State: apiclient.StateDownloading, Size: 1000, Have: 100, DownRate: 100}
	for _, row := range []struct {
		change func(*apiclient.Job)
		want   string
	}{
		{func(*apiclient.Job) {}, "9s"},
		{func(j *apiclient.Job) { j.DownRate = 101 }, "9s"},
		{func(j *apiclient.Job) { j.DownRate = 0 }, ""},
		{func(j *apiclient.Job) { j.DownRate = -1 }, ""},
		{func(j *apiclient.Job) { j.Have = 1000 }, ""},
		{func(j *apiclient.Job) { j.State = apiclient.StateChecking }, ""},
		{func(j *apiclient.Job) { j.Size, j.DownRate = math.MaxInt64, 1 }, ">100d"},
	} {
		j := job
		row.change(&j)
		if got := formatETA(j); got != row.want {
			t.Errorf("%+v: %q, want %q", j, got, row.want)
		}
	}
}

func TestProgressSaysWhatTheJobDoesOrWaitsFor(t *testing.T) {
	three := make([]apiclient.Peer, 3)
	for _, row := range []struct {
		job  apiclient.Job
		want string
	}{
		{apiclient.Job{State: "downloading", Size: 100 << 20, Have: 12_900_000, DownRate: 5_350_000, Peers: three, Message: "downloading from 3 peers"},
			"12.3 MiB of 100 MiB  12.3%  5.1 MiB/s  ETA 18s  3 peers  downloading"},
		{apiclient.Job{State: "downloading", Size: 100, Message: "no peers yet; asked 2 trackers"},
			"0 B of 100 B  0.0%  0 B/s  0 peers  downloading: no peers yet; asked 2 trackers"},
		{apiclient.Job{State: "downloading", Size: 100, Have: 50, Peers: three[:1]}, "50 B of 100 B  50.0%  0 B/s  1 peer  downloading"},
		{apiclient.Job{State: "waiting", Message: "waiting for the device attic, which is offline"}, "waiting for the device attic, which is offline"},
		{apiclient.Job{State: "metadata", Message: "asking 2 peers"}, "metadata: asking 2 peers"},
		{apiclient.Job{State: "checking", Size: 200, Have: 10, Checked: 100}, "100 B of 200 B  50.0%  checking"},
		{apiclient.Job{State: "seeding", Size: 200, Have: 200, Message: "complete; sharing", Peers: three[:2]}, "200 B of 200 B  100%  2 peers  seeding"},
		{apiclient.Job{State: "paused", Size: 200, Message: "paused", Error: "disk\nfull"}, "0 B of 200 B  0.0%  paused: disk full"},
	} {
		if got := formatProgress(row.job); got != row.want {
			t.Errorf("%q\nwant %q", got, row.want)
		}
	}
}

func TestBarGrowsWithTheShare(t *testing.T) {
	for _, row := range []struct {
		have, size int64
		want       string
	}{
		{0, 100, "[>         ]"}, {50, 100, "[=====>    ]"}, {99, 100, "[=========>]"}, {100, 100, "[==========]"},
		{200, 100, "[==========]"}, {-5, 100, "[>         ]"}, {5, 0, "[>         ]"},
	} {
		if got := formatBar(row.have, row.size, 12); got != row.want {
			t.Errorf("%d of %d: %q, want %q", row.have, row.size, got, row.want)
		}
	}
	formatBar(1, 2, 0)
}

func TestBarLineStaysInsideTheTerminal(t *testing.T) {
	job := apiclient.Job{State: "downloading", Size: 100 << 20, Have: 50 << 20, DownRate: 1 << 20, Message: strings.Repeat("映画 ", 30)}
	for width := range 300 {
		if got := formatBarLine(job, width); uniseg.StringWidth(got) > max(width-1, 1) {
			t.Errorf("%d columns: %q", width, got)
		}
	}
	job.Peers = make([]apiclient.Peer, 2)
	for width, want := range map[int]string{
		100: "[==========>         ]  50.0 MiB of 100 MiB  50.0%  1.0 MiB/s  ETA 50s  2 peers  downloading",
		80:  "[==========>         ]  50.0%  1.0 MiB/s  ETA 50s  2 peers  downloading",
		59:  "50.0%  1.0 MiB/s  ETA 50s  2 peers  downloading",
		30:  "50.0%  1.0 MiB/s  ETA 50s  2…",
	} {
		if got := formatBarLine(job, width); got != want {
			t.Errorf("%d columns: %q\nwant %q", width, got, want)
		}
	}
}

func TestHostileNamesCannotSteerTheTerminal(t *testing.T) {
	for name, want := range map[string]string{
		"plain é 映画":            "plain é 映画",
		"a\x1b]0;title\x07b":    "a�]0;title�b",
		"a\nb\tc\r":             "a b c",
		"\u202egpj.exe":         "�gpj.exe",
		"\u009b2J":              "�2J",
		"bad \xff utf-8":        "bad � utf-8",
		"zero\u200bwidth\ufeff": "zero�width�",
	} {
		if got := clean(name); got != want {
			t.Errorf("%q: %q, want %q", name, got, want)
		}
	}
}

func TestCutKeepsWholeCharacters(t *testing.T) {
	for _, row := range []struct {
		text  string
		width int
		want  string
	}{
		{"abcdef", 6, "abcdef"}, {"abcdef", 5, "abcd…"}, {"abcdef", 1, "…"}, {"abcdef", 0, "…"},
		{"映画映画", 8, "映画映画"}, {"映画映画", 7, "映画映…"}, {"映画映画", 6, "映画…"}, {"e\u0301e\u0301e\u0301", 2, "e\u0301…"}, {"", 0, ""},
	} {
		if got := cut(row.text, row.width); got != row.want {
			t.Errorf("%q in %d: %q, want %q", row.text, row.width, got, row.want)
		}
	}
}

func TestTableAlignsShortensAndLeavesOut(t *testing.T) {
	columns := []column{{title: "N", right: true}, {title: "NAME", elastic: true}, {title: "MORE", drop: 1}, {title: "LEAST", drop: 2}, {title: "END"}}
	rows := [][]string{{"1", "a long name that is cut", "x", "y", ""}, {"10", "映画", "", "", "z"}}
	for _, row := range []struct {
		width int
		want  string
	}{
		{0, " N  NAME                     MORE  LEAST  END\n 1  a long name that is cut  x     y\n10  映画                                  z\n"},
		{38, " N  NAME              MORE  LEAST  END\n 1  a long name tha…  x     y\n10  映画                           z\n"},
		{37, " N  NAME                    MORE  END\n 1  a long name that is c…  x\n10  映画                          z\n"},
		{30, " N  NAME                   END\n 1  a long name that is …\n10  映画                   z\n"},
		{5, " N  NAME              END\n 1  a long name tha…\n10  映画              z\n"},
	} {
		if got := formatTable(columns, rows, row.width); got != row.want {
			t.Errorf("%d columns:\n%swant\n%s", row.width, got, row.want)
		}
	}
}

func TestOptionsMayFollowArguments(t *testing.T) {
	p := program{}
	app := p.app()
	for line, want := range map[string]string{
		"add M --to device:a --watch": "add --to device:a --watch -- M",
		"add --to=device:a M --watch": "add --to=device:a --watch -- M",
		"--url U add M -to a":         "--url U add -to a -- M",
		"add M -- --to":               "add -- M --to",
		"add M --to":                  "add --to",
		"rm J --data --url U":         "rm --data --url U -- J",
		"devices rename a b --json":   "devices rename --json -- a b",
		"devices --json":              "devices --json",
		"pause ls":                    "pause -- ls",
		"--url add ls":                "--url add ls",
		"--bogus add M":               "--bogus add -- M",
		"login U --token-file -":      "login --token-file - -- U",
		"nonsense ls":                 "-- nonsense ls",
		"":                            "",
	} {
		if got := permute(strings.Fields(line), app.Flags, app.Commands); !slices.Equal(got, strings.Fields(want)) {
			t.Errorf("%s: %q, want %s", line, got, want)
		}
	}
}

func TestJobIsFoundByTheMostExactMatch(t *testing.T) {
	jobs := []apiclient.Job{
		{ID: "aaaaaaaa", Name: "bbbbbbbb", InfoHash: "00ff"}, {ID: "bbbbbbbb", Name: "iso"}, {ID: "isoisois", Name: "other"}, {ID: "abcdefgh", Name: "other 2"},
		{ID: "cccccccc", Name: "twin"}, {ID: "dddddddd", Name: "twin"}, {ID: "eeeeeeee", Name: "twin 3"}, {ID: "ffffffff", Name: "twin 4"},
	}
	for text, want := range map[string]string{
		"bbbbbbbb": "bbbbbbbb", "iso": "bbbbbbbb", "isoi": "isoisois", "00FF": "aaaaaaaa", "ab": "abcdefgh", "other": "isoisois", "other ": "abcdefgh",
		"a":    `"a" means 2 jobs: aaaaaaaa (bbbbbbbb), abcdefgh (other 2); give one's id`,
		"twin": `"twin" means 2 jobs: cccccccc (twin), dddddddd (twin); give one's id`,
		"t":    `"t" means 4 jobs: cccccccc (twin), dddddddd (twin), eeeeeeee (twin 3), …; give one's id`,
		"zz":   "there is no job \"zz\"; `simplebit ls` lists them",
	} {
		job, err := findJob(jobs, text)
		got := job.ID
		if err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
}
