package store

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

// child returns a command that runs a part of this test program in a process of its own, on the store in dir. It dies with us.
func child(t *testing.T, part, dir string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	check(t, err)
	cmd := exec.CommandContext(t.Context(), self)
	cmd.Env = append(os.Environ(), "STORE_TEST_CHILD="+part, "STORE_TEST_DIR="+dir, "GORACE=atexit_sleep_ms=0")
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd
}

func runChild(part, dir string) error {
	switch part {
	case "hold":
		return holdStore(dir)
	case "write":
		return writeUntilKilled(dir)
	case "unprivileged":
		return openUnprivileged(dir)
	case "nats":
		return runNATS(dir)
	case "hold external":
		return holdExternal(dir)
	case "small disk":
		return fillSmallDisk(dir)
	}
	return errors.New("no such part: " + part)
}

// holdStore has the store open until standard input ends.
func holdStore(dir string) error {
	s, err := Open(context.Background(), Config{Dir: dir})
	if err != nil {
		return err
	}
	defer s.Close()
	fmt.Println("open")
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

func TestFolderInUseByAnotherProcessIsRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cmd := child(t, "hold", dir)
	stdin, err := cmd.StdinPipe()
	check(t, err)
	stdout, err := cmd.StdoutPipe()
	check(t, err)
	check(t, cmd.Start())
	if line, err := bufio.NewReader(stdout).ReadString('\n'); err != nil || line != "open\n" {
		t.Fatalf("%q, %v", line, err)
	}

	_, err = Open(t.Context(), Config{Dir: dir})
	want := fmt.Sprintf("the store in %s is in use by another process (process %d): stop it first", dir, cmd.Process.Pid)
	if !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), want) {
		t.Errorf("%v, want %s", err, want)
	}
	check(t, stdin.Close())
	check(t, cmd.Wait())
	open(t, dir)
}

// openUnprivileged tries to open a store that belongs to somebody else.
func openUnprivileged(dir string) error {
	if os.Getuid() == 0 {
		const nobody = 65534
		if err := errors.Join(syscall.Setgroups(nil), syscall.Setgid(nobody), syscall.Setuid(nobody)); err != nil {
			return err
		}
	}
	s, err := Open(context.Background(), Config{Dir: dir})
	if err == nil {
		s.Close()
	}
	fmt.Println(err)
	return nil
}

func TestFolderThatIsNotWritableIsNamed(t *testing.T) {
	t.Parallel()
	parent := t.TempDir()
	check(t, os.Mkdir(parent+"/mine", 0o500))
	check(t, os.Chmod(parent, 0o555))
	defer func() { check(t, os.Chmod(parent, 0o755)) }()
	for _, dir := range []string{parent + "/mine", parent + "/new"} {
		out, err := child(t, "unprivileged", dir).Output()
		check(t, err)
		if want := "the store folder " + dir + " is not writable by this user: change its owner or choose another folder"; !strings.Contains(string(out), want) {
			t.Errorf("%s, want %s", out, want)
		}
	}
}

// fillSmallDisk runs in a mount namespace of its own, where dir becomes a disk of 40 MiB.
func fillSmallDisk(dir string) error {
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=40m"); err != nil {
		return fmt.Errorf("mounting a small disk: %w", err)
	}
	ctx := context.Background()
	s, err := Open(ctx, Config{Dir: dir + "/store"})
	if err != nil {
		return err
	}
	defer s.Close()
	tb, err := OpenTable[record](ctx, s, "jobs")
	if err != nil {
		return err
	}
	bl, err := s.OpenBlobs(ctx, "meta")
	if err != nil {
		return err
	}
	if err := errors.Join(tb.Put(ctx, "k", record{N: 1}), bl.Put(ctx, "b", make([]byte, 1<<20))); err != nil {
		return err
	}
	if err := os.WriteFile(dir+"/other", make([]byte, 7<<20), 0o600); err != nil {
		return err
	}
	for _, err := range []error{tb.Put(ctx, "k", record{N: 2}), tb.Create(ctx, "l", record{}), bl.Put(ctx, "b", make([]byte, 10)), errOf(OpenTable[record](ctx, s, "others"))} {
		fmt.Println("full:", errors.Is(err, ErrFull), err)
	}
	got, err := tb.Get(ctx, "k")
	fmt.Println("reading:", got.N, err)
	fmt.Println("deleting:", tb.Delete(ctx, "k"), bl.Delete(ctx, "b"))
	if err := os.Remove(dir + "/other"); err != nil {
		return err
	}
	fmt.Println("writing again:", tb.Put(ctx, "k", record{N: 3}), bl.Put(ctx, "b", make([]byte, 1<<20)))
	return nil
}

func errOf[T any](_ T, err error) error { return err }

func TestFullDiskStopsWritesOnly(t *testing.T) {
	t.Parallel()
	cmd := child(t, "small disk", t.TempDir())
	cmd.SysProcAttr.Cloneflags = syscall.CLONE_NEWNS
	if os.Getuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	cmd.SysProcAttr.Unshareflags = syscall.CLONE_NEWNS // makes Go mount "/" private, so that ours stays ours
	out, err := cmd.Output()
	if errors.Is(err, syscall.EPERM) || strings.Contains(string(out), "mounting a small disk") {
		if os.Getenv("CI") == "true" {
			t.Fatalf("this machine does not let us mount in a namespace: %v %s", err, out)
		}
		t.Skipf("this machine does not let us mount in a namespace: %v %s", err, out)
	}
	check(t, err)
	for _, want := range []string{"reading: 1 <nil>\n", "deleting: <nil> <nil>\n", "writing again: <nil> <nil>\n"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	if n := strings.Count(string(out), "full: true "); n != 4 {
		t.Errorf("%d of 4 writes were refused with ErrFull\n%s", n, out)
	}
	if n := strings.Count(string(out), "free some space and try again"); n != 4 {
		t.Errorf("%d of 4 errors say what to do\n%s", n, out)
	}
}
