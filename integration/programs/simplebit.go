//go:build linux

package programs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"simplebit/edgeagent"
	"simplebit/integration/natlab"
	"simplebit/rendezvous"
	"simplebit/rendezvous/apiclient"
)

// Build compiles our commands into dir, which must exist, as `make build` does.
func Build(ctx context.Context, dir string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w -X main.version=test", "-o", dir+"/", "simplebit/cmd/...")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("programs: build: %w: %s", err, out)
	}
	return nil
}

// Surrogate is our rendezvous, running on a host. Its data folder is kept from
// one start to the next.
type Surrogate struct {
	*Process
	cfg OursConfig
	api *apiclient.Client
}

// OursConfig says where and how one of our programs runs. Host, Bin and Dir are required.
type OursConfig struct {
	Host *natlab.Host
	Bin  string   // folder of our binaries
	Dir  string   // the program's own folder: data or state, downloads, log; made if it is not there
	Args []string // further flags
	// Home is where an agent joins; not for surrogates.
	Home *Surrogate
	// Name is the device name that an agent wishes for. Default the host's name.
	Name string
}

func (c OursConfig) prepared() (OursConfig, error) {
	var err error
	if c.Bin, err = filepath.Abs(c.Bin); err != nil {
		return c, err
	}
	if c.Dir, err = filepath.Abs(c.Dir); err != nil {
		return c, err
	}
	return c, os.MkdirAll(c.Dir, 0o755)
}

// commandWait bounds how long a command may take that ends by itself.
const commandWait = time.Minute

// Output is what a command that has ended left behind.
type Output struct {
	Stdout, Stderr string
	ExitCode       int
}

// run runs one of our commands on the host to its end. Any exit status is a
// success; the error is that of a command that could not run, or did not end
// within a minute.
func (c OursConfig) run(ctx context.Context, input string, env []string, command string, args ...string) (Output, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, commandWait, fmt.Errorf("it did not end within %v", commandWait))
	defer cancel()
	var stdout, stderr strings.Builder
	cmd := c.Host.Command(ctx, filepath.Join(c.Bin, command), args...)
	cmd.Dir = c.Dir
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + c.Dir, "LANG=C.UTF-8"}, env...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(input), &stdout, &stderr
	err := cmd.Run()
	if errors.As(err, new(*exec.ExitError)) {
		err = nil
	}
	if err != nil || ctx.Err() != nil {
		return Output{}, fmt.Errorf("programs: %s on %s: %w", command, c.Host.Name(), cmp.Or(context.Cause(ctx), err))
	}
	return Output{stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()}, nil
}

// StartSurrogate starts a surrogate and returns when its API answers.
func StartSurrogate(ctx context.Context, c OursConfig) (*Surrogate, error) {
	c, err := c.prepared()
	if err != nil {
		return nil, err
	}
	s := &Surrogate{cfg: c, api: apiclient.New(apiclient.Config{Socket: rendezvous.AdminSocket(c.Dir)})}
	return s, s.Restart(ctx)
}

// Restart starts the surrogate again, after Kill or Stop, with the same folder.
func (s *Surrogate) Restart(ctx context.Context) error {
	args := append([]string{"serve", "--data", s.cfg.Dir, "--public", s.cfg.Host.Addr().String(), "--verbose"}, s.cfg.Args...)
	p, err := start(ctx, s.cfg.Host, s.cfg.Dir, filepath.Join(s.cfg.Bin, "rendezvous"), args...)
	if err != nil {
		return err
	}
	s.Process = p
	return p.waitAnswer(ctx, func(ctx context.Context) error {
		_, err := s.api.Jobs(ctx)
		return err
	})
}

// TokenFile holds the administrator's token for the HTTP API.
func (s *Surrogate) TokenFile() string { return rendezvous.TokenFile(s.cfg.Dir) }

// API is the surrogate's API, over its administration socket.
func (s *Surrogate) API() *apiclient.Client { return s.api }

// Invite makes an invite with the command line, as a person would.
func (s *Surrogate) Invite(ctx context.Context) (string, error) {
	cmd := s.cfg.Host.Command(ctx, filepath.Join(s.cfg.Bin, "rendezvous"), "invite", "--data", s.cfg.Dir)
	out, err := cmd.Output()
	return strings.TrimSpace(string(out)), s.describe("rendezvous invite", err)
}

// Simplebit runs `simplebit` on the surrogate's host to its end, with the
// administrator's token.
func (s *Surrogate) Simplebit(ctx context.Context, args ...string) (Output, error) {
	return s.cfg.run(ctx, "", []string{"SIMPLEBIT_TOKEN_FILE=" + s.TokenFile()}, "simplebit", args...)
}

