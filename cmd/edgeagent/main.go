// Command edgeagent is the agent: it moves and stores the bytes of the torrents
// that its surrogate assigns.
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"simplebit/edgeagent"
)

// version is set by the linker.
var version = "dev"

const usage = `edgeagent moves and stores the bytes of the torrents that its surrogate assigns.

  edgeagent join [INVITE]   enrol this device; INVITE may come on standard input
  edgeagent run             run until interrupted
  edgeagent status          what the running agent does, --json for programs
  edgeagent version

Flags come after the command (edgeagent run --help). Each can also be set by a
variable (--max-peers: SIMPLEBIT_MAX_PEERS) or in a JSON file named by --config.
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := command(ctx, os.Args[1:], os.Stdin, os.Stdout)
	switch {
	case errors.Is(err, flag.ErrHelp):
	case errors.As(err, new(usageError)):
		fmt.Fprintln(os.Stderr, "edgeagent:", err)
		os.Exit(2)
	case err != nil:
		fmt.Fprintln(os.Stderr, "edgeagent:", err)
		os.Exit(1)
	}
}

// usageError is a command line that cannot be understood.
type usageError struct{ error }

func command(ctx context.Context, args []string, in io.Reader, out io.Writer) error {
	if len(args) == 0 {
		fmt.Fprint(out, usage)
		return nil
	}
	rest := args[1:]
	switch args[0] {
	case "join":
		return join(ctx, rest, in, out)
	case "run":
		return run(ctx, rest)
	case "status":
		return status(rest, out)
	case "version", "--version":
		fmt.Fprintln(out, version)
		return nil
	case "help", "-h", "--help":
		fmt.Fprint(out, usage)
		return nil
	}
	return usageError{fmt.Errorf("unknown command %q: see `edgeagent help`", args[0])}
}

func join(ctx context.Context, args []string, in io.Reader, out io.Writer) error {
	o, err := parse("join", args, 1)
	if err != nil {
		return err
	}
	invite := o.arg
	if invite == "" {
		line, err := bufio.NewReader(io.LimitReader(in, 4096)).ReadString('\n')
		if err != nil && err != io.EOF {
			return err
		}
		if invite = strings.TrimSpace(line); invite == "" {
			return usageError{errors.New("no invite: `rendezvous invite` prints one; pass it as an argument or on standard input")}
		}
	}
	name, err := edgeagent.Join(ctx, o.config(), invite)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "joined as %s; next: `edgeagent run`\n", name)
	return nil
}

func run(ctx context.Context, args []string) error {
	o, err := parse("run", args, 0)
	if err != nil {
		return err
	}
	cfg := o.config()
	level := slog.LevelInfo
	if o.verbose {
		level = slog.LevelDebug
	}
	cfg.Log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level}))
	return edgeagent.Run(ctx, cfg)
}
