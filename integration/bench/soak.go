//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"simplebit/integration/natlab"
	"simplebit/integration/programs"
)

const (
	soakIdle   = 5 * time.Second        // before the flow
	soakLinger = 20 * time.Second       // after it: what a closed connection may still hold is gone by then
	soakGrowth = 2 * mebibyte           // of resident memory that is no growth: garbage comes and goes by 1 MiB, and a byte a packet were 20
	soakLook   = 500 * time.Millisecond // between looks
	soakPace   = 0.98                   // of the rate
	soakShare  = 10                     // the second and the last tenth of the flow are compared: at first it has to grow
)

func soakCommand() *cli.Command {
	return &cli.Command{
		Name: "soak", Usage: "one uTP flow for minutes: what memory, goroutines and sockets it leaves behind",
		ArgsUsage: " ", HideHelpCommand: true,
		Flags: []cli.Flag{
			&cli.DurationFlag{Name: "for", Value: 10 * time.Minute, Usage: "`TIME` that the flow runs, at least 10s"},
			&cli.Int64Flag{Name: "rate", Value: 50, Usage: "of the flow, in `MIB/S`"},
			&cli.StringFlag{Name: "o", Usage: "put the figures into their section of this Markdown `FILE`"},
		},
		Action: soak,
	}
}

// flowEnd is one of the two processes of a flow, with what was seen of it.
type flowEnd struct {
	*programs.Driver
	name        string
	dir         string
	start, end  holding // before the flow and after it
	early, late []int64 // bytes resident in the first and the last part of the flow
	peak        int64
	cpu         time.Duration
}

// holding is what a process holds at a moment.
type holding struct {
	resident                   int64
	goroutines, conns, sockets int
	read                       int64 // bytes of payload, since its start
}

// flowed is what came of a flow.
type flowed struct {
	read int64         // bytes of payload that the receiver read and found right
	took time.Duration // from its connection's first moment until it had hung up
}

func soak(c *cli.Context) error {
	length, rate := c.Duration("for"), c.Int64("rate")*mebibyte
	if c.Args().Present() || length < 10*time.Second || rate < 1 {
		return errors.New("soak takes no arguments, a rate above 0 and at least 10s; see --help")
	}
	dir, err := os.MkdirTemp("", "sbsoak")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := buildDrivers(c.Context, dir); err != nil {
		return err
	}
	lab, err := natlab.New(natlab.Config{Name: "soak"})
	if err != nil {
		return err
	}
	defer lab.Close()
	ends, all, err := soakFlow(c.Context, lab, dir, length, rate)
	if err != nil {
		return err
	}
	var text bytes.Buffer
	fmt.Fprintf(&text, "## A long uTP flow\n\nOne connection of wire/utp between two namespaces joined by one veth pair moves %d MiB/s of payload for %v. Resident memory is the mean of the\n"+
		"second and of the last tenth of that time; goroutines, connections and sockets are counted %v before it begins and %v after it has\nended.\n\n",
		rate/mebibyte, length, soakIdle, soakLinger)
	text.WriteString(soakTable(ends, all, rate))
	if err := provenance(c.Context, &text, nil); err != nil {
		return err
	}
	fmt.Fprint(c.App.Writer, text.String())
	if name := c.String("o"); name != "" {
		return writeSection(name, "soak", text.String())
	}
	return nil
}

// soakFlow runs the flow and returns its two ends, the sender first, and what came of it.
func soakFlow(ctx context.Context, lab *natlab.Lab, dir string, length time.Duration, rate int64) (ends []*flowEnd, all flowed, err error) {
	ctx, cancel := context.WithTimeout(ctx, length+time.Minute)
	defer cancel()
	from, errFrom := lab.Host("from")
	to, errTo := lab.Host("to")
	if err := errors.Join(errFrom, errTo); err != nil {
		return nil, flowed{}, err
	}
	if err := lab.Direct(from, to); err != nil {
		return nil, flowed{}, err
	}
	address := fmt.Sprint(from.Addr(), ":7000")
	for _, e := range []struct {
		name string
		host *natlab.Host
		args []string
	}{
		{"sender", from, []string{"source", "--rate", fmt.Sprint(rate), address}},
		{"receiver", to, []string{"drain", "--idle", soakIdle.String(), "--for", length.String(), address}},
	} {
		end := &flowEnd{name: e.name, dir: filepath.Join(dir, e.name)}
		if end.Driver, err = programs.StartDriver(ctx, programs.DriverConfig{
			Host: e.host, Dir: end.dir, Program: filepath.Join(dir, "utpflow"), Args: e.args,
		}); err != nil {
			return nil, flowed{}, err
		}
		ends = append(ends, end)
		if e.name == "sender" {
			if _, err := end.Await(ctx, programs.Ready); err != nil {
				return nil, flowed{}, err
			}
		}
	}
	if err := pause(ctx, soakIdle-time.Second); err != nil {
		return nil, flowed{}, err
	}
	for _, e := range ends {
		if e.start, err = e.hold(); err != nil {
			return nil, flowed{}, err
		}
	}
	began, err := ends[1].Await(ctx, programs.Ready)
	if err != nil {
		return nil, flowed{}, err
	}
	for passed := time.Duration(0); passed < length; passed = time.Since(began) {
		for _, e := range ends {
			if err := e.look(passed, length); err != nil {
				return nil, flowed{}, err
			}
		}
		if err := pause(ctx, soakLook); err != nil {
			return nil, flowed{}, err
		}
	}
	ended, err := ends[1].Await(ctx, programs.Complete)
	if err != nil {
		return nil, flowed{}, err
	}
	if err := pause(ctx, soakLinger); err != nil {
		return nil, flowed{}, err
	}
	for _, e := range ends {
		if e.end, err = e.hold(); err != nil {
			return nil, flowed{}, err
		}
		use, err := e.Usage()
		if err != nil {
			return nil, flowed{}, err
		}
		e.peak, e.cpu = use.PeakRSS, use.CPU
	}
	return ends, flowed{ends[1].end.read, ended.Sub(began)}, nil
}

