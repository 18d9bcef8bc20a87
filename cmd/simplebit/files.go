package main

import (
	"fmt"

	"github.com/urfave/cli/v2"

	"simplebit/rendezvous/apiclient"
)

const keptChoice = "the choice is kept until the files are known"

func (p *program) filesCommand() *cli.Command {
	return &cli.Command{
		Name: "files", Usage: "list a job's files, or choose among them", ArgsUsage: "JOB",
		Description: "Quote a GLOB. It means the files of that name, or in a folder of that name;\n" +
			"with a slash it is compared with the path from its beginning, where the\n" +
			"torrent's own folder may be left out. * stands for any characters, ? for one,\n" +
			"[a-z] for one of those. --skip goes before the others. What is chosen before\n" +
			"the files are known is kept until then.",
		Flags: append(selectionFlags(),
			&cli.StringSliceFlag{Name: "low", Usage: "fetch the files that match `GLOB` after the others"},
			&cli.StringSliceFlag{Name: "high", Usage: "fetch the files that match `GLOB` before the others"},
			&cli.StringSliceFlag{Name: "normal", Usage: "fetch the files that match `GLOB` as usual"},
		),
		Action: p.files,
	}
}

func (p *program) files(c *cli.Context) error {
	client, job, err := p.namedJob(c)
	if err != nil {
		return err
	}
	if choices := readChoices(c); choices != nil {
		if job, err = client.ChooseFiles(c.Context, job.ID, choices); err != nil {
			return err
		}
		if job.Size == 0 {
			if wantsJSON(c) {
				return p.printJSON([]apiclient.File{})
			}
			fmt.Fprintf(p.stdout, "%s %s: %s\n", clean(job.ID), formatName(job), keptChoice)
			return nil
		}
	}
	files, err := client.Files(c.Context, job.ID)
	if err != nil {
		return err
	}
	if wantsJSON(c) {
		return p.printJSON(files)
	}
	fmt.Fprint(p.stdout, formatFiles(files, p.columns()))
	return nil
}

// formatFiles is the table of "files" with a sentence below it.
func formatFiles(files []apiclient.File, width int) string {
	var rows [][]string
	var wanted int
	var size, all int64
	for _, f := range files {
		rows = append(rows, []string{fmt.Sprint(f.Index), formatSize(f.Size), clean(string(f.Priority)), clean(f.Path)})
		all += f.Size
		if f.Priority != apiclient.PrioritySkip {
			wanted++
			size += f.Size
		}
	}
	return formatTable([]column{{title: "FILE", right: true}, {title: "SIZE", right: true}, {title: "PRIORITY"}, {title: "PATH", elastic: true}}, rows, width) +
		fmt.Sprintf("%d of %s wanted: %s of %s\n", wanted, formatCount(len(files), "file"), formatSize(size), formatSize(all))
}
