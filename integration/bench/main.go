//go:build linux

// Command bench compares SimpleBit with other clients in emulated networks:
//
//	go run ./integration/bench swarm -o docs/performance.md
//
// Each command prints a table, and with -o puts it into its section of a Markdown file. Figures depend on the machine and on
// what else it does: these are measurements for people to judge, not tests.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/urfave/cli/v2"

	"simplebit/integration/natlab"
)

func main() {
	natlab.Enter()
	if err := natlab.Available(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	app := &cli.App{
		Name: "bench", Usage: "compare SimpleBit with other clients in emulated networks",
		HideHelpCommand: true,
		ExitErrHandler:  func(*cli.Context, error) {}, // printed below
		Commands:        []*cli.Command{swarmCommand(), transferCommand(), soakCommand(), delayCommand()},
	}
	if err := app.RunContext(ctx, os.Args); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}
