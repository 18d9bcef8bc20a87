//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"simplebit/integration/natlab"
)

const patience = 3 * time.Minute // for what must happen

// commandEnv makes the test binary play natlab, or a server on its street, instead of running tests.
const commandEnv = "NATLAB_TEST_PLAY"

func TestMain(m *testing.M) {
	switch os.Getenv(commandEnv) {
	case "natlab":
		main()
	case "server":
		greetOne()
	default:
		os.Exit(m.Run())
	}
}

// greetOne accepts one connection, late, and prints where it came from.
func greetOne() {
	time.Sleep(200 * time.Millisecond)
	ln, err := net.Listen("tcp", ":9")
	if err != nil {
		fmt.Println(err)
		return
	}
	c, err := ln.Accept()
	if err != nil {
		fmt.Println(err)
		return
	}
	host, _, _ := net.SplitHostPort(c.RemoteAddr().String())
	fmt.Println("greeted by", host)
	c.Close()
}

// result is what a run of the command left.
type result struct {
	stdout, stderr string
	code           int
}

// users are those as whom everything has to work, with the command that changes to them.
func users(t *testing.T) map[string][]string {
	t.Helper()
	if os.Geteuid() != 0 {
		return map[string][]string{"this user": nil}
	}
	return map[string][]string{"root": nil, "nobody": {"setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--"}}
}

// program is the test binary where everybody can run it.
func program(t *testing.T) string {
	t.Helper()
	dir := openDir(t)
	b, err := os.ReadFile("/proc/self/exe")
	path := filepath.Join(dir, "natlab")
	if err == nil {
		err = os.WriteFile(path, b, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// openDir is a folder that everybody can write to.
func openDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "natlab")
	if err == nil {
		err = os.Chmod(dir, 0o777)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// command prepares a run of natlab, by way of another command if there is one.
func command(t *testing.T, exe string, by []string, args ...string) *exec.Cmd {
	t.Helper()
	if err := natlab.Available(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	argv := append(append(append([]string{}, by...), exe), args...)
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), commandEnv+"=natlab", "GORACE=atexit_sleep_ms=0")
	cmd.Dir = "/"
	cmd.WaitDelay = patience
	return cmd
}

// finish runs it.
func finish(t *testing.T, cmd *exec.Cmd) (r result) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if exit := (&exec.ExitError{}); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return result{stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()}
}

func TestProgramsRunInTheirHomesForEveryUser(t *testing.T) {
	exe := program(t)
	for user, by := range users(t) {
		t.Run(user, func(t *testing.T) {
			t.Parallel()
			r := finish(t, command(t, exe, by, "run", "--nat", "port-restricted", "--nat", "cgnat", "--nat", "ipv6-open", "--",
				"sh", "-c", `ip -br addr show eth0; echo "$NATLAB_HOME of $NATLAB_HOMES, $NATLAB_NAT at $NATLAB_PUBLIC, by $NATLAB_ROUTER$NATLAB_ROUTER6"; echo err >&2; printf 'no end'; echo $NATLAB_HOME1_PUBLIC $NATLAB_HOME2_ADDR $NATLAB_HOME3_ADDR6 $NATLAB_SERVER $NATLAB_SERVER_2 $NATLAB_SERVER6 | grep -o .....$`))
			for _, want := range []string{
				"home-1 | 1 of 3, port-restricted at 198.18.2.2, by 192.168.1.1\n",
				"home-2 | 2 of 3, port-restricted at 198.18.3.2, by 192.168.2.1\n",
				"home-3 | 3 of 3, ipv6-open at 2001:db8:1:5::a, by 2001:db8:1:5::1\n",
				"home-2 | eth0@", " 192.168.2.10/24 ", "home-3 | no end",
			} {
				if !strings.Contains(r.stdout, want) {
					t.Errorf("no %q in\n%s", want, r.stdout)
				}
			}
			if r.code != 0 || strings.Count(r.stderr, " | err\n") != 3 {
				t.Errorf("exit status %d, standard error %q", r.code, r.stderr)
			}
		})
	}
}

func TestTheStatusIsThatOfTheFirstFailure(t *testing.T) {
	exe := program(t)
	const later = `[ $NATLAB_HOME = 1 ] || sleep 3; ` // however long it takes until the first one's end is noticed
	for script, want := range map[string]int{
		"exit 0":                            0,
		later + "exit $((NATLAB_HOME + 2))": 3,
		`[ $NATLAB_HOME = 1 ] || exit 9`:    9,
		"kill -9 $$":                        137,
		"sleep 1000 & exit 0":               0,
	} {
		t.Run(script, func(t *testing.T) {
			t.Parallel()
			r := finish(t, command(t, exe, nil, "run", "--nat", "none", "--nat", "none", "--", "sh", "-c", script))
			if r.code != want || r.stderr != "" {
				t.Errorf("exit status %d, want %d; %q", r.code, want, r.stderr)
			}
		})
	}
}

func TestLostOutputIsAnError(t *testing.T) {
	exe := program(t)
	for name, script := range map[string]string{"all at once": "echo x", "the last line": "printf x", "without end": "yes", "and a failure": "echo x; exit 7"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer full.Close()
			cmd := command(t, exe, nil, "run", "--nat", "none", "--nat", "none", "--", "sh", "-c", script)
			var stderr strings.Builder
			cmd.Stdout, cmd.Stderr = full, &stderr
			_ = cmd.Run() // its status tells
			const want = "natlab: output is lost: write /dev/stdout: no space left on device\n"
			if code := cmd.ProcessState.ExitCode(); code != 1 || stderr.String() != want {
				t.Errorf("exit status %d, %q", code, &stderr)
			}
		})
	}
}

