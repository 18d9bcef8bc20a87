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
	"time"

	"github.com/urfave/cli/v2"

	"simplebit/integration/natlab"
	"simplebit/integration/programs"
)

const (
	mebibyte = 1 << 20
	megabyte = 1_000_000
	megabit  = 1_000_000 / 8 // bytes
)

// kinds are the clients of a swarm, and how many there are of each.
var kinds = []struct {
	program string
	count   int
}{
	{ours, 4}, {programs.QBittorrentNox, 2}, {programs.TransmissionDaemon, 2}, {programs.Aria2c, 2}, {programs.RTorrent, 2},
}

// swarmSetup is what one run of a swarm looks like.
type swarmSetup struct {
	size     int64         // bytes of payload
	down, up int64         // bytes/s of every link but the tracker's and the surrogate's, headers included
	patience time.Duration // until everybody has to be complete
	bin      string        // folder of our binaries
	dir      string        // of everything that the run writes
	trace    io.Writer     // gets a line of CSV per look at a client
}

func swarmCommand() *cli.Command {
	return &cli.Command{
		Name: "swarm", Usage: "one seeder and twelve leechers on slow links: four agents of one surrogate, and two each of four other clients",
		ArgsUsage: " ", HideHelpCommand: true,
		Flags: []cli.Flag{
			&cli.Int64Flag{Name: "size", Value: 64, Usage: "payload in `MIB`"},
			&cli.Int64Flag{Name: "down", Value: 20, Usage: "every link's downstream in `MBIT/S`"},
			&cli.Int64Flag{Name: "up", Value: 5, Usage: "every link's upstream in `MBIT/S`"},
			&cli.IntFlag{Name: "runs", Value: 1, Usage: "`N` times; the tables show medians"},
			&cli.DurationFlag{Name: "patience", Value: 20 * time.Minute, Usage: "how much `TIME` a run may take at most"},
			&cli.StringFlag{Name: "o", Usage: "put the table into its section of this Markdown `FILE`"},
			&cli.StringFlag{Name: "trace", Usage: "write what each client has and sent, every second, to this CSV `FILE`"},
			&cli.StringFlag{Name: "keep", Usage: "work in this `DIR` and leave it, for the logs"},
		},
		Action: benchSwarm,
	}
}

func benchSwarm(c *cli.Context) (err error) {
	if c.Args().Present() || c.Int64("size") < 1 || c.Int64("down") < 1 || c.Int64("up") < 1 || c.Int("runs") < 1 {
		return errors.New("swarm takes no arguments, and its numbers are above 0; see --help")
	}
	setup := swarmSetup{
		size: c.Int64("size") * mebibyte, down: c.Int64("down") * megabit, up: c.Int64("up") * megabit,
		patience: c.Duration("patience"), trace: io.Discard,
	}
	needs := []string{programs.Opentracker, programs.Mktorrent}
	for _, k := range kinds[1:] {
		needs = append(needs, k.program)
	}
	if err := programs.Missing(needs...); err != nil {
		return err
	}
	dir := c.String("keep")
	if dir == "" {
		// Short: unix sockets lie below it.
		if dir, err = os.MkdirTemp("", "sbbench"); err != nil {
			return err
		}
		defer os.RemoveAll(dir)
	} else if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if name := c.String("trace"); name != "" {
		f, err := os.Create(name)
		if err != nil {
			return err
		}
		defer f.Close()
		setup.trace = f
	}
	setup.bin = filepath.Join(dir, "bin")
	if err := errors.Join(os.MkdirAll(setup.bin, 0o755), programs.Build(c.Context, setup.bin)); err != nil {
		return err
	}
	var runs [][]figures
	for i := range c.Int("runs") {
		setup.dir = filepath.Join(dir, fmt.Sprint("run", i+1))
		run, err := setup.run(c.Context)
		if err != nil {
			return fmt.Errorf("run %d: %w", i+1, err)
		}
		runs = append(runs, run)
		if c.Int("runs") > 1 {
			fmt.Fprintf(c.App.Writer, "Run %d of %d:\n\n%s\n%s\n", i+1, c.Int("runs"), table(run), judge(run))
		}
		if c.String("keep") == "" {
			os.RemoveAll(setup.dir)
		}
	}
	all := medians(runs)
	var text bytes.Buffer
	setup.describe(&text, c.Int("runs"))
	fmt.Fprintf(&text, "\n%s\n", table(all))
	for i, run := range runs {
		if len(runs) > 1 {
			fmt.Fprintf(&text, "Run %d:\n\n", i+1)
		}
		fmt.Fprintf(&text, "%s\n", judge(run)) // a swarm is compared with itself: another finds other conditions
	}
	if err := provenance(c.Context, &text, nil, programs.QBittorrentNox, programs.TransmissionDaemon, programs.Aria2c, programs.RTorrent); err != nil {
		return err
	}
	fmt.Fprint(c.App.Writer, text.String())
	if name := c.String("o"); name != "" {
		return writeSection(name, "swarm", text.String())
	}
	return nil
}

// describe says what was measured, for readers of the Markdown.
func (s swarmSetup) describe(w io.Writer, runs int) {
	fmt.Fprintf(w, `## A swarm of twelve

One seeder (qBittorrent) and twelve leechers, which begin at the same moment, are given the same .torrent of %d MiB and keep
seeding once they are complete: four agents of one surrogate, and two each of four other clients. Every one of the thirteen
has a link of its own of %d Mbit/s down and %d up; the tracker's (opentracker) and the surrogate's are not limited. All use TCP
and peer exchange, no DHT, and their default settings otherwise, but aria2 has --file-allocation=none and seeds on.

Finish is the time from the common beginning until a client has everything verified. Downloaded and uploaded are payload as
the client itself counts it; link up is all that its host sent, with headers, acknowledgements and protocol, as the kernel
counts it. Ratio is uploaded over the payload's size.
`, s.size/mebibyte, s.down/megabit, s.up/megabit)
	if runs > 1 {
		fmt.Fprintf(w, "Each figure of the table is the median of %d runs; below it, each run is judged by itself.\n", runs)
	}
}

// run plays one swarm until everybody has everything.
func (s swarmSetup) run(ctx context.Context) ([]figures, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, s.patience, fmt.Errorf("the swarm was not complete within %v", s.patience))
	defer cancel()
	lab, err := natlab.New(natlab.Config{Name: "bench"})
	if err != nil {
		return nil, err
	}
	defer lab.Close()
	g, err := s.gather(ctx, lab)
	if err != nil {
		return nil, err
	}
	if err := g.begin(ctx); err != nil {
		return nil, err
	}
	if err := g.watch(ctx, s.trace); err != nil {
		return nil, err
	}
	return g.figures(ctx)
}
