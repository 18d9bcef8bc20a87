// Command simplebit steers a SimpleBit surrogate from a shell: it adds jobs,
// shows and watches them, and manages the devices that they download to.
//
//	simplebit login http://box:8080 --token-file admin.token
//	simplebit add 'magnet:?xt=urn:btih:…' --to device:attic --watch
//	simplebit ls
//
// Every command speaks only to the surrogate's HTTP API. Results go to standard
// output, as tables or with --json as JSON; everything else goes to standard
// error, and an error is one line that begins with "simplebit: ". The exit status
// is 0 for success, 1 for an error and 2 for wrong usage.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/term"
)

// version is set by the linker.
var version = "dev"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// The first signal ends what can end in order, the second ends the program.
	context.AfterFunc(ctx, stop)
	p := program{
		stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr,
		getenv: os.Getenv, configDir: os.UserConfigDir,
		now: time.Now(), zone: time.Local, poll: pollEvery,
	}
	if stdout := int(os.Stdout.Fd()); term.IsTerminal(stdout) && os.Getenv("TERM") != "dumb" {
		p.width = func() int {
			width, _, err := term.GetSize(stdout)
			if err != nil {
				return fallbackWidth
			}
			return width
		}
	}
	if stdin := int(os.Stdin.Fd()); term.IsTerminal(stdin) {
		p.secret = func(ctx context.Context) ([]byte, error) { return readSecret(ctx, stdin) }
	}
	os.Exit(p.run(ctx, os.Args))
}
