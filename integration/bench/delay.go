//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"simplebit/integration/natlab"
	"simplebit/integration/programs"
)

// The parts of a run. What the flow does at the beginning of each is not judged: it has to find its pace.
const (
	delayBase   = 2 * time.Second // probes alone
	delaySettle = 15 * time.Second
	delayLook   = 20 * time.Second
)

// The bars of a flow.
const (
	delayLeast = 80 * time.Millisecond // of the queueing that the flow causes alone
	delayMost  = 120 * time.Millisecond
	shareMost  = 0.2 // of the link beside TCP
	shareBack  = 0.8 // of its pace before, once TCP has ended
)

// delaySetup is the bottleneck of a run.
type delaySetup struct {
	*transferSetup
	rate  int64         // bytes/s, headers included
	queue time.Duration // that the bottleneck holds
}

func delayCommand() *cli.Command {
	return &cli.Command{
		Name: "delay", Usage: "one uTP flow through a bottleneck: the queueing that it causes, and what it leaves to TCP",
		ArgsUsage: " ", HideHelpCommand: true,
		Flags: []cli.Flag{
			&cli.Int64Flag{Name: "rate", Value: 20, Usage: "of the bottleneck in `MBIT/S`"},
			&cli.DurationFlag{Name: "queue", Value: 200 * time.Millisecond, Usage: "`TIME` that the bottleneck makes a packet wait before it drops others"},
			&cli.StringFlag{Name: "flows", Value: strings.Join(flowNames(), ","), Usage: "`FLOWS` to measure, separated by commas"},
			&cli.StringFlag{Name: "o", Usage: "put the table into its section of this Markdown `FILE`"},
			&cli.StringFlag{Name: "trace", Usage: "write every second's delay and rates to this CSV `FILE`"},
		},
		Action: benchDelay,
	}
}

func benchDelay(c *cli.Context) error {
	if c.Args().Present() || c.Int64("rate") < 1 || c.Duration("queue") < time.Millisecond {
		return errors.New("delay takes no arguments, and its numbers are above 0; see --help")
	}
	flows, err := chosenFlows(c.String("flows"))
	if err != nil {
		return err
	}
	if err := programs.Missing(programs.Opentracker, programs.Mktorrent); err != nil {
		return err
	}
	libtorrent, err := programs.LibtorrentVersion(c.Context)
	if err != nil {
		return err
	}
	s := delaySetup{transferSetup: &transferSetup{}, rate: c.Int64("rate") * megabit, queue: c.Duration("queue")}
	done, err := s.prepare(c.Context, "")
	if err != nil {
		return err
	}
	defer done()
	// More than can pass, so that no flow ends before its time.
	if s.full, err = makePayload(filepath.Join(s.dir, "full"), (s.rate*int64(5*delayLook/time.Second)/mebibyte+1)*mebibyte); err != nil {
		return err
	}
	var trace io.Writer = io.Discard
	if name := c.String("trace"); name != "" {
		f, err := os.Create(name)
		if err != nil {
			return err
		}
		defer f.Close()
		trace = f
	}
	fmt.Fprintln(trace, "flow,seconds,delay_ms,flow_bytes_per_s,tcp_bytes_per_s")
	results := make([]delayResult, len(flows))
	for i, f := range flows {
		results[i] = s.run(c.Context, f, trace)
		if c.Context.Err() != nil {
			return context.Cause(c.Context)
		}
		fmt.Fprintf(c.App.ErrWriter, "%s: %v\n", f.name, results[i])
	}
	var text bytes.Buffer
	s.describe(&text)
	fmt.Fprintf(&text, "\n%s", delayTable(results, s.queue))
	if err := provenance(c.Context, &text, []string{"libtorrent " + libtorrent}); err != nil {
		return err
	}
	fmt.Fprint(c.App.Writer, text.String())
	if name := c.String("o"); name != "" {
		return writeSection(name, "delay", text.String())
	}
	return nil
}

func (s delaySetup) describe(w io.Writer) {
	fmt.Fprintf(w, `## The delay that uTP causes

A router between sender and receiver passes %d Mbit/s, headers included, and holds %v (tc-tbf, first in, first out). One uTP flow
goes through it, alone at first, then beside a TCP connection of the kernel's (%s) from the same sender, then alone again.
Small datagrams through the same queue, %d a second, measure how long it makes them wait more than when it is empty:
both ends are timed by the same clock. Each part begins %v after what changed, for the flow has to find its pace, and is measured
for %v; the flow's first seconds are a line of their own. Rates are of what passes the router, Ethernet's headers included:
uTP's packets and those of the TCP connection are counted apart behind it (nft), one by one, for both ends send with
gso_max_segs 1. Nothing alters what uTP's own packets say.
`, s.rate/megabit, s.queue, tcpControl, time.Second/probeEvery, delaySettle, delayLook)
}

// run measures one flow.
func (s delaySetup) run(ctx context.Context, f flow, trace io.Writer) delayResult {
	ctx, cancel := context.WithTimeoutCause(ctx, 5*time.Minute, errors.New("not within 5m"))
	defer cancel()
	r, err := s.measure(ctx, f, trace)
	r.name, r.ours, r.err = f.title, f.ours, err
	return r
}

func (s delaySetup) measure(ctx context.Context, f flow, trace io.Writer) (r delayResult, err error) {
	dir, err := os.MkdirTemp(s.dir, "d")
	if err != nil {
		return r, err
	}
	defer os.RemoveAll(dir)
	lab, err := natlab.New(natlab.Config{Name: "delay"})
	if err != nil {
		return r, err
	}
	defer lab.Close()
	st, err := s.hosts(lab, dir, s.full)
	if err != nil {
		return r, err
	}
	begin, err := f.prepare(ctx, st)
	if err != nil {
		return r, err
	}
	if err := st.leecher.Narrow(s.rate, s.queue); err != nil {
		return r, err
	}
	if err := countPackets(ctx, st.seeder, st.leecher); err != nil {
		return r, err
	}
	p, err := startProbe(st.seeder, st.leecher)
	if err != nil {
		return r, err
	}
	defer p.close()
	w := &watch{stage: st, probe: p, trace: trace, flow: f.name}
	if _, err := w.part(ctx, delayBase); err != nil {
		return r, err
	}
	if err := begin(); err != nil {
		return r, err
	}
	if r.first, r.alone, err = w.settled(ctx); err != nil {
		return r, err
	}
	beside, err := startTCP(st.seeder, st.leecher)
	if err != nil {
		return r, err
	}
	_, r.beside, err = w.settled(ctx)
	beside.stop()
	if err != nil {
		return r, err
	}
	_, r.after, err = w.settled(ctx)
	return r, err
}
