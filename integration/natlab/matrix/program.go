//go:build linux

package matrix

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

// program is one of ours that runs on a host. It ends with the context that it was started with.
type program struct {
	name  string
	log   string
	cmd   *exec.Cmd
	ended chan struct{}
}

// start runs a program with the given folder as home, where its output goes to NAME.log.
func start(ctx context.Context, host *natlab.Host, dir, path string, args ...string) (*program, error) {
	name := filepath.Base(path)
	p := &program{name: name + " on " + host.Name(), log: filepath.Join(dir, name+".log"), ended: make(chan struct{})}
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	p.cmd = command(ctx, host, dir, path, args...)
	p.cmd.Stdout, p.cmd.Stderr = log, log
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", p.name, err)
	}
	go func() {
		p.cmd.Wait() // what it says is in cmd.ProcessState too
		close(p.ended)
	}()
	return p, nil
}

// command is a program on a host that has the given folder as home, and no settings in its environment.
func command(ctx context.Context, host *natlab.Host, dir, path string, args ...string) *exec.Cmd {
	cmd := host.Command(ctx, path, args...)
	cmd.Dir = dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir}
	return cmd
}

// kill ends the program and waits until it is gone.
func (p *program) kill() {
	if p.over() { // its number may be another's by now
		return
	}
	unix.Kill(-p.cmd.Process.Pid, unix.SIGKILL)
	<-p.ended
}

// await asks every so often until ok, and gives up when the program or ctx ends, or time is up. What ok failed with last is told.
func (p *program) await(ctx context.Context, what string, within, every time.Duration, ok func() (bool, error)) error {
	late := time.NewTimer(within)
	defer late.Stop()
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		yes, err := ok()
		if yes {
			return nil
		}
		reason := fmt.Errorf("not within %v", within)
		select {
		case <-ticker.C:
			continue
		case <-late.C:
		case <-p.ended:
			return fmt.Errorf("%s: %w", what, p.fate())
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		if err != nil {
			reason = fmt.Errorf("%w: %w", reason, err)
		}
		return fmt.Errorf("%s: %s: %w (its log ends: %s)", p.name, what, reason, p.tail())
	}
}

// over reports whether the program has ended.
func (p *program) over() bool {
	select {
	case <-p.ended:
		return true
	default:
		return false
	}
}

// errEnded is what is wrong with a program that nobody ended.
var errEnded = errors.New("it ended by itself")

// fate says how the program ended, which it has.
func (p *program) fate() error {
	return fmt.Errorf("%s: %w: %v: %s", p.name, errEnded, p.cmd.ProcessState, p.tail())
}

// maxTail is how much of what a program said is told, in bytes.
const maxTail = 500

// tail is the end of what the program said, in one line: from a panic on, if there was one, because much follows it.
func (p *program) tail() string {
	b, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	for _, dying := range []string{"\npanic: ", "\nfatal error: "} {
		if i := strings.LastIndex("\n"+string(b), dying); i >= 0 {
			b = b[i:min(len(b), i+maxTail)]
		}
	}
	b = b[max(0, len(b)-maxTail):]
	return strings.Join(strings.FieldsFunc(string(b), func(r rune) bool { return r < ' ' }), " | ")
}

// said is an error of a command with what it printed.
func said(what string, out []byte, err error) error {
	if err == nil {
		return nil
	}
	return errors.Join(fmt.Errorf("%s: %w: %s", what, err, strings.Join(strings.Fields(string(out)), " ")))
}
