// Command rendezvous is the surrogate: it does the control work of BitTorrent
// for agents on small devices. An error is one line on standard error; the exit
// status is 0 for success, 1 for an error and 2 for wrong usage.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/mdp/qrterminal/v3"
	"github.com/urfave/cli/v2"
	"golang.org/x/term"

	"simplebit/rendezvous"
)

// version is set by the linker.
var version = "dev"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	err := app(os.Stdout, serve).RunContext(ctx, flagsFirst(os.Args))
	if code := exitCode(err); code != 0 {
		fmt.Fprintln(os.Stderr, "rendezvous:", err)
		os.Exit(code)
	}
}

// usageError is a command line that cannot be understood.
type usageError struct{ error }

// exitCode is 2 for what the caller wrote wrongly, 1 for what went wrong.
func exitCode(err error) int {
	switch {
	case err == nil:
		return 0
	case errors.As(err, new(usageError)):
		return 2
	}
	return 1
}

// app is the command line. What `rendezvous serve` has to run is given to serve.
func app(out io.Writer, serve func(*cli.Context, rendezvous.Config) error) *cli.App {
	data := &cli.StringFlag{Name: "data", Usage: "`DIR` for everything durable", Value: rendezvous.DefaultData, EnvVars: []string{"SIMPLEBIT_DATA"}}
	return &cli.App{
		Name: "rendezvous", Usage: "the surrogate: trackers, metadata and devices", Version: version,
		HideHelpCommand: true, Action: rejectUnknownCommand, OnUsageError: asUsageError,
		ExitErrHandler: func(*cli.Context, error) {}, // main prints errors
		Writer:         out,
		Commands: []*cli.Command{
			{
				Name: "serve", Usage: "run the surrogate until it is interrupted", ArgsUsage: " ", HideHelpCommand: true, OnUsageError: asUsageError,
				Action: func(c *cli.Context) error {
					cfg, err := configure(c)
					if err == nil {
						err = cfg.Check()
					}
					if err != nil {
						return usageError{err}
					}
					return serve(c, cfg)
				},
				Flags: append([]cli.Flag{data}, serveFlags()...),
			},
			{
				Name: "invite", Usage: "let one device join: prints what `edgeagent join` wants", ArgsUsage: " ", HideHelpCommand: true, OnUsageError: asUsageError,
				Action: invite, Flags: []cli.Flag{data},
			},
			backupCommand(data), restoreCommand(data),
		},
	}
}

func asUsageError(c *cli.Context, err error, _ bool) error {
	return usageError{fmt.Errorf("%w; see `%s --help`", err, c.Command.HelpName)}
}

func rejectUnknownCommand(c *cli.Context) error {
	if c.Args().Present() {
		return usageError{fmt.Errorf("there is no command %q; see `rendezvous --help`", c.Args().First())}
	}
	return cli.ShowAppHelp(c)
}

// noArguments refuses what follows the flags of a command.
func noArguments(c *cli.Context) error {
	if c.Args().Present() {
		return usageError{fmt.Errorf("%q is one argument too many; see `%s --help`", c.Args().First(), c.Command.HelpName)}
	}
	return nil
}

func serve(c *cli.Context, cfg rendezvous.Config) error {
	level := slog.LevelInfo
	if c.Bool("verbose") {
		level = slog.LevelDebug
	}
	cfg.Log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level}))
	return rendezvous.Serve(c.Context, cfg, func(i rendezvous.Info) {
		fmt.Fprint(c.App.Writer, started(i))
		fmt.Fprintf(c.App.Writer, "next: `rendezvous invite --data %s`, then `edgeagent join INVITE` on a device\n", cfg.Data)
	})
}

// started says where a surrogate is reached.
func started(i rendezvous.Info) string {
	devices := i.Control
	if i.ControlTCP != "" {
		devices += ", TCP " + i.ControlTCP
	}
	return fmt.Sprintf("surrogate runs\n  API      http://%s  (token in %s)\n  devices  %s, invited to %s\n  peers    %s\n", i.HTTP, i.TokenFile, devices, i.InviteAddr, i.Peer)
}

func invite(c *cli.Context) error {
	if err := noArguments(c); err != nil {
		return err
	}
	i, err := rendezvous.Invite(c.Context, c.String("data"))
	if err != nil {
		return err
	}
	fmt.Fprintln(c.App.Writer, i.URL)
	if c.App.Writer == os.Stdout && term.IsTerminal(int(os.Stdout.Fd())) {
		qrterminal.GenerateHalfBlock(i.URL, qrterminal.L, os.Stdout)
		fmt.Printf("for one device, until %s: `edgeagent join INVITE`\n", i.Expires.Local().Format(time.TimeOnly))
	}
	return nil
}
