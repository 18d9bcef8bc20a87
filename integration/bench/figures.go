//go:build linux

package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// figures are what one client did in one run, or the medians of several.
type figures struct {
	program string
	name    string
	finish  time.Duration // from the common beginning; 0 for the seeder
	size    int64         // bytes of payload
	// Payload bytes by the client's own count.
	downloaded, uploaded int64
	// Bytes of the host's link by the kernel's count, headers included.
	linkDown, linkUp int64
	cpu              time.Duration
	memory           int64 // bytes resident at most
}

func (f figures) seeder() bool { return f.finish == 0 }

func (f figures) ratio() float64 { return float64(f.uploaded) / float64(f.size) }

// believable reports whether the client's count of what it sent agrees with its link's: the link carries that, at most a
// tenth more for headers, messages and repetition, and acknowledgements of what the client received.
func (f figures) believable() bool {
	return f.linkUp >= f.uploaded && f.linkUp <= f.uploaded+f.uploaded/10+f.linkDown/20+2*mebibyte
}

// median of an even number is the mean of the middle two. There is at least one.
func median[T ~int64 | ~float64](values []T) T {
	values = slices.Sorted(slices.Values(values))
	middle := len(values) / 2
	if len(values)%2 == 1 {
		return values[middle]
	}
	return (values[middle-1] + values[middle]) / 2
}

func mean[T ~int64 | ~float64](values []T) T {
	var sum T
	for _, v := range values {
		sum += v
	}
	return sum / T(len(values))
}

// each collects one figure of many.
func each[T any](all []figures, of func(figures) T) []T {
	values := make([]T, len(all))
	for i, f := range all {
		values[i] = of(f)
	}
	return values
}

// medians combines runs of the same clients, client by client.
func medians(runs [][]figures) []figures {
	all := slices.Clone(runs[0])
	for i := range all {
		same := make([]figures, len(runs))
		for r := range runs {
			same[r] = runs[r][i]
		}
		all[i].finish = median(each(same, func(f figures) time.Duration { return f.finish }))
		all[i].downloaded = median(each(same, func(f figures) int64 { return f.downloaded }))
		all[i].uploaded = median(each(same, func(f figures) int64 { return f.uploaded }))
		all[i].linkDown = median(each(same, func(f figures) int64 { return f.linkDown }))
		all[i].linkUp = median(each(same, func(f figures) int64 { return f.linkUp }))
		all[i].cpu = median(each(same, func(f figures) time.Duration { return f.cpu }))
		all[i].memory = median(each(same, func(f figures) int64 { return f.memory }))
	}
	return all
}

// table is Markdown, the first to finish first.
func table(all []figures) string {
	var b strings.Builder
	b.WriteString("| client | finish (s) | downloaded (MiB) | uploaded (MiB) | link up (MiB) | ratio | CPU (s) | memory (MiB) |\n")
	b.WriteString("|---|---:|---:|---:|---:|---:|---:|---:|\n")
	rows := slices.Clone(all)
	slices.SortStableFunc(rows, func(a, b figures) int {
		return cmp.Or(compareBool(a.seeder(), b.seeder()), cmp.Compare(a.finish, b.finish))
	})
	mib := func(n int64) float64 { return float64(n) / mebibyte }
	for _, f := range rows {
		finish := fmt.Sprintf("%.1f", f.finish.Seconds())
		if f.seeder() {
			finish = "–"
		}
		fmt.Fprintf(&b, "| %s | %s | %.1f | %.1f | %.1f | %.2f | %.1f | %.0f |\n",
			f.name, finish, mib(f.downloaded), mib(f.uploaded), mib(f.linkUp), f.ratio(), f.cpu.Seconds(), mib(f.memory))
	}
	return b.String()
}

// compareBool orders false before true.
func compareBool(a, b bool) int {
	if a == b {
		return 0
	}
	if b {
		return -1
	}
	return 1
}

// judge sets our agents against the others.
func judge(all []figures) string {
	var agents, others, leechers []figures
	for _, f := range all {
		switch {
		case f.seeder():
			continue
		case f.program == ours:
			agents = append(agents, f)
		default:
			others = append(others, f)
		}
		leechers = append(leechers, f)
	}
	finish := func(f figures) time.Duration { return f.finish }
	byFinish := func(a, b figures) int { return cmp.Compare(a.finish, b.finish) }
	first := slices.MinFunc(others, byFinish)
	mine, limit := mean(each(agents, finish)), first.finish+first.finish/10
	var b strings.Builder
	fmt.Fprintf(&b, "- Agents' mean finish %.1f s, the best other client's (%s) %.1f s, plus 10 %% %.1f s: %s.\n",
		mine.Seconds(), first.name, first.finish.Seconds(), limit.Seconds(), verdict(mine <= limit))
	fmt.Fprintf(&b, "- Mean finish of each kind:")
	for rest := leechers; len(rest) > 0; {
		program := rest[0].program
		of := func(f figures) bool { return f.program == program }
		same := slices.DeleteFunc(slices.Clone(rest), func(f figures) bool { return !of(f) })
		rest = slices.DeleteFunc(slices.Clone(rest), of)
		fmt.Fprintf(&b, " %s %.1f s", program, mean(each(same, finish)).Seconds())
		if len(rest) > 0 {
			b.WriteString(",")
		}
	}
	b.WriteString(".\n")
	share, middle := mean(each(agents, figures.ratio)), median(each(leechers, figures.ratio))
	fmt.Fprintf(&b, "- Agents' mean ratio %.2f, the median of all leechers %.2f, of the others %.2f: %s.\n",
		share, middle, median(each(others, figures.ratio)), verdict(share >= middle))
	for _, f := range all {
		if !f.believable() {
			fmt.Fprintf(&b, "- %s counts %d bytes as uploaded, but its link carried %d: its ratio is doubtful.\n", f.name, f.uploaded, f.linkUp)
		}
	}
	return b.String()
}

func verdict(ok bool) string {
	if ok {
		return "met"
	}
	return "missed"
}
