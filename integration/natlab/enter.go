//go:build linux

package natlab

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// stageEnv tells a process that Enter started which part it plays. The program itself removes it, so that programs on
// the lab's hosts do not inherit it.
const stageEnv = "NATLAB_STAGE"

const (
	stageInit    = "init"    // process 1 of the new namespaces, see runInit
	stageProgram = "program" // the calling program, inside
)

// forwarded are the signals that the outer process hands on to the program. SIGKILL needs no hand, and job control
// (SIGTSTP, SIGCONT) and SIGWINCH stay with the terminal.
var forwarded = []os.Signal{unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGQUIT, unix.SIGUSR1, unix.SIGUSR2}

// Enter runs the calling program once more, with the same arguments, environment and standard files, inside fresh mount,
// network and process namespaces (and a user namespace unless it is root, in which it then is uid 0). It must be the first
// thing that main or TestMain does, but for what may be done three times, such as to look at the arguments. In the original
// process it never returns: it waits and exits with the program's exit code, or 128 + n if signal n ended the program. In
// the program inside it returns, and New works.
//
// If this machine cannot do it, Enter returns in the original process without having done anything; Available says why.
//
// Three processes take part. The original one forwards SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1 and SIGUSR2, each delivered
// once: the inner ones have a process group of their own, so Ctrl-C on a terminal does not reach them twice (and they cannot
// read from the terminal, unless the program starts one with SysProcAttr.Foreground). The second one is process 1 inside; it
// reaps orphans, which the program itself could not do without stealing from os/exec, and dies with the original process
// (PR_SET_PDEATHSIG), whereupon the kernel kills everything in the namespaces. The third one is the program.
func Enter() {
	switch stage := os.Getenv(stageEnv); {
	case stage == stageInit && os.Getpid() == 1:
		os.Exit(runInit())
	case stage == stageProgram && os.Getppid() == 1:
		os.Unsetenv(stageEnv)
		return
	}
	if Available() != nil {
		return
	}
	code, err := runOuter()
	if err != nil {
		fmt.Fprintf(os.Stderr, "natlab: enter namespaces: %v\n", err)
		code = 1
	}
	os.Exit(code)
}

// runOuter starts process 1 in new namespaces and stays until it has ended.
func runOuter() (code int, err error) {
	// The parent death signal is sent when the forking thread ends, not the process.
	runtime.LockOSThread()
	alive, keep, err := os.Pipe()
	if err != nil {
		return 0, err
	}
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, forwarded...)

	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Args[0] = os.Args[0]
	cmd.Env = append(os.Environ(), stageEnv+"="+stageInit)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.ExtraFiles = []*os.File{alive}
	cmd.SysProcAttr = namespaces()
	defer keepTerminal()()
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	alive.Close()
	go func() {
		for s := range signals {
			cmd.Process.Signal(s)
		}
	}()
	err = cmd.Wait()
	runtime.KeepAlive(keep)
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return 0, err
	}
	return exitCode(cmd.ProcessState.Sys().(syscall.WaitStatus)), nil
}

// keepTerminal returns how to make this process's group that of the terminal's foreground again, if it is now: a program
// inside may have given it to a shell, which does not take it back from there.
func keepTerminal() (again func()) {
	const terminal = 0 // standard input
	group, err := unix.IoctlGetInt(terminal, unix.TIOCGPGRP)
	if err != nil || group != unix.Getpgrp() {
		return func() {}
	}
	return func() {
		signal.Ignore(unix.SIGTTOU) // what the kernel does to those in the background
		unix.IoctlSetPointerInt(terminal, unix.TIOCSPGRP, group)
	}
}

// namespaces are the attributes of a process that is to be process 1 of everything new. The caller is mapped to uid 0,
// and is the only user in there: programs that insist on changing to another one fail.
func namespaces() *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWNET | unix.CLONE_NEWPID,
		Pdeathsig:  unix.SIGKILL,
		Setpgid:    true,
	}
	if uid := os.Geteuid(); uid != 0 {
		attr.Cloneflags |= unix.CLONE_NEWUSER
		attr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: uid, Size: 1}}
		attr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}}
	}
	return attr
}

// exitCode is what a shell reports for a process that ended so.
func exitCode(s syscall.WaitStatus) int {
	if s.Signaled() {
		return 128 + int(s.Signal())
	}
	return s.ExitStatus()
}
