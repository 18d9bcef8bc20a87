//go:build linux

package main

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

const gibibyte = 1 << 30

// spread is the median of a figure in several runs, with the least and the most.
type spread struct{ median, least, most float64 }

func spreadOf(values []float64) spread {
	return spread{median(values), slices.Min(values), slices.Max(values)}
}

func (s spread) String() string {
	if s.least == s.most {
		return fmt.Sprintf("%.2f", s.median)
	}
	return fmt.Sprintf("%.2f (%.2f–%.2f)", s.median, s.least, s.most)
}

// result is what a row's runs come to. Times are in seconds per GiB.
type result struct {
	row
	wall, cpu, seederCPU spread
	start, memory        spread // s and MiB, not per GiB
	scaled               bool   // the payload was smaller than that of the other rows
	failed               error  // of the last run that did, when none succeeded
	misses               int    // runs that failed
	runs                 int
}

// rate is in bytes/s.
func (r result) rate() float64 { return gibibyte / r.wall.median }

// busy returns for how much of the wall time, in percent of one processor, the seeder and the leecher computed. Their start is in it.
func (r result) busy() (seeder, leecher float64) {
	return 100 * r.seederCPU.median / r.wall.median, 100 * r.cpu.median / r.wall.median
}

// combine takes the runs of the same rows, run by run.
func combine(rows []row, runs [][]transfer) []result {
	results := make([]result, len(rows))
	most := int64(0)
	for i := range rows {
		most = max(most, runs[0][i].size)
	}
	for i, r := range rows {
		results[i] = result{row: r, runs: len(runs)}
		var good []transfer
		for _, run := range runs {
			if err := run[i].err; err != nil {
				results[i].failed = err
				results[i].misses++
			} else {
				good = append(good, run[i])
			}
		}
		if len(good) == 0 {
			continue
		}
		perGiB := func(of func(transfer) time.Duration) spread {
			var values []float64
			for _, t := range good {
				values = append(values, of(t).Seconds()*gibibyte/float64(t.size))
			}
			return spreadOf(values)
		}
		results[i].failed, results[i].scaled = nil, good[0].size < most
		results[i].wall = perGiB(func(t transfer) time.Duration { return t.wall })
		results[i].cpu = perGiB(func(t transfer) time.Duration { return t.cpu })
		results[i].seederCPU = perGiB(func(t transfer) time.Duration { return t.seederCPU })
		var start, memory []float64
		for _, t := range good {
			start, memory = append(start, (t.whole-t.wall).Seconds()), append(memory, float64(t.memory)/mebibyte)
		}
		results[i].start, results[i].memory = spreadOf(start), spreadOf(memory)
	}
	return results
}

// find returns the row of that name if it has figures.
func find(all []result, name string) (result, bool) {
	i := slices.IndexFunc(all, func(r result) bool { return r.name == name })
	if i < 0 {
		return result{failed: fmt.Errorf("row %s was not run", name)}, false
	}
	return all[i], all[i].failed == nil
}

// transferTable is Markdown.
func transferTable(all []result) string {
	var b strings.Builder
	b.WriteString("| leecher | from | start s | wall s/GiB | MiB/s | MB/s | CPU s/GiB | seeder's CPU | memory MiB | wall : ours | CPU : ours |\n")
	b.WriteString("|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n")
	var notes []string
	for _, r := range all {
		title := r.leecher
		if r.slow && (r.scaled || r.failed != nil) {
			title += " *"
		}
		if r.failed != nil {
			fmt.Fprintf(&b, "| %s | %s | failed | | | | | | | | |\n", title, r.seeder)
			notes = append(notes, fmt.Sprintf("- %s from %s failed in %d of %d runs: %s.\n", r.leecher, r.seeder, r.misses, r.runs, oneLine(r.failed)))
			continue
		}
		if r.misses > 0 {
			notes = append(notes, fmt.Sprintf("- %s from %s failed in %d of %d runs; its figures are those of the others.\n", r.leecher, r.seeder, r.misses, r.runs))
		}
		wall, cpu := "–", "–"
		if mine, ok := find(all, r.against); ok && r.name != r.against {
			wall, cpu = fmt.Sprintf("%.2f", r.wall.median/mine.wall.median), fmt.Sprintf("%.2f", r.cpu.median/mine.cpu.median)
		}
		fmt.Fprintf(&b, "| %s | %s | %.2f | %v | %.0f | %.0f | %v | %.2f | %.0f | %s | %s |\n",
			title, r.seeder, r.start.median, r.wall, r.rate()/mebibyte, r.rate()/megabyte, r.cpu, r.seederCPU.median, r.memory.median, wall, cpu)
	}
	if len(notes) > 0 {
		fmt.Fprintf(&b, "\n%s", strings.Join(notes, ""))
	}
	return b.String()
}

