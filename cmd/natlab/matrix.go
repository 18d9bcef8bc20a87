//go:build linux

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"simplebit/integration/natlab/matrix"
)

// How often pairs are tried when nobody says otherwise.
const (
	closeTries = 100 // each of the six that are looked at most closely
	otherTries = 10
)

func matrixCommand() *cli.Command {
	return &cli.Command{
		Name: "matrix", Usage: "measure how SimpleBit's agents reach each other from behind every kind", ArgsUsage: " ", Action: runMatrix,
		Description: `For each pair of kinds, again and again, two new agents behind new routers join a
surrogate, and one gives the other 1 MiB. Printed is by which route that came, how soon
the first of it was verified, and whether this meets the pair's bar. The exit status is 1
if some bar is missed. It runs rendezvous and edgeagent from beside natlab.`,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "pairs", Usage: "`KIND:KIND,…`, KIND:same-home or cgnat:same-carrier, any with :no-relay behind (default: all)"},
			&cli.IntFlag{Name: "tries", Usage: "`N` tries for each pair", DefaultText: "10; 100 for the six of most interest; 40 for others whose ports are guessed, without the relay"},
			&cli.IntFlag{Name: "side-by-side", Usage: "`N` labs at a time", Value: matrix.SideBySide},
			&cli.Uint64Flag{Name: "seed", Usage: "`NUMBER` that decides what is random in the labs", Value: 1},
			&cli.StringFlag{Name: "bin", Usage: "`FOLDER` of rendezvous and edgeagent (default: natlab's own)"},
			&cli.StringFlag{Name: "out", Usage: "write the report to `FILE` too, in Markdown"},
			&cli.StringFlag{Name: "json", Usage: "write a line for each try to `FILE`"},
		},
	}
}

func runMatrix(c *cli.Context) (err error) {
	if err := noArguments(c); err != nil {
		return err
	}
	config, err := matrixConfig(c)
	if err != nil {
		return usageError{err}
	}
	var files [2]string
	for i, flag := range []string{"out", "json"} {
		if files[i], err = checkOutput(flag, c.String(flag)); err != nil {
			return usageError{err}
		}
	}
	if err := enter(); err != nil {
		return err
	}
	ctx, stop := untilAsked(c.Context)
	defer stop()
	lines := json.NewEncoder(io.Discard)
	if files[1] != "" {
		f, err := os.Create(files[1])
		if err != nil {
			return err
		}
		defer f.Close() // every line was written by then, or Encode said so
		lines = json.NewEncoder(f)
	}
	began, sources := time.Now(), commit(config.Bin) // others may commit meanwhile
	p := progress{out: os.Stderr, began: began}
	var failed error
	config.Progress = func(t matrix.Try, done, of int) {
		failed = errors.Join(failed, lines.Encode(t))
		p.tell(t, done, of)
	}
	tries, err := matrix.Run(ctx, config)
	if err = errors.Join(err, failed); err != nil && ctx.Err() == nil {
		return err
	}
	var rows []matrix.Summary
	for _, r := range config.Rows {
		if len(tries[r.String()]) > 0 { // an interrupted run has not come to all
			rows = append(rows, matrix.Summarize(r, tries[r.String()]))
		}
	}
	if err := matrix.Print(c.App.Writer, rows); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return fmt.Errorf("interrupted after %v: the table is of what was done by then", time.Since(began).Round(time.Second))
	}
	if files[0] != "" {
		var report strings.Builder
		if err := writeReport(&report, sources, config.SideBySide, rows, time.Since(began)); err != nil {
			return err
		}
		if err := os.WriteFile(files[0], []byte(report.String()), 0o644); err != nil {
			return err
		}
	}
	if slices.ContainsFunc(rows, func(s matrix.Summary) bool { return !s.Met }) {
		return exitStatus(1)
	}
	return nil
}

// matrixConfig reads the flags. Every error is the caller's fault, or this machine's.
func matrixConfig(c *cli.Context) (m matrix.Config, err error) {
	m = matrix.Config{SideBySide: c.Int("side-by-side"), Seed: c.Uint64("seed"), Bin: c.String("bin")}
	if m.SideBySide < 1 || m.SideBySide > maxLabs {
		return m, fmt.Errorf("--side-by-side %d: want 1 to %d", m.SideBySide, maxLabs)
	}
	if c.IsSet("tries") && c.Int("tries") < 1 {
		return m, fmt.Errorf("--tries %d: want 1 or more", c.Int("tries"))
	}
	if m.Rows, err = matrixRows(c); err != nil {
		return m, err
	}
	for _, r := range m.Rows {
		if err := r.Missing(); err != nil {
			return m, err
		}
	}
	if m.Bin == "" {
		self, err := os.Executable()
		if err != nil {
			return m, err
		}
		m.Bin = filepath.Dir(self)
	}
	if m.Bin, err = filepath.Abs(m.Bin); err != nil {
		return m, err
	}
	for _, program := range []string{"rendezvous", "edgeagent"} {
		if _, err := os.Stat(filepath.Join(m.Bin, program)); err != nil {
			return m, fmt.Errorf("no program %s in %s: make build, or name its folder with --bin", program, m.Bin)
		}
	}
	return m, nil
}

// maxLabs is how many labs are at work at a time at most.
const maxLabs = 64

// matrixRows are the pairs that are asked for, each once.
func matrixRows(c *cli.Context) (rows []matrix.Row, err error) {
	closely, other := closeTries, otherTries
	if c.IsSet("tries") {
		closely, other = c.Int("tries"), c.Int("tries")
	}
	all := matrix.Rows(closely, other)
	if c.String("pairs") == "" {
		return all, nil
	}
	for _, text := range strings.Split(c.String("pairs"), ",") {
		p, err := matrix.ParsePair(text)
		if err != nil {
			return nil, err
		}
		r := matrix.Row{Pair: p, Tries: other}
		if i := slices.IndexFunc(all, func(r matrix.Row) bool { return r.Pair == p }); i >= 0 {
			r = all[i]
		}
		if !slices.Contains(rows, r) {
			rows = append(rows, r)
		}
	}
	return rows, nil
}

// progress tells of tries that are over: of each that is not as it should be, and of the others from time to time.
type progress struct {
	out   io.Writer
	began time.Time
	last  time.Time
}

func (p *progress) tell(t matrix.Try, done, of int) {
	pair, err := matrix.ParsePair(t.Pair)
	good := err == nil && matrix.Bars(pair).Counts(t)
	if good && time.Since(p.last) < 5*time.Second && done < of {
		return
	}
	p.last = time.Now()
	took := time.Since(p.began)
	line := fmt.Sprintf("%d of %d tries, %v left: %s: ", done, of, (took / time.Duration(done) * time.Duration(of-done)).Round(time.Second), t.Pair)
	if t.Class == matrix.None {
		line += "nothing came: " + t.Why
	} else {
		line += fmt.Sprintf("%s, first data after %.2f s, all after %.2f s", t.Class, t.First.Seconds(), t.All.Seconds())
	}
	if !good {
		line += "; " + t.Account()
	}
	fmt.Fprintln(p.out, strings.ReplaceAll(line, "\n", "; "))
}