func TestProgramsBeginWhenTheServerListens(t *testing.T) {
	exe := program(t)
	pcap := filepath.Join(openDir(t), "street.pcap")
	began := time.Now()
	r := finish(t, command(t, exe, nil, "run", "--nat", "symmetric", "--latency", "150ms", "--pcap", pcap,
		"--server", commandEnv+"=server exec "+exe, "--", "bash", "-c", "exec 3<>/dev/tcp/$NATLAB_SERVER/9; read -u 3; true"))
	if r.code != 0 || r.stdout != "server | greeted by 198.18.2.2\n" || r.stderr != "" {
		t.Errorf("got %+v", r)
	}
	// SYN and its answer, FIN and its.
	if took := time.Since(began); took < 600*time.Millisecond {
		t.Errorf("a connection with 150 ms each way is over after %v", took)
	}
	record, err := os.ReadFile(pcap)
	if err != nil {
		t.Fatal(err)
	}
	// The address and port that everybody sees, and where it went.
	syn := []byte{198, 18, 2, 2, 198, 18, 1, 2}
	if !bytes.HasPrefix(record, []byte{0x4d, 0x3c, 0xb2, 0xa1}) || !bytes.Contains(record, syn) {
		t.Errorf("%s of %d bytes has no packet to the server", pcap, len(record))
	}
}

func TestAServerThatFailsIsToldAndFailsTheRun(t *testing.T) {
	exe := program(t)
	for name, c := range map[string]struct {
		server, program string
		want            result
	}{
		"before the program":  {"echo no; exit 4", "true", result{"server | no\n", "natlab: the server ended: exit status 4\n", 4}},
		"as the program does": {"exit 4", "exit 5", result{"", "natlab: the server ended: exit status 4\n", 5}},
		"killed":              {"kill -9 $$", "true", result{"", "natlab: the server ended: exit status 137\n", 137}},
		"done early":          {"true", "true", result{}},
		"ended by natlab":     {"exec sleep 100", "true", result{}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if r := finish(t, command(t, exe, nil, "run", "--nat", "none", "--server", c.server, "--", "sh", "-c", c.program)); r != c.want {
				t.Errorf("got %+v, want %+v", r, c.want)
			}
		})
	}
}

func TestAShellIsBehindTheNATForEveryUser(t *testing.T) {
	exe := program(t)
	for user, by := range users(t) {
		t.Run(user, func(t *testing.T) {
			t.Parallel()
			cmd := command(t, exe, by, "shell", "--nat", "cgnat-hairpin", "--nat", "none")
			cmd.Env = append(cmd.Env, "SHELL=/bin/sh")
			cmd.Stdin = strings.NewReader("echo $NATLAB_ADDR behind $NATLAB_PUBLIC\nexit 4\n")
			if r := finish(t, cmd); r.code != 4 || r.stdout != "192.168.1.10 behind 198.18.2.2\n" || r.stderr != "" {
				t.Errorf("got %+v", r)
			}
		})
	}
}

func TestAllWitnessesAgreeForEveryUser(t *testing.T) {
	exe := program(t)
	for user, by := range users(t) {
		t.Run(user, func(t *testing.T) {
			t.Parallel()
			r := finish(t, command(t, exe, by, "classify", "port-restricted", "--json", "cgnat"))
			// Two witnesses and natlab itself speak of marks.
			if strings.Count(r.stdout, `"port_spoiled_by_strangers": "no"`) != 6 || strings.Count(r.stdout, `"neighbours_by_public_endpoint": "no"`) != 3 {
				t.Errorf("marks in\n%s", r.stdout)
			}
			if r.code != 0 || strings.Count(r.stdout, `"filtering": "address and port-dependent"`) < 6 || strings.Contains(r.stdout, `"wrong"`) {
				t.Errorf("got %+v", r)
			}
		})
	}
}

func TestHomesAndTheirCarriersAreVerified(t *testing.T) {
	for names, want := range map[string]string{
		"port-restricted port-restricted":      "port-restricted",
		"cgnat port-restricted@isp":            "cgnat",
		"symmetric@isp full-cone@isp":          "symmetric cgnat full-cone",
		"symmetric@a-hairpin cgnat-hairpin":    "symmetric cgnat-hairpin",
		"cgnat-hairpin port-restricted@second": "cgnat-hairpin cgnat",
	} {
		var p plan
		for _, name := range strings.Fields(names) {
			h, err := parseHome(name)
			if err != nil {
				t.Fatal(err)
			}
			p.homes = append(p.homes, h)
		}
		if got := strings.Join(p.kinds(), " "); got != want {
			t.Errorf("%s: %s are verified, want %s", names, got, want)
		}
	}
}

func TestKindsAreVerifiedFirst(t *testing.T) {
	t.Parallel()
	r := finish(t, command(t, program(t), nil, "run", "--nat", "full-cone", "--nat", "symmetric@isp", "--verify", "--", "sh", "-c", "echo $NATLAB_NAT"))
	if r.code != 0 || !strings.Contains(r.stdout, "home-1 | full-cone\n") || r.stderr != "" {
		t.Errorf("got %+v", r)
	}
}

func TestListNamesWhatRunTakes(t *testing.T) {
	r := finish(t, command(t, program(t), nil, "list"))
	if r.code != 0 || r.stderr != "" {
		t.Fatalf("got %+v", r)
	}
	names := 0
	for line := range strings.Lines(r.stdout) {
		name, _, _ := strings.Cut(line, " ")
		if _, err := parseHome(name); err != nil {
			t.Errorf("list has %q, but: %v", name, err)
		}
		names++
	}
	if want := len(natlab.Kinds()) + len(aliases); names != want {
		t.Errorf("%d lines, want %d", names, want)
	}
}