// Run runs `rendezvous COMMAND` with the surrogate's data folder to its end.
func (s *Surrogate) Run(ctx context.Context, command string, args ...string) (Output, error) {
	return s.cfg.run(ctx, "", nil, "rendezvous", append([]string{command, "--data", s.cfg.Dir}, args...)...)
}

// Data is the surrogate's data folder.
func (s *Surrogate) Data() string { return s.cfg.Dir }

// Host is where the surrogate runs.
func (s *Surrogate) Host() *natlab.Host { return s.cfg.Host }

func (s *Surrogate) describe(what string, err error) error {
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		return fmt.Errorf("programs: %s: %w: %s", what, err, exit.Stderr)
	}
	return err
}

// WaitJob polls a job until ok; it fails at once when the job is paused by an
// error or has failed, unless ok wants that.
func (s *Surrogate) WaitJob(ctx context.Context, id, what string, ok func(apiclient.Job) bool) (job apiclient.Job, err error) {
	err = s.poll(ctx, what, func(ctx context.Context) (bool, error) {
		var err error
		if job, err = s.api.Job(ctx, id); err != nil {
			return false, err
		}
		return ok(job), fmt.Errorf("it is %s, %d of %d bytes: %s", job.State, job.Have, job.Size, job.Message)
	})
	return job, err
}

// Agent is our edgeagent, running on a host. Its state folder and its downloads
// are kept from one start to the next.
type Agent struct {
	*Process
	cfg OursConfig
}

// NewAgent prepares an agent that has not joined a surrogate yet and does not run.
func NewAgent(c OursConfig) (*Agent, error) {
	c, err := c.prepared()
	if err != nil {
		return nil, err
	}
	if c.Name == "" {
		c.Name = c.Host.Name()
	}
	return &Agent{cfg: c}, nil
}

// StartAgent joins an agent with an invite of its surrogate, starts it and
// returns when it is connected.
func StartAgent(ctx context.Context, c OursConfig) (*Agent, error) {
	a, err := NewAgent(c)
	if err != nil {
		return nil, err
	}
	invite, err := c.Home.Invite(ctx)
	if err != nil {
		return nil, err
	}
	if err := a.Join(ctx, invite); err != nil {
		return nil, err
	}
	return a, a.Restart(ctx)
}

// Host is where the agent runs.
func (a *Agent) Host() *natlab.Host { return a.cfg.Host }

// State is the agent's state folder.
func (a *Agent) State() string { return filepath.Join(a.cfg.Dir, "state") }

// Addr is where peers reach the agent.
func (a *Agent) Addr() netip.AddrPort { return netip.AddrPortFrom(a.cfg.Host.Addr(), 6882) }

// Downloads is the agent's download folder.
func (a *Agent) Downloads() string { return filepath.Join(a.cfg.Dir, "downloads") }

// Join enrols the agent, which must not run, by an invite on standard input.
func (a *Agent) Join(ctx context.Context, invite string) error {
	cmd := a.cfg.Host.Command(ctx, filepath.Join(a.cfg.Bin, "edgeagent"), "join", "--state", a.State(), "--name", a.cfg.Name)
	cmd.Stdin = strings.NewReader(invite + "\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("programs: edgeagent join on %s: %w: %s", a.cfg.Host.Name(), err, out)
	}
	return nil
}

// Start starts the agent and returns at once.
func (a *Agent) Start(ctx context.Context) error {
	args := append([]string{"run", "--state", a.State(), "--dir", a.Downloads(), "--verbose"}, a.cfg.Args...)
	p, err := start(ctx, a.cfg.Host, a.cfg.Dir, filepath.Join(a.cfg.Bin, "edgeagent"), args...)
	a.Process = p
	return err
}

// Restart starts the agent, after Kill or Stop, with the same folders, and
// returns when it is connected.
func (a *Agent) Restart(ctx context.Context) error {
	if err := a.Start(ctx); err != nil {
		return err
	}
	return a.waitAnswer(ctx, func(context.Context) error {
		st, err := a.Status()
		if err == nil && !st.Connected {
			err = errors.New("not connected: " + st.Error)
		}
		return err
	})
}

// Run runs `edgeagent COMMAND` with the agent's state folder to its end. The
// input is the command's standard input.
func (a *Agent) Run(ctx context.Context, input, command string, args ...string) (Output, error) {
	return a.cfg.run(ctx, input, nil, "edgeagent", append([]string{command, "--state", a.State()}, args...)...)
}

// Status asks the running agent.
func (a *Agent) Status() (edgeagent.Status, error) { return edgeagent.ReadStatus(a.State()) }
