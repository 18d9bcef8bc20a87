//go:build linux

package matrix

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
)

// Summary is a row with what its tries came to.
type Summary struct {
	Row
	Bar Bar
	Met bool
	// Shares of the tries by class, in percent.
	Direct, LAN, Relayed, None float64
	// Median and P95 are of the times to the first verified data; 0: fewer tries than that had any.
	Median, P95 time.Duration
}

// Summarize says what the tries of a row came to.
func Summarize(r Row, tries []Try) Summary {
	s := Summary{
		Row: Row{r.Pair, len(tries)}, Bar: Bars(r.Pair),
		Direct: Share(tries, Direct), LAN: Share(tries, LAN), Relayed: Share(tries, Relayed), None: Share(tries, None),
	}
	s.Met = len(tries) > 0 && s.Bar.Met(tries)
	s.Median, _ = Quantile(tries, 0.5)
	s.P95, _ = Quantile(tries, 0.95)
	return s
}

// verdict is one word.
func (s Summary) verdict() string {
	if s.Met {
		return "met"
	}
	return "MISSED"
}

// cells are the columns of a table.
func (s Summary) cells() []string {
	b := s.String() // of the pair
	return []string{
		b, fmt.Sprint(s.Tries), percent(s.Direct), percent(s.LAN), percent(s.Relayed), percent(s.None),
		seconds(s.Median), seconds(s.P95), s.Bar.String(), s.verdict(),
	}
}

var columns = []string{"pair", "tries", "direct", "lan", "relayed", "none", "median (s)", "95 % (s)", "bar", ""}

// percent is a share as people read it: nothing where there is nothing.
func percent(share float64) string {
	if share == 0 {
		return ""
	}
	return strings.TrimSuffix(fmt.Sprintf("%.1f", share), ".0")
}

// seconds is a time as people read it.
func seconds(d time.Duration) string {
	if d == 0 {
		return "–"
	}
	return fmt.Sprintf("%.2f", d.Seconds())
}

// Markdown writes the table as Markdown has it.
func Markdown(w io.Writer, rows []Summary) error {
	var b strings.Builder
	fmt.Fprintf(&b, "| %s |\n|---|---:|---:|---:|---:|---:|---:|---:|---|---|\n", strings.Join(columns, " | "))
	for _, r := range rows {
		fmt.Fprintf(&b, "| %s |\n", strings.Join(r.cells(), " | "))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// Print writes the table for a terminal, with what was missed below it.
func Print(w io.Writer, rows []Summary) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, strings.ToUpper(strings.Join(columns, "\t")))
	for _, r := range rows {
		fmt.Fprintln(table, strings.Join(r.cells(), "\t"))
	}
	return table.Flush()
}