// oneLine keeps an error short enough for a document.
func oneLine(err error) string {
	return fmt.Sprintf("%.300s", strings.Join(strings.Fields(err.Error()), " "))
}

// The bars of our transports.
const (
	barRate = 400 // MB/s, agent to agent over uTP
	barCPU  = 2.5 // s/GiB of the leeching agent meanwhile
	barBusy = 80  // percent of a processor, from which on a program may be limited by it
)

// limits says what the shares of a processor that both sides use allow to conclude about which of them limits.
func limits(seeder, agent float64) string {
	switch {
	case seeder < barBusy && agent < barBusy:
		return "Neither is always at work, so both wait at times; for what, these shares do not tell."
	case agent < barBusy:
		return "The agent waits at times, the seeder hardly: the seeder's processor may be what limits."
	case seeder < barBusy:
		return "The seeder waits at times, the agent hardly: the agent's processor may be what limits."
	default:
		return "Both are at work nearly all the time: these shares do not tell which limits."
	}
}

// transferVerdicts judges our agents by the table.
func transferVerdicts(all []result) string {
	var b strings.Builder
	bar := func(what, mine, other string, say func(mine, other result) string) {
		m, ok := find(all, mine)
		o, okOther := find(all, other)
		switch {
		case !ok:
			fmt.Fprintf(&b, "- %s: not measured, %s.\n", what, oneLine(m.failed))
		case !okOther:
			fmt.Fprintf(&b, "- %s: not measured, %s.\n", what, oneLine(o.failed))
		default:
			fmt.Fprintf(&b, "- %s: %s\n", what, say(m, o))
		}
	}
	bar("Agent to agent over uTP", agentsUTP, agentsUTP, func(r, _ result) string {
		return fmt.Sprintf("%.0f MB/s (%.0f MiB/s), wanted at least %d MB/s: %s; %.2f s of CPU per GiB at the leecher, wanted at most %.1f: %s.",
			r.rate()/megabyte, r.rate()/mebibyte, barRate, verdict(r.rate() >= barRate*megabyte), r.cpu.median, barCPU, verdict(r.cpu.median <= barCPU))
	})
	bar("Agent over uTP from libtorrent", agentUTP, libtorrentsUTP, func(mine, other result) string {
		seeder, agent := mine.busy()
		otherSeeder, otherLeecher := other.busy()
		return fmt.Sprintf("%.2f s/GiB, libtorrent to libtorrent %.2f: %s. Of one processor the seeder uses %.0f %% of the time, the agent %.0f %%; "+
			"libtorrent to libtorrent, %.0f %% and %.0f %%. %s",
			mine.wall.median, other.wall.median, verdict(mine.wall.median <= other.wall.median), seeder, agent, otherSeeder, otherLeecher, limits(seeder, agent))
	})
	bar("Agent over TCP against aria2", agentTCP, aria2Row, func(mine, other result) string {
		return fmt.Sprintf("%.2f and %.2f s/GiB of CPU: %s; %.2f and %.2f s/GiB: %s.", mine.cpu.median, other.cpu.median,
			verdict(mine.cpu.median <= other.cpu.median), mine.wall.median, other.wall.median, verdict(mine.wall.median <= other.wall.median))
	})
	return b.String()
}
