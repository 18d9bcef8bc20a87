//go:build linux

package main

import (
	"bufio"
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// token is an argument for sleep(1) by which its process can be found again.
func token() string { return fmt.Sprintf("1000.%d", rand.Uint64()) }

// processes counts those whose arguments contain s.
func processes(s string) (n int) {
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, file := range files {
		if b, err := os.ReadFile(file); err == nil && bytes.Contains(b, []byte(s)) {
			n++
		}
	}
	return n
}

// inhabitants are the processes in the namespaces, by number and start: the kernel gives the numbers of namespaces that have
// ended to others', and labs of other tests come and go meanwhile.
func inhabitants(ids map[string]bool) map[string]bool {
	found := map[string]bool{}
	links, _ := filepath.Glob("/proc/[0-9]*/ns/*")
	for _, link := range links {
		if target, err := os.Readlink(link); err == nil && ids[target] {
			if name := life(strings.Split(link, "/")[2]); name != "" {
				found[name] = true
			}
		}
	}
	return found
}

// life names a process so that no later one has the same name, or returns "" when it has ended.
func life(pid string) string {
	stat, _ := os.ReadFile("/proc/" + pid + "/stat")
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) < 20 {
		return ""
	}
	return pid + " " + fields[19] // starttime, proc(5)
}

// remain counts those that have not ended.
func remain(lives map[string]bool) (n int) {
	for name := range lives {
		if pid, _, _ := strings.Cut(name, " "); life(pid) == name {
			n++
		}
	}
	return n
}

func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
	}
}

// files lists what runs could leave behind on the machine.
func files(t *testing.T, folders ...string) (all []string) {
	t.Helper()
	for _, folder := range append(folders, "/run/netns") {
		entries, err := filepath.Glob(folder + "/*")
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, entries...)
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	return append(all, fmt.Sprint(strings.Count(string(mounts), "\n"), " mounts"))
}

func TestKilledNatlabLeavesNothingForEveryUser(t *testing.T) {
	exe := program(t)
	for user, by := range users(t) {
		t.Run(user, func(t *testing.T) {
			temporary := openDir(t)
			before := fmt.Sprint(files(t, temporary))
			sleep := token()
			cmd := command(t, exe, by, "run", "--nat", "full-cone", "--nat", "cgnat", "--latency", "5ms",
				"--server", "(setsid sleep "+sleep+" &); exec sleep "+sleep, "--", "sh", "-c",
				"trap '' TERM HUP; readlink /proc/self/ns/net /proc/self/ns/mnt /proc/self/ns/pid; (setsid sleep "+sleep+" &); echo up; sleep "+sleep)
			cmd.Env = append(cmd.Env, "TMPDIR="+temporary)
			out, err := cmd.StdoutPipe()
			if err == nil {
				err = cmd.Start()
			}
			if err != nil {
				t.Fatal(err)
			}
			ids := map[string]bool{}
			lines := bufio.NewScanner(out)
			for up := 0; up < 2 && lines.Scan(); {
				switch _, line, _ := strings.Cut(lines.Text(), " | "); {
				case line == "up":
					up++
				case strings.Contains(line, ":["):
					ids[line] = true
				}
			}
			waitFor(t, "all programs", func() bool { return processes("sleep\x00"+sleep) == 6 })
			lives := inhabitants(ids)
			if len(ids) != 4 || remain(lives) < 6 {
				t.Fatalf("namespaces %v with processes %v", ids, lives)
			}
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			cmd.Wait()
			waitFor(t, "no process", func() bool { return processes(sleep) == 0 && remain(lives) == 0 })
			if after := fmt.Sprint(files(t, temporary)); after != before {
				t.Errorf("left: %s, before: %s", after, before)
			}
		})
	}
}

func TestAnInterruptedRunEndsInOrder(t *testing.T) {
	exe := program(t)
	for _, by := range []os.Signal{unix.SIGINT, unix.SIGQUIT, unix.SIGTERM, unix.SIGHUP} {
		t.Run(by.String(), func(t *testing.T) {
			cmd := command(t, exe, nil, "run", "--nat", "none", "--nat", "none", "--", "sh", "-c", "trap 'echo bye; exit 9' TERM; echo up; sleep 1000 & wait")
			var stderr bytes.Buffer
			cmd.Stderr = &stderr
			out, err := cmd.StdoutPipe()
			if err == nil {
				err = cmd.Start()
			}
			if err != nil {
				t.Fatal(err)
			}
			lines := bufio.NewScanner(out)
			seen := map[string]int{}
			for lines.Scan() {
				_, line, _ := strings.Cut(lines.Text(), " | ")
				if seen[line]++; line == "up" && seen[line] == 2 {
					cmd.Process.Signal(by)
				}
			}
			cmd.Wait()
			if code := cmd.ProcessState.ExitCode(); code != 9 || seen["bye"] != 2 || stderr.Len() > 0 {
				t.Errorf("exit status %d, output %v, %q", code, seen, &stderr)
			}
		})
	}
}

func TestTenSideBySideAndFortyInARowLeaveNothing(t *testing.T) {
	exe, temporary := program(t), openDir(t)
	before := fmt.Sprint(files(t, temporary))
	sleep := token()
	for range 4 {
		var running sync.WaitGroup
		for i := range 10 {
			running.Go(func() {
				cmd := command(t, exe, nil, "run", "--nat", "port-restricted", "--nat", "symmetric", "--",
					"sh", "-c", "(setsid sleep "+sleep+" >/dev/null 2>&1 &) ; echo $NATLAB_ADDR")
				cmd.Env = append(cmd.Env, "TMPDIR="+temporary)
				var out, said bytes.Buffer
				cmd.Stdout, cmd.Stderr = &out, &said
				if err := cmd.Run(); err != nil || strings.Count(out.String(), "192.168.") != 2 {
					t.Errorf("lab %d: %v: %s%s", i, err, &out, &said)
				}
			})
		}
		running.Wait()
	}
	waitFor(t, "no process", func() bool { return processes(sleep) == 0 })
	if after := fmt.Sprint(files(t, temporary)); after != before {
		t.Errorf("left: %s, before: %s", after, before)
	}
}

func TestTwoHomesAreUpRunAndDownInTwoSeconds(t *testing.T) {
	exe := program(t)
	// Others may be using the machine: one of a few goes has to be fast.
	var took []time.Duration
	for range 5 {
		began := time.Now()
		if r := finish(t, command(t, exe, nil, "run", "--nat", "port-restricted", "--nat", "symmetric", "--", "true")); r.code != 0 {
			t.Fatalf("got %+v", r)
		}
		took = append(took, time.Since(began).Round(time.Millisecond))
		if took[len(took)-1] < 2*time.Second {
			t.Log(took)
			return
		}
	}
	t.Errorf("two homes take %v, want 1.5 s up and 0.5 s down", took)
}
