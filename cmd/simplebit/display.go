package main

import (
	"encoding/json"
	"fmt"
	"io"
	"time"

	"simplebit/rendezvous/apiclient"
)

// quiet is the least time between two lines where no terminal reads along.
const quiet = time.Second

// lineDisplay writes a line whenever it changed, at most one per quiet.
type lineDisplay struct {
	w       io.Writer
	last    string
	written time.Time
}

func (d *lineDisplay) job(now time.Time, job apiclient.Job, last bool) {
	d.line(now, formatProgress(job), last)
}

func (d *lineDisplay) note(now time.Time, line string) { d.line(now, line, false) }

func (d *lineDisplay) end() {}

func (d *lineDisplay) line(now time.Time, line string, last bool) {
	if line == d.last || !last && !d.written.IsZero() && now.Sub(d.written) < quiet {
		return
	}
	d.last, d.written = line, now
	fmt.Fprintln(d.w, line)
}

// jsonDisplay writes a job as one line of JSON where lineDisplay would write text.
type jsonDisplay struct{ lineDisplay }

func (d *jsonDisplay) job(now time.Time, job apiclient.Job, last bool) {
	if b, err := json.Marshal(job); err == nil {
		d.line(now, string(b), last)
	}
}

// note writes nothing: readers of JSON expect jobs.
func (d *jsonDisplay) note(time.Time, string) {}

// barDisplay rewrites one line of a terminal.
type barDisplay struct {
	w     io.Writer
	width func() int
	begun bool
}

func (d *barDisplay) job(_ time.Time, job apiclient.Job, _ bool) {
	d.line(formatBarLine(job, d.width()))
}

func (d *barDisplay) note(_ time.Time, line string) { d.line(cut(line, d.width()-1)) }

func (d *barDisplay) end() {
	if d.begun {
		fmt.Fprintln(d.w)
	}
}

// line goes to the line's beginning, writes, and erases what was longer (ECMA-48
// EL). One write, so that a slow terminal does not flicker.
func (d *barDisplay) line(text string) {
	d.begun = true
	fmt.Fprint(d.w, "\r"+text+"\x1b[K")
}

// formatBarLine is a job's progress behind a bar. Only the width decides what is
// shown, so that the line does not jump: the sizes need 100 columns, the bar 60. The
// line stays one column below width: many terminals wrap a line that fills it.
func formatBarLine(job apiclient.Job, width int) string {
	const bar, barFrom, sizesFrom = 22, 60, 100
	text := formatActivity(job)
	if width >= sizesFrom {
		text = formatProgress(job)
	}
	if done, of := progressed(job); width >= barFrom && of > 0 {
		text = formatBar(done, of, bar) + "  " + text
	}
	return cut(text, width-1)
}
