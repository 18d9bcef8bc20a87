package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/urfave/cli/v2"
)

// Exit statuses, as the help documents them.
const (
	exitOK    = 0
	exitError = 1
	exitUsage = 2
)

// fallbackWidth is used for a terminal that does not tell its width.
const fallbackWidth = 80

// program is one run of the command with the world it runs in.
type program struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	// width returns standard output's width in columns. Nil when standard output
	// is no terminal: then nothing is cut, and progress comes as plain lines.
	width func() int
	// secret reads a line from the terminal without showing it. Nil when
	// standard input is no terminal.
	secret    func(context.Context) ([]byte, error)
	getenv    func(string) string
	configDir func() (string, error)
	now       time.Time      // when the run began
	zone      *time.Location // for times of day
	poll      time.Duration  // between two looks at a watched job
}

// usageError is a command line that cannot be understood.
type usageError struct{ line string }

// Error returns what is wrong with the command line.
func (e usageError) Error() string { return e.line }

func usagef(format string, args ...any) error {
	return usageError{fmt.Sprintf(format, args...)}
}

// run executes one command line and returns its exit status.
func (p *program) run(ctx context.Context, args []string) int {
	checked := &checkedWriter{w: p.stdout}
	p.stdout = checked
	app := p.app()
	err := app.RunContext(ctx, append(args[:1:1], permute(args[1:], app.Flags, app.Commands)...))
	if err == nil && checked.err != nil {
		err = fmt.Errorf("cannot write the output: %w", checked.err)
	}
	if err == nil {
		return exitOK
	}
	if errors.Is(err, context.Canceled) {
		err = errors.New("interrupted")
	}
	fmt.Fprintln(p.stderr, "simplebit: "+clean(err.Error()))
	if usage := (usageError{}); errors.As(err, &usage) {
		return exitUsage
	}
	return exitError
}

const description = `The surrogate is the one of "simplebit login", unless --url or SIMPLEBIT_URL
names another; without either it is http://127.0.0.1:8080. The token comes
from --token, --token-file, SIMPLEBIT_TOKEN, SIMPLEBIT_TOKEN_FILE (a file's
path) or, for the surrogate logged in to, from "simplebit login".

A JOB is given by its id, the beginning of its id, its name or the beginning
of its name. Options may come before and after the arguments.

Exit status: 0 success, 1 error, 2 wrong usage.`

func (p *program) app() *cli.App {
	app := &cli.App{
		Name:        "simplebit",
		Usage:       "download torrents to your devices through a surrogate",
		UsageText:   "simplebit [options] COMMAND [options] [arguments]",
		Description: description,
		Version:     version,
		Flags:       globalFlags(false),
		Commands: []*cli.Command{
			p.loginCommand(), p.devicesCommand(), p.inviteCommand(),
			p.addCommand(), p.listCommand(), p.showCommand(), p.watchCommand(),
			p.setCommand(), p.filesCommand(),
			p.pauseCommand(), p.resumeCommand(), p.verifyCommand(), p.removeCommand(),
		},
		Action:       rejectUnknownCommand,
		OnUsageError: asUsageError,
		// A glob may hold a comma.
		DisableSliceFlagSeparator: true,
		// Errors are printed, and the status is chosen, in run alone.
		ExitErrHandler: func(*cli.Context, error) {},
		Reader:         p.stdin, Writer: p.stdout, ErrWriter: p.stderr,
	}
	prepare(app.Commands)
	return app
}

// prepare gives every command what all of them share.
func prepare(commands []*cli.Command) {
	for _, c := range commands {
		c.Flags = append(c.Flags, globalFlags(true)...)
		c.OnUsageError = asUsageError
		// A job may be called "help".
		c.HideHelpCommand = true
		prepare(c.Subcommands)
	}
}

// globalFlags are understood before and after the command's name. After it, only
// --json is listed in the help.
func globalFlags(afterCommand bool) []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "url", Usage: "the surrogate's `URL`", Hidden: afterCommand},
		&cli.StringFlag{Name: "token", Usage: "the `TOKEN` itself; other users of this machine can see it", Hidden: afterCommand},
		&cli.StringFlag{Name: "token-file", Usage: "a `FILE` that holds the token; - is standard input", Hidden: afterCommand},
		&cli.BoolFlag{Name: "json", Usage: "print JSON", DisableDefaultText: true},
	}
}

// option returns a global flag's value: the innermost one given.
func option(c *cli.Context, name string) string {
	for _, level := range c.Lineage() {
		if value := level.String(name); value != "" {
			return value
		}
	}
	return ""
}

func wantsJSON(c *cli.Context) bool {
	for _, level := range c.Lineage() {
		if level.Bool("json") {
			return true
		}
	}
	return false
}

func asUsageError(c *cli.Context, err error, _ bool) error {
	return usagef("%v; see `%s --help`", err, c.Command.HelpName)
}

func rejectUnknownCommand(c *cli.Context) error {
	if c.Args().Present() {
		return usagef("there is no command %q; see `%s --help`", c.Args().First(), c.Command.HelpName)
	}
	return cli.ShowAppHelp(c)
}

// arguments returns the command's arguments when they are as many as what names.
func arguments(c *cli.Context, what ...string) ([]string, error) {
	got := c.Args().Slice()
	for i, name := range what {
		if len(got) <= i || got[i] == "" {
			return nil, usagef("%s is missing; see `%s --help`", name, c.Command.HelpName)
		}
	}
	if len(got) > len(what) {
		return nil, usagef("%q is one argument too many; see `%s --help`", got[len(what)], c.Command.HelpName)
	}
	return got, nil
}

func (p *program) printJSON(v any) error {
	encoder := json.NewEncoder(p.stdout)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	return encoder.Encode(v)
}

// notef tells the user something that is not the command's result.
func (p *program) notef(format string, args ...any) {
	fmt.Fprintln(p.stderr, clean(fmt.Sprintf(format, args...)))
}

// columns returns the terminal's width, or 0 when there is no limit.
func (p *program) columns() int {
	if p.width == nil {
		return 0
	}
	return p.width()
}

// checkedWriter remembers the first failed write: a result that did not reach
// its file is an error.
type checkedWriter struct {
	w   io.Writer
	err error
}

// Write passes b on.
func (c *checkedWriter) Write(b []byte) (int, error) {
	n, err := c.w.Write(b)
	if err != nil && c.err == nil {
		c.err = err
	}
	return n, err
}
