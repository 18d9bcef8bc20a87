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
			"512 MiB/s, wanted at least 400: met; 2.00 s of CPU per GiB at the leecher, wanted at most 2.5: met.",
			"2.00 s/GiB, libtorrent to libtorrent 2.00: met.",
			"2.00 and 2.00 s/GiB of CPU: met; 2.00 and 2.00 s/GiB: met.",
		}},
		{"agents are slow", agentsUTP, []string{"341 MiB/s, wanted at least 400: missed; 3.00 s of CPU per GiB at the leecher, wanted at most 2.5: missed."}},
		{"uTP is slow", agentUTP, []string{"3.00 s/GiB, libtorrent to libtorrent 2.00: missed. The seeder computes 0 % of the time, the agent 100 %: the agent's processor limits."}},
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

// partOf is what was seen of a flow that makes packets wait so long, and leaves the rest to TCP.
func partOf(wait time.Duration, flow, tcp float64) part {
	return part{waits: []time.Duration{wait / 2, wait, 2 * wait}, sent: 3, flow: flow, tcp: tcp, length: time.Second}
}

func TestADelayIsJudgedByTheMedianAndTheShares(t *testing.T) {
	ms := time.Millisecond
	for _, c := range []struct {
		what   string
		result delayResult
		says   []string
	}{
		{"as wanted", delayResult{alone: partOf(100*ms, 1000, 0), beside: partOf(200*ms, 100, 900), after: partOf(100*ms, 900, 0)},
			[]string{"waiting 100 ms of the queue's 200, wanted 80 to 120: met", "takes 10 % beside TCP, wanted at most 20 %, and afterwards 90 % of its pace before, wanted at least 80 %: met"}},
		{"too long", delayResult{alone: partOf(121*ms, 1000, 0), beside: partOf(200*ms, 300, 700), after: partOf(100*ms, 900, 0)},
			[]string{"waiting 121 ms of the queue's 200, wanted 80 to 120: missed", "takes 30 % beside TCP, wanted at most 20 %, and afterwards 90 % of its pace before, wanted at least 80 %: missed"}},
		{"does not come back", delayResult{alone: partOf(79*ms, 1000, 0), beside: partOf(200*ms, 100, 900), after: partOf(10*ms, 700, 0)},
			[]string{"waiting 79 ms of the queue's 200, wanted 80 to 120: missed", "afterwards 70 % of its pace before, wanted at least 80 %: missed"}},
	} {
		c.result.ours, c.result.first = true, partOf(150*ms, 1000, 0)
		got := delayTable([]delayResult{c.result}, 200*ms)
		for _, want := range c.says {
			if !strings.Contains(got, want) {
				t.Errorf("%s: %s\ndoes not say %q", c.what, got, want)
			}
		}
	}
}
