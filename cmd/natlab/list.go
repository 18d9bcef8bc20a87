//go:build linux

package main

import (
	"encoding/json"
	"fmt"
	"text/tabwriter"

	"github.com/urfave/cli/v2"

	"simplebit/integration/natlab"
)

// listed is a kind of home, as `natlab list --json` has it.
type listed struct {
	Name        string `json:"name"`
	Description string `json:"description"`
	Unavailable string `json:"unavailable,omitempty"`
}

func listCommand() *cli.Command {
	return &cli.Command{
		Name: "list", Usage: "print the kinds of NATs", ArgsUsage: " ", Action: list,
		Flags: []cli.Flag{&cli.BoolFlag{Name: "json", Usage: "print JSON"}},
	}
}

func list(c *cli.Context) error {
	if err := noArguments(c); err != nil {
		return err
	}
	var all []listed
	for _, k := range natlab.Kinds() {
		l := listed{Name: string(k), Description: k.Describe()}
		if err := k.Missing(); err != nil {
			l.Unavailable = failure(err)
		}
		all = append(all, l)
	}
	for _, a := range aliases {
		all = append(all, listed{Name: a.name, Description: a.describe})
	}
	if c.Bool("json") {
		encoder := json.NewEncoder(c.App.Writer)
		encoder.SetIndent("", "  ")
		return encoder.Encode(all)
	}
	table := tabwriter.NewWriter(c.App.Writer, 0, 0, 2, ' ', 0)
	for _, l := range all {
		line := l.Description
		if l.Unavailable != "" {
			line += " (" + l.Unavailable + ")"
		}
		fmt.Fprintf(table, "%s\t%s\n", l.Name, line)
	}
	return table.Flush()
}
