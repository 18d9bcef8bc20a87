package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"simplebit/rendezvous/apiclient"
)

func (p *program) addCommand() *cli.Command {
	return &cli.Command{
		Name:      "add",
		Usage:     "download a torrent to a device",
		ArgsUsage: "MAGNET|FILE.torrent",
		Description: "Quote a magnet link: the shell would split it at every &. While only one\n" +
			"device has joined, --to may be left out. A GLOB is as for `simplebit files`;\n" +
			"that of a magnet is kept until its files are known.",
		Flags: slices.Concat([]cli.Flag{
			&cli.StringFlag{Name: "to", Usage: "the `TARGET`: device:NAME"},
			&cli.BoolFlag{Name: "watch", Usage: "show the progress until the job is done", DisableDefaultText: true},
		}, optionFlags(), selectionFlags()),
		Action: p.add,
	}
}

func (p *program) add(c *cli.Context) error {
	args, err := arguments(c, "a magnet link or a .torrent file")
	if err != nil {
		return err
	}
	wish, err := readWish(args[0])
	if err != nil {
		return err
	}
	if wish.Options, err = readOptions(c); err != nil {
		return err
	}
	wish.Choices = readChoices(c)
	client, err := p.client(c)
	if err != nil {
		return err
	}
	if wish.Target, err = p.target(c.Context, client, c.String("to")); err != nil {
		return err
	}
	job, err := client.Add(c.Context, wish)
	if err != nil {
		return err
	}
	if c.Bool("watch") {
		p.notef("added %s to %s as job %s", formatName(job), job.Target, job.ID)
		return p.watchJob(c, client, job.ID)
	}
	if wantsJSON(c) {
		return p.printJSON(job)
	}
	fmt.Fprintf(p.stdout, "added %s to %s as job %s: %s\n", formatName(job), clean(job.Target), clean(job.ID), formatState(job))
	return nil
}

