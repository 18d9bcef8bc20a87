//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"
)

// grace is how long programs that are asked to end may take.
const grace = 2 * time.Second

func runCommand() *cli.Command {
	return &cli.Command{
		Name: "run", Usage: "run a program once in each home", ArgsUsage: "-- CMD [ARGUMENT…]", Action: run,
		Description: `CMD runs on a device in each home at the same time. Its output is printed with
the home's name before each line. Addresses are in its environment:

   NATLAB_NAME, NATLAB_HOME      this home's name (home-1) and number (1)
   NATLAB_ADDR, NATLAB_ADDR6     the device's addresses, where it has them
   NATLAB_ROUTER, NATLAB_ROUTER6 its router's in the home
   NATLAB_PUBLIC, NATLAB_NAT     the address that the internet sees, and the kind of NAT
   NATLAB_HOMES                  how many homes there are, and for the n-th of them
   NATLAB_HOMEn_ADDR, NATLAB_HOMEn_ADDR6, NATLAB_HOMEn_PUBLIC, NATLAB_HOMEn_NAT
   NATLAB_SERVER, NATLAB_SERVER_2, NATLAB_SERVER6
                                 addresses of a host on the internet, see --server

The exit status is that of the first CMD that failed, or else that with which the
--server's COMMAND ended by itself.`,
		Flags: append(planFlags(),
			&cli.StringFlag{Name: "server", Usage: "a shell `COMMAND` that runs on the internet's host meanwhile"},
			&cli.BoolFlag{Name: "verify", Usage: "before that, have natlab classify look at these kinds, which takes some seconds"}),
	}
}

func run(c *cli.Context) (err error) {
	if !c.Args().Present() {
		return usagef("no program to run: it goes after --; see `natlab run --help`")
	}
	p, err := newPlan(c)
	if err != nil {
		return err
	}
	if _, err := exec.LookPath(c.Args().First()); err != nil {
		return usagef("no program %q: %w", c.Args().First(), errors.Unwrap(err))
	}
	if err := enter(); err != nil {
		return err
	}
	ctx, stop := untilAsked(c.Context)
	defer stop()
	if c.Bool("verify") {
		if err := p.verify(ctx); err != nil {
			return err
		}
	}
	s, err := p.build()
	defer s.end(&err)
	if err != nil {
		return err
	}
	end, err := s.serve(ctx, c.String("server"))
	if err != nil {
		return err
	}
	err = s.everywhere(ctx, c.Args().Slice())
	if served := end(); err == nil {
		err = served
	}
	return err
}

// everywhere runs a program in each home and returns the status of the first that failed.
func (s *street) everywhere(ctx context.Context, args []string) error {
	failures := make(chan error, len(s.devices))
	for i, device := range s.devices {
		cmd := device.Command(ctx, args[0], args[1:]...)
		cmd.Env = s.environment(i + 1)
		go func() { failures <- s.runPrefixed(cmd, s.routers[i].Name()) }()
	}
	var first error
	for range s.devices {
		if err := <-failures; first == nil {
			first = err
		}
	}
	return first
}

// serve starts a command on the server, if there is one, waits a little for it to listen, and returns how to end it. That
// returns the failure of a command that ended before it was asked to, which has been told by then.
func (s *street) serve(ctx context.Context, command string) (end func() error, err error) {
	if command == "" {
		return func() error { return nil }, nil
	}
	ctx, cancel := context.WithCancel(ctx)
	cmd := s.server.Command(ctx, "sh", "-c", command)
	cmd.Env = s.environment(0)
	ended, failure := make(chan struct{}), error(nil)
	go func() {
		defer close(ended)
		if err := s.runPrefixed(cmd, serverName); err != nil && ctx.Err() == nil {
			fmt.Fprintln(os.Stderr, "natlab: the server ended:", err)
			failure = err
		}
	}()
	end = func() error {
		cancel()
		<-ended
		return failure
	}
	for deadline := time.Now().Add(grace); time.Now().Before(deadline); {
		listens, err := s.server.Listens()
		if err != nil {
			return nil, errors.Join(err, end())
		}
		if listens {
			return end, nil
		}
		select {
		case <-ended:
			return end, nil
		case <-time.After(10 * time.Millisecond):
		}
	}
	return end, nil
}

// runPrefixed runs a program that a device was given, with a name before each line of what it prints. Its failure is an
// exitStatus, but for that of writing what it prints, which ends it.
func (s *street) runPrefixed(cmd *exec.Cmd, name string) error {
	stdout, stderr := newLines(os.Stdout, &s.out, name), newLines(os.Stderr, &s.out, name)
	cmd.Stdout, cmd.Stderr = stdout, stderr
	politely(cmd)
	err := cmd.Run()
	if lost := errors.Join(stdout.flush(), stderr.flush()); lost != nil {
		return fmt.Errorf("output is lost: %w", lost)
	}
	return statusOf(err)
}

// politely gives a program the time to end in order.
func politely(cmd *exec.Cmd) {
	cmd.Cancel = func() error { return unix.Kill(-cmd.Process.Pid, unix.SIGTERM) }
	cmd.WaitDelay = grace
}

// statusOf turns the failure of a program into what a shell makes of it.
func statusOf(err error) error {
	var exit *exec.ExitError
	switch {
	case errors.Is(err, exec.ErrWaitDelay):
		return nil // it has ended well, and left something in the background that ends with the lab
	case errors.Is(err, context.Canceled):
		return exitStatus(128 + int(unix.SIGTERM))
	case !errors.As(err, &exit):
		return err
	}
	if w := exit.Sys().(syscall.WaitStatus); w.Signaled() {
		return exitStatus(128 + int(w.Signal()))
	}
	return exitStatus(exit.ExitCode())
}