// pause waits, or returns why ctx ended.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}

// look notes the resident memory when the flow has run for so long.
func (e *flowEnd) look(passed, length time.Duration) error {
	h, err := e.hold()
	switch {
	case err != nil:
		return err
	case passed < length/soakShare:
	case passed < 2*length/soakShare:
		e.early = append(e.early, h.resident)
	case passed > length-length/soakShare:
		e.late = append(e.late, h.resident)
	}
	return nil
}

// hold reads what the process holds now.
func (e *flowEnd) hold() (h holding, err error) {
	stats, err := os.ReadFile(filepath.Join(e.dir, "stats"))
	if err != nil {
		return h, err
	}
	lines := strings.Split(strings.TrimSpace(string(stats)), "\n")
	if _, err := fmt.Sscan(lines[len(lines)-1], &h.goroutines, &h.conns, &h.read); err != nil {
		return h, fmt.Errorf("%s: statistics: %w", e.name, err)
	}
	var pages int64
	statm, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", e.Pid()))
	if err == nil {
		_, err = fmt.Sscan(string(statm), new(int64), &pages)
	}
	if err != nil {
		return h, fmt.Errorf("%s: %w", e.name, err)
	}
	h.resident = pages * int64(os.Getpagesize())
	fds := fmt.Sprintf("/proc/%d/fd", e.Pid())
	open, err := os.ReadDir(fds)
	for _, fd := range open {
		if what, _ := os.Readlink(filepath.Join(fds, fd.Name())); strings.HasPrefix(what, "socket:") {
			h.sockets++
		}
	}
	return h, err
}

// soakTable is Markdown: the figures and what they say.
func soakTable(ends []*flowEnd, all flowed, rate int64) string {
	var b strings.Builder
	b.WriteString("| process | memory MiB, second tenth | last tenth | peak | CPU s/GiB | goroutines before, after | connections | sockets |\n")
	b.WriteString("|---|---:|---:|---:|---:|---:|---:|---:|\n")
	growth, back := int64(0), true
	for _, e := range ends {
		early, late := mean(e.early), mean(e.late)
		growth = max(growth, late-early)
		back = back && e.end.goroutines <= e.start.goroutines && e.end.conns <= e.start.conns && e.end.sockets <= e.start.sockets
		fmt.Fprintf(&b, "| %s | %.1f | %.1f | %.1f | %.2f | %d, %d | %d, %d | %d, %d |\n", e.name,
			float64(early)/mebibyte, float64(late)/mebibyte, float64(e.peak)/mebibyte, e.cpu.Seconds()*gibibyte/float64(all.read),
			e.start.goroutines, e.end.goroutines, e.start.conns, e.end.conns, e.start.sockets, e.end.sockets)
	}
	pace := float64(all.read) / all.took.Seconds()
	fmt.Fprintf(&b, "\n- The receiver read %.1f MiB/s (%.1f MB/s) of payload, every byte as it was sent, wanted at least %.1f, 98 %% of the rate: %s.\n",
		pace/mebibyte, pace/megabyte, soakPace*float64(rate)/mebibyte, verdict(pace >= soakPace*float64(rate)))
	fmt.Fprintf(&b, "- Resident memory changed by at most %.2f MiB, wanted below %d: %s.\n", float64(growth)/mebibyte, soakGrowth/mebibyte, verdict(growth < soakGrowth))
	fmt.Fprintf(&b, "- Goroutines, connections and sockets return to the start: %s.\n", verdict(back))
	return b.String()
}
