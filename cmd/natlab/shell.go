//go:build linux

package main

import (
	"fmt"
	"os"
	"os/signal"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

func shellCommand() *cli.Command {
	return &cli.Command{
		Name: "shell", Usage: "a shell on a device behind a NAT", ArgsUsage: " ", Action: shell,
		Description: `The shell is $SHELL, or sh. With several homes it is in the first. It has the
environment that "natlab run --help" describes, and natlab is gone when it ends.`,
		Flags: append(planFlags(),
			&cli.StringFlag{Name: "server", Usage: "a shell `COMMAND` that runs on the internet's host meanwhile"}),
	}
}

func shell(c *cli.Context) (err error) {
	if err := noArguments(c); err != nil {
		return err
	}
	p, err := newPlan(c)
	if err != nil {
		return err
	}
	if err := enter(); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(c.Context, unix.SIGQUIT, unix.SIGTERM, unix.SIGHUP)
	defer stop()
	s, err := p.build()
	defer s.end(&err)
	if err != nil {
		return err
	}
	end, err := s.serve(ctx, c.String("server"))
	if err != nil {
		return err
	}
	defer end() // that the server failed has been told; the status is the shell's
	program := os.Getenv("SHELL")
	if program == "" {
		program = "sh"
	}
	cmd := s.devices[0].Command(ctx, program)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = s.environment(1)
	politely(cmd)
	if term.IsTerminal(int(os.Stdin.Fd())) {
		cmd.SysProcAttr.Foreground = true
		fmt.Fprintf(os.Stderr, "natlab: %s behind %s; `env | grep NATLAB` shows all addresses, exit ends the lab\n", s.devices[0].Name(), s.routers[0].Kind())
	}
	return statusOf(cmd.Run())
}
