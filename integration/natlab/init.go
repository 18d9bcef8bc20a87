//go:build linux

package natlab

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"
)

const (
	netnsDir = "/run/netns" // where ip(8) looks for named namespaces
	mark     = "/run/natlab"
)

// aliveFD is the descriptor of a pipe whose other end only the original process holds.
const aliveFD = 3

// runInit is process 1: it prepares the namespaces, runs the program as its child, reaps whatever is orphaned and returns
// the program's exit code.
func runInit() int {
	// The death signal is lost if the original process died between the fork and its own request for it.
	unix.CloseOnExec(aliveFD)
	go func() {
		var b [1]byte
		os.NewFile(aliveFD, "alive").Read(b[:])
		os.Exit(128 + int(unix.SIGKILL))
	}()
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, forwarded...)

	if err := prepare(); err != nil {
		fmt.Fprintf(os.Stderr, "natlab: prepare namespaces: %v\n", err)
		return 1
	}
	os.Setenv(stageEnv, stageProgram)
	// Not os/exec: its Wait and the reaping below would compete for the same child.
	program, err := os.StartProcess("/proc/self/exe", os.Args, &os.ProcAttr{Files: []*os.File{os.Stdin, os.Stdout, os.Stderr}})
	if err != nil {
		fmt.Fprintf(os.Stderr, "natlab: start program: %v\n", err)
		return 1
	}
	go func() {
		for s := range signals {
			unix.Kill(program.Pid, s.(syscall.Signal))
		}
	}()
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, 0, nil)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			fmt.Fprintf(os.Stderr, "natlab: wait for program: %v\n", err)
			return 1
		case pid == program.Pid:
			return exitCode(status)
		}
	}
}

// prepare gives the new mount namespace its own /proc and /run and brings up lo.
func prepare() error {
	for _, m := range []struct {
		source, target, fstype string
		flags                  uintptr
		data                   string
	}{
		{"", "/", "", unix.MS_REC | unix.MS_PRIVATE, ""},
		{"proc", "/proc", "proc", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC, ""},
		{"tmpfs", "/run", "tmpfs", unix.MS_NOSUID | unix.MS_NODEV, "mode=755"},
	} {
		if err := unix.Mount(m.source, m.target, m.fstype, m.flags, m.data); err != nil {
			return fmt.Errorf("mount %s: %w", m.target, err)
		}
	}
	if err := os.Mkdir(netnsDir, 0o755); err != nil {
		return err
	}
	if err := batch(toolIP, "link set lo up"); err != nil {
		return err
	}
	here, err := identity()
	if err != nil {
		return err
	}
	return os.WriteFile(mark, []byte(here), 0o444)
}

// identity names the namespaces of this process in which labs can or cannot be built.
func identity() (string, error) {
	user, err := os.Readlink("/proc/self/ns/user")
	if err != nil {
		return "", err
	}
	mnt, err := os.Readlink("/proc/self/ns/mnt")
	return user + " " + mnt, err
}

// inside reports whether this process lives in namespaces that Enter made. A process that left them again, such as a
// program on a host that unshared its own, is not.
func inside() bool {
	marked, err := os.ReadFile(mark)
	if err != nil {
		return false
	}
	here, err := identity()
	return err == nil && here == string(marked)
}

// The programs that labs are built with.
const (
	toolIP      = "ip"
	toolTC      = "tc"
	toolNsenter = "nsenter"
)

// lookTool finds a program like exec.LookPath, and also in the folders that an ordinary user's PATH lacks.
func lookTool(name string) (string, error) {
	path, err := exec.LookPath(name)
	if err == nil {
		return path, nil
	}
	for _, dir := range []string{"/usr/sbin/", "/sbin/"} {
		if path, err := exec.LookPath(dir + name); err == nil {
			return path, nil
		}
	}
	return "", err
}
