//go:build linux

// Command natlab builds test networks with real NATs out of Linux network namespaces, without root, and runs programs on
// the devices behind them. docs/natlab.md shows how to test programs of one's own with it.
//
//	natlab list
//	natlab run --nat port-restricted --nat symmetric -- sh -c 'ip addr; env'
//	natlab shell --nat cgnat
//	natlab classify
//	natlab matrix --pairs port-restricted:symmetric
//
// An error is one line on standard error. The exit status is 0 for success, 1 for an error, 2 for wrong usage or a machine
// on which it cannot work, or else that of the first program run which failed.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"simplebit/integration/natlab/classify"
)

// version is set by the linker.
var version = "dev"

func main() {
	// No signals are taken here: natlab.Enter, which the commands call, starts this program again, and hands them on.
	if len(os.Args) == 1 {
		classify.Enter() // a device of `natlab classify` is this program without arguments
	}
	err := app(os.Stdout).RunContext(context.Background(), flagsFirst(os.Args))
	if line := failure(err); line != "" {
		fmt.Fprintln(os.Stderr, "natlab: "+line)
	}
	os.Exit(exitCode(err))
}

// flagsFirst moves the options of classify before the kinds, because the flag package stops reading options at the first
// argument.
func flagsFirst(args []string) []string {
	if len(args) < 2 || args[1] != "classify" {
		return args
	}
	var options, kinds []string
	for _, arg := range args[2:] {
		if strings.HasPrefix(arg, "-") {
			options = append(options, arg)
		} else {
			kinds = append(kinds, arg)
		}
	}
	return slices.Concat(args[:2], options, kinds)
}

// usageError is a command line that cannot be carried out: it is wrong, or this machine cannot do it.
type usageError struct{ error }

func usagef(format string, args ...any) error {
	return usageError{fmt.Errorf(format, args...)}
}

// exitStatus is that of a program which failed. Whatever there is to say, it has said itself.
type exitStatus int

// Error names the status.
func (s exitStatus) Error() string { return fmt.Sprintf("exit status %d", int(s)) }

// exitCode is what main exits with.
func exitCode(err error) int {
	var status exitStatus
	switch {
	case err == nil:
		return 0
	case errors.As(err, &status):
		return int(status)
	case errors.As(err, new(usageError)):
		return 2
	}
	return 1
}

// failure is what is to be said of an error, in one line: nothing if a program has said it.
func failure(err error) string {
	if err == nil || errors.As(err, new(exitStatus)) {
		return ""
	}
	return strings.ReplaceAll(strings.TrimPrefix(err.Error(), "natlab: "), "\n", "; ")
}

// app is the command line.
func app(out io.Writer) *cli.App {
	a := &cli.App{
		Name: "natlab", Usage: "test networks with real NATs, without root", Version: version,
		HideHelpCommand: true, Action: rejectUnknownCommand, OnUsageError: asUsageError,
		ExitErrHandler: func(*cli.Context, error) {}, // main prints errors
		Writer:         out,
		// A kind has no comma in it, but what is typed by mistake should be shown whole.
		DisableSliceFlagSeparator: true,
		Commands:                  []*cli.Command{runCommand(), shellCommand(), classifyCommand(), matrixCommand(), listCommand()},
	}
	for _, c := range a.Commands {
		c.OnUsageError, c.HideHelpCommand, c.Before = asUsageError, true, refuseEmpty
	}
	return a
}

func asUsageError(c *cli.Context, err error, _ bool) error {
	return usagef("%w; see `%s --help`", err, c.Command.HelpName)
}

func rejectUnknownCommand(c *cli.Context) error {
	if c.Args().Present() {
		return usagef("there is no command %q; see `natlab --help`", c.Args().First())
	}
	return cli.ShowAppHelp(c)
}

// refuseEmpty refuses an empty value, which is a shell's variable that was not set rather than what a flag does by default.
func refuseEmpty(c *cli.Context) error {
	for _, f := range c.Command.Flags {
		if name := f.Names()[0]; c.IsSet(name) && c.Value(name) == "" {
			return usagef("--%s: the value is empty", name)
		}
	}
	return nil
}

// untilAsked returns a context that ends when somebody asks the command to end: by Ctrl-C, Ctrl-\, or when the terminal or the
// machine goes.
func untilAsked(ctx context.Context) (context.Context, context.CancelFunc) {
	return signal.NotifyContext(ctx, unix.SIGINT, unix.SIGQUIT, unix.SIGTERM, unix.SIGHUP)
}

// noArguments refuses what follows the flags of a command.
func noArguments(c *cli.Context) error {
	if c.Args().Present() {
		return usagef("%q is one argument too many; see `%s --help`", c.Args().First(), c.Command.HelpName)
	}
	return nil
}