// readWish reads what the user wants to download: a magnet link or a file's path.
func readWish(text string) (apiclient.NewJob, error) {
	switch lower := strings.ToLower(text); {
	case strings.HasPrefix(lower, "magnet:"):
		return apiclient.NewJob{Magnet: text}, nil
	case strings.HasPrefix(lower, "http://"), strings.HasPrefix(lower, "https://"):
		return apiclient.NewJob{}, usagef("%q is neither a magnet link nor a file: download the .torrent file first", text)
	}
	f, err := os.Open(text)
	if err != nil {
		return apiclient.NewJob{}, fmt.Errorf("cannot read the torrent: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, apiclient.MaxTorrent+1))
	switch {
	case err != nil:
		return apiclient.NewJob{}, fmt.Errorf("cannot read the torrent: %w", err)
	case len(b) > apiclient.MaxTorrent:
		return apiclient.NewJob{}, fmt.Errorf("%s is too large for a torrent: the limit is %s", text, formatSize(apiclient.MaxTorrent))
	case len(b) == 0 || b[0] != 'd':
		return apiclient.NewJob{}, fmt.Errorf("%s is not a .torrent file", text)
	}
	return apiclient.NewJob{Torrent: b}, nil
}

// target completes the --to option: without it the only device is meant, and a
// bare name is a device's.
func (p *program) target(ctx context.Context, client *apiclient.Client, to string) (string, error) {
	if to != "" {
		if !strings.Contains(to, ":") {
			to = "device:" + to
		}
		return to, nil
	}
	devices, err := client.Devices(ctx)
	if err != nil {
		return "", err
	}
	device, err := onlyDevice(devices)
	if err != nil {
		return "", err
	}
	p.notef("to device:%s, the only device", device.Name)
	return "device:" + device.Name, nil
}

func (p *program) listCommand() *cli.Command {
	return &cli.Command{Name: "ls", Usage: "list the jobs", Action: p.list}
}

func (p *program) list(c *cli.Context) error {
	if _, err := arguments(c); err != nil {
		return err
	}
	client, err := p.client(c)
	if err != nil {
		return err
	}
	jobs, err := client.Jobs(c.Context)
	if err != nil {
		return err
	}
	if wantsJSON(c) {
		return p.printJSON(jobs)
	}
	if len(jobs) == 0 {
		p.notef("there are no jobs: `simplebit add MAGNET` adds one")
		return nil
	}
	var rows [][]string
	for _, j := range jobs {
		size := ""
		have, wanted := wantedBytes(j)
		if wanted > 0 {
			size = formatSize(wanted)
		}
		rows = append(rows, []string{clean(j.ID), clean(string(j.State)), formatPercent(have, wanted), size, formatRate(j.DownRate),
			formatRate(j.UpRate), formatETA(j), fmt.Sprint(len(j.Peers)), clean(strings.TrimPrefix(j.Target, "device:")), formatName(j)})
	}
	fmt.Fprint(p.stdout, formatTable([]column{{title: "ID"}, {title: "STATE"}, {title: "DONE", right: true}, {title: "SIZE", right: true},
		{title: "DOWN", right: true}, {title: "UP", right: true, drop: 3}, {title: "ETA", right: true}, {title: "PEERS", right: true, drop: 2},
		{title: "TARGET", drop: 1}, {title: "NAME", elastic: true}}, rows, p.columns()))
	return nil
}

// order is a command that changes one job.
func (p *program) order(name, usage string, call func(*apiclient.Client, context.Context, string) (apiclient.Job, error)) *cli.Command {
	return &cli.Command{Name: name, Usage: usage, ArgsUsage: "JOB", Action: func(c *cli.Context) error {
		client, job, err := p.namedJob(c)
		if err != nil {
			return err
		}
		if job, err = call(client, c.Context, job.ID); err != nil {
			return err
		}
		if wantsJSON(c) {
			return p.printJSON(job)
		}
		fmt.Fprintf(p.stdout, "%s %s: %s\n", clean(job.ID), formatName(job), formatState(job))
		return nil
	}}
}

func (p *program) pauseCommand() *cli.Command {
	return p.order("pause", "stop a job's traffic and keep what it has", (*apiclient.Client).Pause)
}

func (p *program) resumeCommand() *cli.Command {
	return p.order("resume", "let a paused job go on", (*apiclient.Client).Resume)
}

func (p *program) verifyCommand() *cli.Command {
	return p.order("verify", "have the device hash a job's files again", (*apiclient.Client).Verify)
}

func (p *program) removeCommand() *cli.Command {
	return &cli.Command{
		Name: "rm", Usage: "remove a job, and with --data its files", ArgsUsage: "JOB",
		Flags: []cli.Flag{&cli.BoolFlag{Name: "data", Usage: "delete the files on the device too", DisableDefaultText: true}},
		Action: func(c *cli.Context) error {
			client, job, err := p.namedJob(c)
			if err != nil {
				return err
			}
			data := c.Bool("data")
			if err := client.Remove(c.Context, job.ID, data); err != nil {
				return err
			}
			if wantsJSON(c) {
				return p.printJSON(map[string]any{"id": job.ID, "removed": true, "data": data})
			}
			files := "its files stay on " + clean(job.Target)
			if data {
				files = clean(job.Target) + " deletes its files"
			}
			fmt.Fprintf(p.stdout, "%s %s: removed; %s\n", clean(job.ID), formatName(job), files)
			return nil
		},
	}
}

// namedJob returns the job that the command's only argument means.
func (p *program) namedJob(c *cli.Context) (*apiclient.Client, apiclient.Job, error) {
	args, err := arguments(c, "a JOB")
	if err != nil {
		return nil, apiclient.Job{}, err
	}
	client, err := p.client(c)
	if err != nil {
		return nil, apiclient.Job{}, err
	}
	jobs, err := client.Jobs(c.Context)
	if err != nil {
		return nil, apiclient.Job{}, err
	}
	job, err := findJob(jobs, args[0])
	return client, job, err
}
