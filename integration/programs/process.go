//go:build linux

package programs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"simplebit/integration/natlab"
)

const (
	startWait = time.Minute            // for a program to answer after its start
	stopWait  = 10 * time.Second       // for a program to end after SIGTERM
	killWait  = time.Minute            // for a program to end after SIGKILL
	pollEvery = 100 * time.Millisecond // between questions about a program's state
	tailBytes = 2 << 10                // of a log that an error quotes
)

// Process is one program running on one host. It ends with the context that it was started with, and with the lab. Its
// methods may be called from any goroutine.
type Process struct {
	name  string
	log   string
	cmd   *exec.Cmd
	ended chan struct{}
}

// start runs a program, by name or path, on the host, with dir as its home and working folder. All its output is added to
// dir/NAME.log.
func start(ctx context.Context, host *natlab.Host, dir, program string, args ...string) (*Process, error) {
	return startAs(ctx, host, dir, filepath.Base(program), program, args...)
}

// startAs is start for a program that is run by way of another and shall be known by its own name.
func startAs(ctx context.Context, host *natlab.Host, dir, name, program string, args ...string) (*Process, error) {
	log, err := os.OpenFile(filepath.Join(dir, name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, fmt.Errorf("programs: start %s: %w", name, err)
	}
	defer log.Close()
	cmd := host.Command(ctx, program, args...)
	cmd.Dir = dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "LANG=C.UTF-8"}
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("programs: start %s on %s: %w", name, host.Name(), err)
	}
	p := &Process{name: name + " on " + host.Name(), log: log.Name(), cmd: cmd, ended: make(chan struct{})}
	go func() {
		cmd.Wait() // what it says is in cmd.ProcessState too
		close(p.ended)
	}()
	return p, nil
}

// Pid returns the program's process id.
func (p *Process) Pid() int { return p.cmd.Process.Pid }

// Log returns the path of the file that holds all that the program printed.
func (p *Process) Log() string { return p.log }

// Done is closed when the program has ended.
func (p *Process) Done() <-chan struct{} { return p.ended }

// ExitCode waits for the program's end and returns its exit status, or -1 if a signal ended it.
func (p *Process) ExitCode() int {
	<-p.ended
	return p.cmd.ProcessState.ExitCode()
}

// Kill ends the program and its children by SIGKILL and waits until it is gone. It is no error if it was already.
func (p *Process) Kill() error { return p.end(unix.SIGKILL, killWait) }

// Stop asks the program to end by SIGTERM, so that it can write its state and tell its tracker, kills it after ten
// seconds, and waits until it is gone. It is no error if it was already.
func (p *Process) Stop() error {
	err := p.end(unix.SIGTERM, stopWait)
	if errors.Is(err, errStays) {
		return p.Kill()
	}
	return err
}

// errStays is returned by end if the program outlives the signal.
var errStays = errors.New("programs: the process does not end")

func (p *Process) end(sig unix.Signal, within time.Duration) error {
	select {
	case <-p.ended: // its number may be another's by now
		return nil
	default:
	}
	if err := unix.Kill(-p.Pid(), sig); err != nil && !errors.Is(err, unix.ESRCH) {
		return p.fail(err)
	}
	select {
	case <-p.ended:
		return nil
	case <-time.After(within):
		return p.fail(errStays)
	}
}

// fail adds to an error the program's name and the end of its log, in one line.
func (p *Process) fail(err error) error {
	return fmt.Errorf("programs: %s: %w (%s ends: %s)", p.name, err, p.log, p.tail())
}

func (p *Process) tail() string {
	b, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	b = b[max(0, len(b)-tailBytes):]
	return strings.Join(strings.FieldsFunc(string(b), func(r rune) bool { return r < ' ' }), " | ")
}

// poll asks until the answer is yes. It gives up when the program or ctx ends; an error of ok itself is taken for "not yet",
// and the last one is quoted in the end.
func (p *Process) poll(ctx context.Context, what string, ok func(context.Context) (bool, error)) error {
	ticker := time.NewTicker(pollEvery)
	defer ticker.Stop()
	last := errors.New("no answer")
	for {
		yes, err := ok(ctx)
		if yes {
			return nil
		}
		// What fails because time is up says nothing about the program.
		if err != nil && ctx.Err() == nil {
			last = err
		}
		select {
		case <-p.ended:
			return p.fail(fmt.Errorf("ended before it could %s: %v, and before: %w", what, p.cmd.ProcessState, last))
		case <-ctx.Done():
			return p.fail(fmt.Errorf("did not %s: %w, before: %w", what, context.Cause(ctx), last))
		case <-ticker.C:
		}
	}
}
