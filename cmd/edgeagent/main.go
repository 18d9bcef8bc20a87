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
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	err := command(ctx, os.Args[1:], os.Stdin, os.Stdout)
	if code := exitCode(err); code != 0 {
		fmt.Fprintln(os.Stderr, "edgeagent:", err)
		os.Exit(code)
	}
}

// exitCode is 2 for what the caller wrote wrongly, 1 for what went wrong.
func exitCode(err error) int {
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return 0
	case errors.As(err, new(usageError)):
		return 2
	}
	return 1
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
		return run(ctx, rest, out)
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
	o, err := parse("join", args, 1, out)
	if err != nil {
		return err
	}
	invite := o.arg
	if invite == "" {
		if invite, err = readLine(ctx, in); err != nil {
			return err
		}
	}
	if invite == "" {
		return usageError{errors.New("no invite: `rendezvous invite` prints one; pass it as an argument or on standard input")}
	}
	name, err := edgeagent.Join(ctx, o.config(), invite)
	if err != nil {
		return err
	}
	next := "edgeagent run"
	if o.state != defaultState() {
		next += " --state " + o.state
	}
	fmt.Fprintf(out, "joined as %s; next: `%s`\n", name, next)
	return nil
}

// readLine reads the first line, at most 4 KiB of it, until ctx ends: a signal
// does not interrupt the reading itself.
func readLine(ctx context.Context, in io.Reader) (string, error) {
	type result struct {
		line string
		err  error
	}
	read := make(chan result, 1)
	go func() {
		line, err := bufio.NewReader(io.LimitReader(in, 4096)).ReadString('\n')
		if err == io.EOF {
			err = nil
		}
		read <- result{strings.TrimSpace(line), err}
	}()
	select {
	case r := <-read:
		return r.line, r.err
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

func run(ctx context.Context, args []string, out io.Writer) error {
	o, err := parse("run", args, 0, out)
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
