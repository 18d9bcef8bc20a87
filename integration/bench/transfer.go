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
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"simplebit/integration/programs"
)

// tmpfs is where transfers happen: disks are measured by nobody here.
const tmpfs = "/dev/shm"

// pieceLength is of the torrents that are transferred, in bytes.
const pieceLength = 1 << 20

// transferSetup is what every transfer of a benchmark has in common.
type transferSetup struct {
	dir      string // of everything that is written
	bin      string // folder of all binaries that are built for it
	patience time.Duration
	full     payload
	slow     payload // of the rows that would take minutes
}

func transferCommand() *cli.Command {
	return &cli.Command{
		Name: "transfer", Usage: "one leecher and one seeder on a cable without limit: time, CPU and memory of several clients side by side",
		ArgsUsage: " ", HideHelpCommand: true,
		Flags: []cli.Flag{
			&cli.Int64Flag{Name: "size", Value: 1024, Usage: "payload in `MIB`"},
			&cli.Int64Flag{Name: "slow-size", Value: 128, Usage: "payload in `MIB` of the rows that would take minutes; their figures are scaled"},
			&cli.IntFlag{Name: "runs", Value: 3, Usage: "`N` times; the table shows medians"},
			&cli.DurationFlag{Name: "patience", Value: 4 * time.Minute, Usage: "how much `TIME` one transfer may take at most"},
			&cli.StringFlag{Name: "rows", Usage: "only these `ROWS`, separated by commas: " + strings.Join(rowNames(), ", ")},
			&cli.StringFlag{Name: "o", Usage: "put the table into its section of this Markdown `FILE`"},
			&cli.StringFlag{Name: "keep", Usage: "work in this `DIR` and leave it, for the logs"},
		},
		Action: benchTransfer,
	}
}

func benchTransfer(c *cli.Context) error {
	if c.Args().Present() || c.Int64("size") < 1 || c.Int64("slow-size") < 1 || c.Int("runs") < 1 {
		return errors.New("transfer takes no arguments, and its numbers are above 0; see --help")
	}
	rows, err := chosenRows(c.String("rows"))
	if err != nil {
		return err
	}
	if err := programs.Missing(programs.Opentracker, programs.Mktorrent, programs.Aria2c, programs.TransmissionCLI); err != nil {
		return err
	}
	versions, err := libraries(c.Context)
	if err != nil {
		return err
	}
	s := transferSetup{patience: c.Duration("patience")}
	done, err := s.prepare(c.Context, c.String("keep"))
	if err != nil {
		return err
	}
	defer done()
	if s.full, err = makePayload(filepath.Join(s.dir, "full"), c.Int64("size")*mebibyte); err != nil {
		return err
	}
	if s.slow, err = makePayload(filepath.Join(s.dir, "slow"), min(c.Int64("size"), c.Int64("slow-size"))*mebibyte); err != nil {
		return err
	}
	runs := make([][]transfer, c.Int("runs"))
	for i := range runs {
		runs[i] = make([]transfer, len(rows))
		// The machine's pace changes: each run begins elsewhere, so that no row always has the same neighbours in time.
		for j := range rows {
			at := (j + i*max(1, len(rows)/len(runs))) % len(rows)
			runs[i][at] = s.transfer(c.Context, rows[at], c.String("keep") != "")
			if err := c.Context.Err(); err != nil {
				return context.Cause(c.Context)
			}
			fmt.Fprintf(c.App.ErrWriter, "run %d, %s: %v\n", i+1, rows[at].name, runs[i][at])
		}
	}
	results := combine(rows, runs)
	var text bytes.Buffer
	s.describe(&text, len(runs), versions[0])
	fmt.Fprintf(&text, "\n%s\n%s\n", transferTable(results), transferVerdicts(results))
	if err := provenance(c.Context, &text, versions, programs.TransmissionDaemon, programs.Aria2c); err != nil {
		return err
	}
	fmt.Fprint(c.App.Writer, text.String())
	if name := c.String("o"); name != "" {
		return writeSection(name, "transfer", text.String())
	}
	return nil
}

