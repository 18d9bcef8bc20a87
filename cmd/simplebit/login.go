package main

import (
	"context"
	"fmt"
	"net/netip"

	"github.com/urfave/cli/v2"
	"golang.org/x/term"

	"simplebit/rendezvous/apiclient"
)

func (p *program) loginCommand() *cli.Command {
	return &cli.Command{
		Name:      "login",
		Usage:     "remember a surrogate and its token",
		ArgsUsage: "URL [--token-file FILE]",
		Description: "The token is read from --token-file, --token, SIMPLEBIT_TOKEN, SIMPLEBIT_TOKEN_FILE\n" +
			"or standard input, checked with the surrogate, and stored in your settings\n" +
			"folder, readable by you alone.",
		Action: p.login,
	}
}

func (p *program) login(c *cli.Context) error {
	args, err := arguments(c, "the surrogate's URL")
	if err != nil {
		return err
	}
	u, err := apiclient.ParseURL(args[0])
	if err != nil {
		return usageError{err.Error()}
	}
	token, err := p.givenToken(c)
	if err == nil && token == "" {
		token, err = p.askToken(c.Context, u.Redacted())
	}
	if err != nil {
		return err
	}
	if u.Scheme == "http" && !loopback(u.Hostname()) {
		p.notef("warning: the token crosses the network in clear; prefer an https:// address or an SSH tunnel")
	}
	if _, err := newClient(u.String(), token).Devices(c.Context); err != nil {
		return err
	}
	path, err := p.storeLogin(login{URL: u.String(), Token: token})
	if err != nil {
		return err
	}
	if wantsJSON(c) {
		return p.printJSON(map[string]string{"url": u.Redacted(), "file": path})
	}
	fmt.Fprintf(p.stdout, "logged in to %s; the token is stored in %s\n", u.Redacted(), path)
	return nil
}

// askToken takes the token from standard input, unseen when that is a terminal.
func (p *program) askToken(ctx context.Context, where string) (string, error) {
	if p.secret == nil {
		return readToken(p.stdin, "standard input")
	}
	fmt.Fprintf(p.stderr, "Token for %s (in the surrogate's data folder): ", where)
	line, err := p.secret(ctx)
	fmt.Fprintln(p.stderr)
	if err != nil {
		return "", fmt.Errorf("cannot read the token: %w", err)
	}
	return checkToken(string(line), "your answer")
}

// readSecret reads a line from the terminal without showing it. When ctx ends
// before the line does, the terminal shows what is typed again.
func readSecret(ctx context.Context, fd int) ([]byte, error) {
	before, err := term.GetState(fd)
	if err != nil {
		return nil, err
	}
	type answer struct {
		line []byte
		err  error
	}
	// Nothing ends a read from a terminal: the goroutine is left behind in a
	// program that is about to exit.
	answers := make(chan answer, 1)
	go func() {
		line, err := term.ReadPassword(fd)
		answers <- answer{line, err}
	}()
	select {
	case a := <-answers:
		return a.line, a.err
	case <-ctx.Done():
		if err := term.Restore(fd, before); err != nil {
			return nil, err
		}
		return nil, ctx.Err()
	}
}

func loopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.IsLoopback()
}
