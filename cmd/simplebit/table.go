package main

import (
	"slices"
	"strings"

	"github.com/rivo/uniseg"
)

// column is one column of a table. A table that is wider than the terminal first
// shortens its elastic column, of which it has at most one, to leastElastic, then
// leaves out columns, those with the highest drop first, and then sticks out.
type column struct {
	title   string
	right   bool // aligned to the right, for numbers
	elastic bool
	drop    int // 0 is never left out
}

// leastElastic is the width in columns at which an elastic column is still of use.
const leastElastic = 16

// formatTable aligns rows under their titles, two spaces apart, and ends every
// line with a newline. Width 0 is no limit.
func formatTable(columns []column, rows [][]string, width int) string {
	shown, widths := layOut(columns, rows, width)
	var b strings.Builder
	line := func(cell func(i int) string) {
		var l strings.Builder
		for at, i := range shown {
			if at > 0 {
				l.WriteString("  ")
			}
			text := cut(cell(i), widths[i])
			space := strings.Repeat(" ", max(widths[i]-uniseg.StringWidth(text), 0))
			if columns[i].right {
				l.WriteString(space + text)
			} else {
				l.WriteString(text + space)
			}
		}
		b.WriteString(strings.TrimRight(l.String(), " ") + "\n")
	}
	line(func(i int) string { return columns[i].title })
	for _, row := range rows {
		line(func(i int) string { return row[i] })
	}
	return b.String()
}

// layOut returns the indices of the columns that are shown, and every column's width.
func layOut(columns []column, rows [][]string, width int) (shown, widths []int) {
	widths = make([]int, len(columns))
	for i, c := range columns {
		shown = append(shown, i)
		widths[i] = uniseg.StringWidth(c.title)
		for _, row := range rows {
			widths[i] = max(widths[i], uniseg.StringWidth(row[i]))
		}
	}
	if width <= 0 {
		return shown, widths
	}
	elastic := slices.IndexFunc(columns, func(c column) bool { return c.elastic })
	for {
		excess := 2*(len(shown)-1) - width
		for _, i := range shown {
			excess += widths[i]
		}
		spare := 0
		if elastic >= 0 {
			spare = max(widths[elastic]-leastElastic, 0)
		}
		next := slices.MaxFunc(shown, func(a, b int) int { return columns[a].drop - columns[b].drop })
		if excess > spare && columns[next].drop > 0 {
			shown = slices.DeleteFunc(shown, func(i int) bool { return i == next })
			continue
		}
		if elastic >= 0 && excess > 0 {
			widths[elastic] -= min(excess, spare)
		}
		return shown, widths
	}
}