// prepare makes the folder and builds the programs. The returned function removes what nobody wants to keep.
func (s *transferSetup) prepare(ctx context.Context, keep string) (done func(), err error) {
	done = func() {}
	if s.dir = keep; keep == "" {
		// Short: unix sockets lie below it.
		if s.dir, err = os.MkdirTemp(tmpfs, "sb"); err != nil {
			return nil, err
		}
		done = func() { os.RemoveAll(s.dir) }
	}
	s.bin = filepath.Join(s.dir, "bin")
	if err := errors.Join(os.MkdirAll(s.bin, 0o755), programs.Build(ctx, s.bin), buildDrivers(ctx, s.bin)); err != nil {
		done()
		return nil, err
	}
	return done, nil
}

// transfer plays one row once. Whatever fails is the row's result.
func (s *transferSetup) transfer(ctx context.Context, r row, keep bool) transfer {
	ctx, cancel := context.WithTimeoutCause(ctx, s.patience, fmt.Errorf("not within %v", s.patience))
	defer cancel()
	p := s.full
	if r.slow {
		p = s.slow
	}
	dir, err := os.MkdirTemp(s.dir, "r")
	if err != nil {
		return transfer{err: err}
	}
	if !keep {
		defer os.RemoveAll(dir)
	}
	st, err := s.newStage(dir, p)
	if err != nil {
		return transfer{err: err}
	}
	defer st.lab.Close()
	t, err := r.play(ctx, st)
	if err == nil {
		err = st.transport(r.udp)
	}
	t.err, t.size = err, p.size
	return t
}

// chosenRows are all rows, or those of a list.
func chosenRows(list string) ([]row, error) {
	all := allRows()
	if list == "" {
		return all, nil
	}
	var chosen []row
	for name := range strings.SplitSeq(list, ",") {
		i := slices.IndexFunc(all, func(r row) bool { return r.name == name })
		if i < 0 {
			return nil, fmt.Errorf("no row %q: there are %s", name, strings.Join(rowNames(), ", "))
		}
		chosen = append(chosen, all[i])
	}
	return chosen, nil
}

func rowNames() []string {
	var names []string
	for _, r := range allRows() {
		names = append(names, r.name)
	}
	return names
}

// describe says what was measured, for readers of the Markdown.
func (s *transferSetup) describe(w io.Writer, runs int, libtorrent string) {
	fmt.Fprintf(w, `## One transfer, side by side

Two network namespaces joined by one veth pair without limit; the tracker (opentracker) runs beside the seeder, an agent's
surrogate beside the leecher. Each leecher gets the same %d MiB of random bytes, in pieces of 1 MiB, on tmpfs, from the seeder
that its row names. libtorrent is %s, by its Python binding. All have default settings, but no DHT, peer exchange and local
discovery, and the transport that the row names; aria2 has --file-allocation=none, which spares it to allocate the file
beforehand. Rows marked * would take minutes: they transfer %d MiB, and their time and CPU are scaled, with what the client
needs to start. Every row has programs and networks of its own; its content is compared afterwards, and that it came by the
transport of the row.

Start is the time from the moment that the leecher got the torrent (an agent by the surrogate's API, all others as they were
started) until 32 KiB had come: the start of the program, the check of an empty folder, the announce and the connection. Wall is the
time from then until the leecher says that all is verified. CPU is user and system time of the leecher's whole process, from
its start until it is complete; the seeder's is what it used meanwhile, without its own start. An agent's is the agent alone,
without its surrogate. Memory is the peak of resident memory; libtorrent maps files, so its is not comparable. The floors hash
with SHA-1 and write as a client has to, and do nothing else. Figures are medians of %d runs, with minimum and maximum; ratios
are to our agent in the same position, above 1 is worse than ours.
`, s.full.size/mebibyte, strings.TrimPrefix(libtorrent, "libtorrent "), s.slow.size/mebibyte, runs)
}
