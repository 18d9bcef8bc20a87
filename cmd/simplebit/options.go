package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"simplebit/cmd/rate"
	"simplebit/rendezvous/apiclient"
)

// none removes a limit or a goal, as 0 does.
const none = "none"

// optionFlags are a job's options, for "add" and "set".
func optionFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "down", Usage: "download at no more than `RATE`, such as 500K, 2M or 1.5MiB a second"},
		&cli.StringFlag{Name: "up", Usage: "upload at no more than `RATE`"},
		&cli.StringFlag{Name: "max-peers", Usage: "hold no more than `N` connections"},
		&cli.BoolFlag{Name: "sequential", Usage: "fetch the pieces in the order of the content", DisableDefaultText: true},
		&cli.StringFlag{Name: "ratio", Usage: "stop seeding when `N` times the size is uploaded, such as 2 or 1.5"},
		&cli.StringFlag{Name: "seed-time", Usage: "stop seeding after `TIME`, such as 90m, 48h or 7d"},
	}
}

// selectionFlags choose files, for "add", "set" and "files".
func selectionFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringSliceFlag{Name: "only", Usage: "fetch the files that match `GLOB` and skip the others"},
		&cli.StringSliceFlag{Name: "skip", Usage: "do not fetch the files that match `GLOB`"},
	}
}

// readOptions returns the options that the command line gives, or nil.
func readOptions(c *cli.Context) (*apiclient.OptionsChange, error) {
	var change apiclient.OptionsChange
	var err error
	given := false
	read := func(name string, parse func(text string) error) {
		if !c.IsSet(name) || err != nil {
			return
		}
		given = true
		text := strings.TrimSpace(c.String(name))
		if text == none {
			text = "0"
		}
		if e := parse(text); e != nil {
			err = usagef("--%s %q: %v", name, c.String(name), e)
		}
	}
	read("down", assign(&change.Down, parseRate))
	read("up", assign(&change.Up, parseRate))
	read("max-peers", assign(&change.MaxPeers, parsePeers))
	read("ratio", assign(&change.Ratio, parseRatio))
	read("seed-time", assign(&change.SeedTime, parseSeedTime))
	if c.IsSet("sequential") {
		given = true
		on := c.Bool("sequential")
		change.Sequential = &on
	}
	if err != nil || !given {
		return nil, err
	}
	return &change, nil
}

// assign returns a function that puts what it parses where to points.
func assign[T any](to **T, parse func(string) (T, error)) func(string) error {
	return func(text string) error {
		v, err := parse(text)
		*to = &v
		return err
	}
}

// parseRate reads a limit as package rate has it.
func parseRate(text string) (int64, error) {
	r, err := rate.Parse(text)
	if err != nil {
		return 0, fmt.Errorf("%w, or 0 for no limit", err)
	}
	return r, nil
}

// parseDecimal reads digits with at most one point among them.
func parseDecimal(text string) (float64, error) {
	if strings.Trim(text, "0123456789.") != "" {
		return 0, strconv.ErrSyntax
	}
	return strconv.ParseFloat(text, 64)
}

// Bounds that the surrogate sets too; here they are named in the words of the command line.
const (
	maxPeers    = 1000
	maxSeedDays = 3650
)

func parsePeers(text string) (int, error) {
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil || n > maxPeers {
		return 0, fmt.Errorf("want a number of connections from 0 to %d; 0 lets the device decide", maxPeers)
	}
	return int(n), nil
}

func parseRatio(text string) (float64, error) {
	r, err := parseDecimal(text)
	if err != nil {
		return 0, fmt.Errorf("want a number such as 2 or 1.5, or 0 for no such end")
	}
	return r, nil
}

