//go:build linux

package natlab_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"simplebit/integration/natlab"
)

// roleEnv makes the test binary play one of the programs below instead of running tests.
const roleEnv = "NATLAB_TEST_ROLE"

// ordinaryEnv tells the tests that they already run as an ordinary user.
const ordinaryEnv = "NATLAB_TEST_ORDINARY"

// noRaceDelay keeps programs built with -race from sleeping for a second when they end.
const noRaceDelay = "GORACE=atexit_sleep_ms=0"

// roleEntered reports whether Enter is wanted: everywhere but where New without it is tested, and in the processes that try
// what a fuzz target makes of its input, which hear of it by files that Enter would not hand on.
func roleEntered() bool {
	return os.Getenv(roleEnv) != "outside" && !slices.Contains(os.Args, "-test.fuzzworker")
}

// role plays the program that roleEnv names and reports whether there was one.
func role() bool {
	name, token, _ := strings.Cut(os.Getenv(roleEnv), " ")
	switch name {
	case "":
		return false
	case "outside":
		_, err := natlab.New(natlab.Config{})
		fmt.Println(errors.Is(err, natlab.ErrNotEntered), natlab.Available())
	case "exit":
		os.Exit(7)
	case "suicide":
		unix.Kill(os.Getpid(), unix.SIGKILL)
		select {}
	case "signals":
		playSignals()
	case "lab":
		playLab(token)
	}
	return true
}

// playSignals prints the signals that it gets, and exits with 9 half a second after SIGTERM.
func playSignals() {
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, unix.SIGINT, unix.SIGTERM, unix.SIGHUP)
	fmt.Println("ready")
	for s := range signals {
		fmt.Println(s)
		if s == unix.SIGTERM {
			break
		}
	}
	for {
		select {
		case s := <-signals:
			fmt.Println(s, "again")
		case <-time.After(500 * time.Millisecond):
			os.Exit(9)
		}
	}
}

// playLab builds a lab with two processes a host, one of them an orphan in a session of its own, prints every namespace of
// its own and waits for its end.
func playLab(token string) {
	lab, err := natlab.New(natlab.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, name := range []string{"attic", "cellar"} {
		h, err := lab.Host(name)
		if err == nil {
			err = h.Command(context.Background(), "sh", "-c", "trap '' TERM HUP INT; (setsid sleep $0 &) ; sleep $0", token).Start()
		}
		var id string
		if err == nil {
			err = h.Do(func() error {
				id, err = os.Readlink("/proc/thread-self/ns/net")
				return err
			})
		}
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(id)
	}
	for _, kind := range []string{"mnt", "net", "pid"} {
		id, err := os.Readlink("/proc/self/ns/" + kind)
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(id)
	}
	fmt.Println("ready")
	select {}
}

// play starts the test binary in a role, by way of the given command if there is one.
func play(t *testing.T, role string, by ...string) (*exec.Cmd, *bufio.Reader) {
	t.Helper()
	natlab.Require(t)
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	argv := append(by, exe)
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), roleEnv+"="+role, noRaceDelay)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	cmd.WaitDelay = time.Second
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd, bufio.NewReader(out)
}

func TestExitCodeIsPassedOn(t *testing.T) {
	for role, want := range map[string]int{"exit": 7, "suicide": 128 + 9} {
		cmd, _ := play(t, role)
		cmd.Wait()
		if got := cmd.ProcessState.ExitCode(); got != want {
			t.Errorf("program %q: exit code %d, want %d", role, got, want)
		}
	}
}

func TestSignalsReachTheProgramOnce(t *testing.T) {
	t.Parallel()
	cmd, out := play(t, "signals")
	if line, err := out.ReadString('\n'); line != "ready\n" {
		t.Fatalf("got %q (%v), want ready", line, err)
	}
	for _, s := range []syscall.Signal{unix.SIGINT, unix.SIGHUP} {
		cmd.Process.Signal(s)
		if line, err := out.ReadString('\n'); line != s.String()+"\n" {
			t.Fatalf("after %v got %q (%v)", s, line, err)
		}
	}
	cmd.Process.Signal(unix.SIGTERM)
	rest, _ := io.ReadAll(out)
	cmd.Wait()
	if string(rest) != "terminated\n" {
		t.Errorf("after SIGTERM got %q, want it once", rest)
	}
	if got := cmd.ProcessState.ExitCode(); got != 9 {
		t.Errorf("exit code %d, want 9: the outer process waits for the program's own end", got)
	}
}

