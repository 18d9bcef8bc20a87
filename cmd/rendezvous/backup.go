package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"

	"github.com/urfave/cli/v2"

	"simplebit/rendezvous"
)

func backupCommand(data cli.Flag) *cli.Command {
	return &cli.Command{
		Name: "backup", Usage: "write everything durable, private keys too, to a file", ArgsUsage: "FILE",
		Description:     "Of the surrogate that runs with --data, or of its store if none does; or of the NATS server that no surrogate uses now.",
		HideHelpCommand: true, OnUsageError: asUsageError,
		Action: func(c *cli.Context) error {
			return archive(c, rendezvous.Backup, "written to", "it holds private keys: keep it safe")
		},
		Flags: []cli.Flag{data, natsFlag(), natsCredentials()},
	}
}

func restoreCommand(data cli.Flag) *cli.Command {
	return &cli.Command{
		Name: "restore", Usage: "put a backup into an empty data folder or NATS server", ArgsUsage: "FILE",
		HideHelpCommand: true, OnUsageError: asUsageError,
		Action: func(c *cli.Context) error {
			return archive(c, rendezvous.Restore, "restored from", "next: `rendezvous serve` with the same --data or --nats")
		},
		Flags: []cli.Flag{
			data, natsFlag(), natsCredentials(),
			&cli.IntFlag{Name: "nats-replicas", Usage: "`N` servers of the NATS cluster keep each record", Value: 1, EnvVars: []string{variable("nats-replicas")}},
		},
	}
}

// archive runs backup or restore with the file that the command line names, and says what was done and what is next.
func archive(c *cli.Context, do func(ctx context.Context, cfg rendezvous.Config, file string) (rendezvous.BackupInfo, error), done, next string) error {
	file := c.Args().First()
	switch {
	case file == "":
		return usageError{fmt.Errorf("the FILE is missing; see `%s --help`", c.Command.HelpName)}
	case c.NArg() > 1:
		return usageError{fmt.Errorf("%q is one argument too many; see `%s --help`", c.Args().Get(1), c.Command.HelpName)}
	}
	info, err := do(c.Context, rendezvous.Config{
		Data: c.String("data"), NATS: c.String("nats"), NATSCredentials: c.String("nats-creds"), NATSReplicas: c.Int("nats-replicas"),
		Log: slog.New(slog.NewTextHandler(os.Stderr, nil)),
	}, file)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(c.App.Writer, "%s %s: records %d, info dictionaries %d; %s\n", done, file, info.Records, info.Blobs, next)
	return err
}

// flagsFirst moves a command's arguments behind its flags, where the flag package expects them: `backup FILE --data DIR`. All
// flags of the commands that take an argument have a value.
func flagsFirst(args []string) []string {
	if len(args) < 2 || args[1] != "backup" && args[1] != "restore" {
		return args
	}
	flags, rest := append([]string{}, args[:2]...), []string(nil)
	for i := 2; i < len(args); i++ {
		switch {
		case args[i] == "--":
			return append(append(flags, "--"), append(rest, args[i+1:]...)...)
		case !strings.HasPrefix(args[i], "-") || args[i] == "-":
			rest = append(rest, args[i])
		default:
			flags = append(flags, args[i])
			takesNext := !strings.Contains(args[i], "=") && args[i] != "--help" && args[i] != "-h"
			if takesNext && i+1 < len(args) {
				i++
				flags = append(flags, args[i])
			}
		}
	}
	return append(flags, rest...)
}
