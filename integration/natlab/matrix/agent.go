//go:build linux

package matrix

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"simplebit/integration/natlab"
	"simplebit/rendezvous/apiclient"
)

// How long an agent may take.
const (
	joinWait    = time.Minute
	networkWait = time.Minute
)

// agent is ours on a device of a home.
type agent struct {
	street *street
	host   *natlab.Host
	place  Place
	dir    string
	name   string
	*program
}

// join enrols a new agent of the street's surrogate on the host.
func (s *street) join(ctx context.Context, host *natlab.Host, place Place) (*agent, error) {
	a := &agent{street: s, host: host, place: place, name: host.Name(), dir: filepath.Join(s.dir, host.Name())}
	if err := os.MkdirAll(a.downloads(), 0o700); err != nil {
		return nil, err
	}
	invite, err := s.api.Invite(ctx)
	if err != nil {
		return nil, err
	}
	at, err := s.reachable(invite.URL, place)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, joinWait, fmt.Errorf("not within %v", joinWait))
	defer cancel()
	cmd := command(ctx, host, a.dir, filepath.Join(s.bin, "edgeagent"), "join", "--state", a.state(), "--name", a.name)
	cmd.Stdin = strings.NewReader(at + "\n")
	out, err := cmd.CombinedOutput()
	return a, said("edgeagent join on "+a.name, out, err)
}

// reachable is the invite with an address of the family that the place has: there are no names in a lab.
func (s *street) reachable(invite string, place Place) (string, error) {
	if place.ipv4() {
		return invite, nil
	}
	u, err := url.Parse(invite)
	if err != nil {
		return "", err
	}
	u.Host = net.JoinHostPort(s.surrogate.Addr6().String(), u.Port())
	return u.String(), nil
}

func (a *agent) state() string     { return filepath.Join(a.dir, "state") }
func (a *agent) downloads() string { return filepath.Join(a.dir, "downloads") }
func (a *agent) target() string    { return "device:" + a.name }

// run starts the agent.
func (a *agent) run(ctx context.Context) (err error) {
	a.program, err = start(ctx, a.host, a.dir, filepath.Join(a.street.bin, "edgeagent"),
		"run", "--state", a.state(), "--dir", a.downloads(), "--verbose")
	return err
}

// untilKnown waits until the surrogate knows what the agent sits behind. Addresses come first, and how its NAT behaves later.
func (a *agent) untilKnown(ctx context.Context) error {
	return a.await(ctx, "what it sits behind is not known", networkWait, 50*time.Millisecond, func() (bool, error) {
		d, err := a.street.api.Device(ctx, a.name)
		if err != nil || !d.Online || d.Network == nil || d.Network.Mapping == "unknown" && !d.Network.Blocked {
			return false, err
		}
		return true, nil
	})
}

// untilSeeding waits until the agent has checked the content of a job.
func (a *agent) untilSeeding(ctx context.Context, id string) error {
	return a.await(ctx, "it does not seed what it has", networkWait, 50*time.Millisecond, func() (bool, error) {
		j, err := a.street.api.Job(ctx, id)
		if err == nil && j.State != apiclient.StateSeeding {
			err = fmt.Errorf("%s: %s", j.State, j.Message)
		}
		return err == nil, err
	})
}