func TestKilledParentLeavesNoProcessAndNoNamespace(t *testing.T) {
	token := sleepToken()
	cmd, out := play(t, "lab "+token)
	var ids []string
	for {
		line, err := out.ReadString('\n')
		line = strings.TrimSpace(line)
		if err != nil {
			t.Fatalf("got %q after %q: %v", line, ids, err)
		}
		if line == "ready" {
			break
		}
		ids = append(ids, line)
	}
	if len(ids) != 5 {
		t.Fatalf("namespaces %q, want 5", ids)
	}
	alive := func() (n int) {
		for _, id := range ids {
			n += len(inNamespace(id))
		}
		return n
	}
	waitFor(t, "orphans", func() bool { return countProcesses("sleep\x00"+token) == 4 })
	if alive() == 0 {
		t.Fatal("the lab's namespaces cannot be seen")
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	cmd.Wait()
	waitFor(t, "no process and no namespace left", func() bool { return countProcesses("sleep\x00"+token) == 0 && alive() == 0 })
}

func TestOutsideNamespacesNewFailsAndAvailableTellsWhatIsMissing(t *testing.T) {
	for _, c := range []struct{ by, want string }{
		{"exec", "true <nil>\n"},
		{"PATH=/nonexistent", "true natlab: nsenter is missing: install package util-linux\n"},
	} {
		// A mount namespace of its own takes the program out of those that Enter made for this test.
		cmd, out := play(t, "outside", "unshare", "--mount", "sh", "-c", c.by+` "$0"`)
		said, _ := io.ReadAll(out)
		cmd.Wait()
		if string(said) != c.want {
			t.Errorf("%s: got %q, want %q", c.by, said, c.want)
		}
	}
}

func TestOrphansAreReaped(t *testing.T) {
	natlab.Require(t)
	for range 3 {
		out, err := exec.Command("sh", "-c", "(sleep 0.05 >/dev/null 2>&1 & echo $!) ; (true >/dev/null 2>&1 & echo $!)").Output()
		if err != nil {
			t.Fatal(err)
		}
		orphans := strings.Fields(string(out))
		if len(orphans) != 2 {
			t.Fatalf("sh says %q", out)
		}
		for _, pid := range orphans {
			// Who has ended and was not reaped is still there, as a zombie.
			waitFor(t, "an orphan has ended and was reaped", func() bool {
				_, err := os.Stat("/proc/" + pid)
				return errors.Is(err, os.ErrNotExist)
			})
		}
	}
}

// TestOrdinaryUserHasTheSameLabs runs all tests again as a user without any rights.
func TestOrdinaryUserHasTheSameLabs(t *testing.T) {
	natlab.Require(t)
	t.Parallel()
	if os.Getenv(ordinaryEnv) != "" {
		return // this is that run
	}
	if ownUsers(t) {
		return // not root: every test here was run by an ordinary user already
	}
	// The test binary's own folder need not be open to others.
	dir, err := os.MkdirTemp("", "natlab")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	exe := filepath.Join(dir, "natlab.test")
	if b, err := os.ReadFile("/proc/self/exe"); err != nil || os.WriteFile(exe, b, 0o755) != nil || os.Chmod(dir, 0o755) != nil {
		t.Fatalf("copy the test binary: %v", err)
	}
	cmd := exec.CommandContext(t.Context(), "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--", exe, "-test.v", "-test.timeout=10m")
	cmd.Dir = "/"
	cmd.Env = append(os.Environ(), ordinaryEnv+"=1", "CI=true", "HOME=/nonexistent", noRaceDelay)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("tests as an ordinary user: %v\n%s", err, out)
	}
	if n := bytes.Count(out, []byte("--- PASS: ")); n < 10 {
		t.Errorf("%d tests passed as an ordinary user, want all\n%s", n, out)
	}
}
