//go:build linux

package main

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"
)

// transfersOf is the runs of all rows, each of which takes and computes so many seconds for a GiB.
func transfersOf(runs int, figures func(r row) (wall, cpu float64)) ([]row, [][]transfer) {
	rows := allRows()
	all := make([][]transfer, runs)
	for i := range all {
		for _, r := range rows {
			wall, cpu := figures(r)
			seconds := func(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
			all[i] = append(all[i], transfer{size: gibibyte, wall: seconds(wall), whole: seconds(wall + 1), cpu: seconds(cpu), memory: mebibyte})
		}
	}
	return rows, all
}

func TestTheBarsAreJudgedByTheFigures(t *testing.T) {
	for _, c := range []struct {
		what string
		slow string // the row that is slower than the others, and computes more
		says []string
	}{
		{"all alike", "", []string{
			"537 MB/s (512 MiB/s), wanted at least 400 MB/s: met; 2.00 s of CPU per GiB at the leecher, wanted at most 2.5: met.",
			"2.00 s/GiB, libtorrent to libtorrent 2.00: met.",
			"2.00 and 2.00 s/GiB of CPU: met; 2.00 and 2.00 s/GiB: met.",
		}},
		{"agents are slow", agentsUTP, []string{"358 MB/s (341 MiB/s), wanted at least 400 MB/s: missed; 3.00 s of CPU per GiB at the leecher, wanted at most 2.5: missed."}},
		{"uTP is slow", agentUTP, []string{"3.00 s/GiB, libtorrent to libtorrent 2.00: missed. Of one processor the seeder uses 0 % of the time, the agent 100 %; libtorrent to libtorrent, 0 % and 100 %. The seeder waits at times"}},
		{"TCP is slow", agentTCP, []string{"3.00 and 2.00 s/GiB of CPU: missed; 3.00 and 2.00 s/GiB: missed."}},
		{"aria2 is slow", aria2Row, []string{"2.00 and 3.00 s/GiB of CPU: met; 2.00 and 3.00 s/GiB: met."}},
	} {
		got := transferVerdicts(combine(transfersOf(1, func(r row) (float64, float64) {
			if r.name == c.slow {
				return 3, 3
			}
			return 2, 2
		})))
		for _, want := range c.says {
			if !strings.Contains(got, want) {
				t.Errorf("%s: %s\ndoes not say %q", c.what, got, want)
			}
		}
	}
}

func TestTheBarIsInMegabytesAndNotInMebibytes(t *testing.T) {
	for wall, want := range map[float64]string{2.6: "413 MB/s (394 MiB/s), wanted at least 400 MB/s: met", 2.7: "398 MB/s (379 MiB/s), wanted at least 400 MB/s: missed"} {
		got := transferVerdicts(combine(transfersOf(1, func(row) (float64, float64) { return wall, 2 })))
		if !strings.Contains(got, want) {
			t.Errorf("%s\ndoes not say %q", got, want)
		}
	}
}

func TestSharesOfAProcessorAllowToConcludeLittle(t *testing.T) {
	for _, c := range []struct {
		seeder, agent float64
		want          string
	}{
		{50, 79, "these shares do not tell"}, {90, 50, "the seeder's processor may"}, {50, 120, "the agent's processor may"}, {95, 95, "do not tell which"},
	} {
		if got := limits(c.seeder, c.agent); !strings.Contains(got, c.want) {
			t.Errorf("shares of %.0f and %.0f: %s\ndoes not say %q", c.seeder, c.agent, got, c.want)
		}
	}
}

func TestARowThatFailsIsNamedWithItsReasonAndJudgesNothing(t *testing.T) {
	rows, runs := transfersOf(3, func(row) (float64, float64) { return 2, 2 })
	failed := slices.IndexFunc(rows, func(r row) bool { return r.name == agentsUTP })
	once := slices.IndexFunc(rows, func(r row) bool { return r.name == aria2Row })
	for i := range runs {
		runs[i][failed] = transfer{size: gibibyte, err: errors.New("the peer\nhung up")}
	}
	runs[1][once] = transfer{size: gibibyte, err: errors.New("once")}
	results := combine(rows, runs)
	for text, wants := range map[string][]string{
		transferTable(results): {
			"| simplebit, uTP | simplebit | failed |", "failed in 3 of 3 runs: the peer hung up.",
			"aria2 from libtorrent failed in 1 of 3 runs; its figures are those of the others.",
		},
		transferVerdicts(results): {"Agent to agent over uTP: not measured, the peer hung up.", "Agent over TCP against aria2: 2.00 and 2.00"},
	} {
		for _, want := range wants {
			if !strings.Contains(text, want) {
				t.Errorf("%s\ndoes not say %q", text, want)
			}
		}
	}
}

func TestASmallPayloadIsScaledAndMarked(t *testing.T) {
	rows, runs := transfersOf(1, func(row) (float64, float64) { return 2, 2 })
	for i, r := range rows {
		if r.slow {
			runs[0][i].size /= 8
		}
	}
	got := transferTable(combine(rows, runs))
	for _, want := range []string{"| transmission-cli * | libtorrent | 1.00 | 16.00 |", "| rain | libtorrent | 1.00 | 2.00 |"} {
		if !strings.Contains(got, want) {
			t.Errorf("%s\ndoes not say %q", got, want)
		}
	}
}

func TestAFigureOfSeveralRunsShowsItsSpread(t *testing.T) {
	if got := spreadOf([]float64{3, 1, 2}).String(); got != "2.00 (1.00–3.00)" {
		t.Errorf("three runs read %q", got)
	}
}