// parseSeedTime reads a time in seconds: as Go writes it, or in days.
func parseSeedTime(text string) (int64, error) {
	const most = maxSeedDays * 24 * time.Hour
	var d time.Duration
	var err error
	if days, ok := strings.CutSuffix(text, "d"); ok {
		var n float64
		n, err = parseDecimal(days)
		d = time.Duration(min(n, maxSeedDays+1) * float64(24*time.Hour)) // more would overflow
	} else {
		d, err = time.ParseDuration(text)
	}
	switch {
	case err != nil || d < 0:
		return 0, fmt.Errorf("want a time such as 90m, 48h or 7d, at most %dd, or 0 for no such end", maxSeedDays)
	case d > most:
		return 0, fmt.Errorf("the longest time is %dd", maxSeedDays)
	case d > 0 && d < time.Second:
		return 0, fmt.Errorf("the shortest time is a second")
	}
	return int64(d / time.Second), nil
}

// readChoices returns the choices of files that the command line makes. What is
// skipped stays so, whatever else matches.
func readChoices(c *cli.Context) []apiclient.Choice {
	var choices []apiclient.Choice
	if only := c.StringSlice("only"); len(only) > 0 {
		choices = append(choices, apiclient.Choice{Priority: apiclient.PrioritySkip, Patterns: []string{"*"}},
			apiclient.Choice{Priority: apiclient.PriorityNormal, Patterns: only})
	}
	for _, p := range []apiclient.Priority{apiclient.PriorityLow, apiclient.PriorityNormal, apiclient.PriorityHigh, apiclient.PrioritySkip} {
		if patterns := c.StringSlice(string(p)); len(patterns) > 0 {
			choices = append(choices, apiclient.Choice{Priority: p, Patterns: patterns})
		}
	}
	return choices
}

func (p *program) setCommand() *cli.Command {
	return &cli.Command{
		Name: "set", Usage: "change a job's limits, goals and choice of files", ArgsUsage: "JOB",
		Description: "Only what is given is changed. 0 or none removes a limit or a goal, and\n" +
			"--sequential=false the order of pieces. A finished job seeds on when its goals\n" +
			"are raised.",
		Flags:  append(optionFlags(), selectionFlags()...),
		Action: p.set,
	}
}

func (p *program) set(c *cli.Context) error {
	change, err := readOptions(c)
	if err != nil {
		return err
	}
	choices := readChoices(c)
	if change == nil && choices == nil {
		return usagef("there is nothing to change; see `%s --help`", c.Command.HelpName)
	}
	client, job, err := p.namedJob(c)
	if err != nil {
		return err
	}
	if change != nil {
		if job, err = client.SetOptions(c.Context, job.ID, *change); err != nil {
			return err
		}
	}
	if choices != nil {
		if job, err = client.ChooseFiles(c.Context, job.ID, choices); err != nil {
			return err
		}
	}
	if wantsJSON(c) {
		return p.printJSON(job)
	}
	var done []string
	if change != nil {
		done = append(done, choose(job.Options == apiclient.Options{}, "no limits, no goals", formatOptions(job.Options)))
	}
	if choices != nil {
		done = append(done, choose(job.Size > 0, "files chosen", keptChoice))
	}
	fmt.Fprintf(p.stdout, "%s %s: %s\n", clean(job.ID), formatName(job), strings.Join(done, "; "))
	return nil
}

// formatOptions writes what differs from the defaults, or "".
func formatOptions(o apiclient.Options) string {
	var parts []string
	add := func(given bool, format string, args ...any) {
		if given {
			parts = append(parts, fmt.Sprintf(format, args...))
		}
	}
	add(o.Down > 0, "down at most %s", formatRate(o.Down))
	add(o.Up > 0, "up at most %s", formatRate(o.Up))
	add(o.MaxPeers > 0, "at most %s", formatCount(o.MaxPeers, "peer"))
	add(o.Sequential, "sequential")
	add(o.Ratio > 0, "seed to ratio %s", strconv.FormatFloat(o.Ratio, 'f', -1, 64))
	add(o.SeedTime > 0, "seed for %s", formatDuration(time.Duration(min(o.SeedTime, 1<<32))*time.Second))
	return strings.Join(parts, ", ")
}
