//go:build linux

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"simplebit/integration/natlab/matrix"
)

// agents is a folder with the programs that a matrix runs, for everybody.
func agents(t *testing.T) string {
	t.Helper()
	dir := openDir(t)
	build := exec.CommandContext(t.Context(), "go", "build", "-o", dir+"/", "simplebit/cmd/rendezvous", "simplebit/cmd/edgeagent")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return dir
}

func TestWhatAMatrixCannotDoIsSaidBeforeAnything(t *testing.T) {
	exe := program(t)
	for args, want := range map[string]string{
		"none":                          `"none" is one argument too many`,
		"--pairs none:cone":             `no NAT of kind "cone"`,
		"--pairs none":                  `pair "none": want KIND:KIND`,
		"--pairs none:same-carrier":     "same-carrier for cgnat",
		"--tries 0":                     "--tries 0: want 1 or more",
		"--side-by-side 0":              "--side-by-side 0: want 1 to",
		"--side-by-side 65":             "--side-by-side 65: want 1 to 64",
		"--pairs none:none":             "no program rendezvous in " + filepath.Dir(exe),
		"--pairs none:none --bin /none": "no program rendezvous in /none",
	} {
		usage(t, finish(t, command(t, exe, nil, append([]string{"matrix"}, strings.Fields(args)...)...)), want)
	}
	bin := agents(t)
	usage(t, finish(t, command(t, exe, nil, "matrix", "--bin", bin, "--out", "/nonexistent/x.md")), "--out: no folder for /nonexistent/x.md")
	usage(t, finish(t, command(t, exe, nil, "matrix", "--bin", bin, "--json", "/run/x.json")), "choose another folder")
}

func TestAMatrixIsMeasuredForEveryUser(t *testing.T) {
	exe, bin := program(t), agents(t)
	for user, by := range users(t) {
		t.Run(user, func(t *testing.T) {
			t.Parallel()
			dir := openDir(t)
			report, lines := filepath.Join(dir, "x.md"), filepath.Join(dir, "x.json")
			r := finish(t, command(t, exe, by, "matrix", "--pairs", "port-restricted:bare,none:same-home", "--tries", "2", "--side-by-side", "2",
				"--bin", bin, "--out", report, "--json", lines))
			if r.code > 1 || strings.Count(r.stdout, "\n") != 3 || !strings.Contains(r.stderr, "4 of 4 tries, 0s left: ") {
				t.Fatalf("got %+v", r)
			}
			text, err := os.ReadFile(report)
			if err != nil {
				t.Fatal(err)
			}
			for _, want := range []string{
				"    natlab matrix --pairs port-restricted:bare,none:same-home --tries 2 ", "4 tries of 2 pairs",
				"\n| port-restricted:bare | 2 | ", "\n| none:same-home | 2 | ",
			} {
				if !bytes.Contains(text, []byte(want)) {
					t.Errorf("no %q in\n%s", want, text)
				}
			}
			b, err := os.ReadFile(lines)
			if err != nil {
				t.Fatal(err)
			}
			classes := map[string][]matrix.Class{}
			for d := json.NewDecoder(bytes.NewReader(b)); d.More(); {
				var try matrix.Try
				if err := d.Decode(&try); err != nil {
					t.Fatal(err)
				}
				classes[try.Pair] = append(classes[try.Pair], try.Class)
				if try.Pair == "port-restricted:bare" && (len(try.Paths) != 1 || len(try.Paths[0].Attempts) == 0) {
					t.Errorf("no account of paths in %+v", try)
				}
			}
			// On a slow machine the surrogate may begin to relay before there is a path.
			for pair, class := range map[string]matrix.Class{"port-restricted:bare": matrix.Direct, "none:same-home": matrix.LAN} {
				if got := classes[pair]; len(got) != 2 || !slices.Contains(got, class) || slices.Contains(got, matrix.None) {
					t.Errorf("%s: the data came by %v, want %s:\n%s", pair, got, class, b)
				}
			}
		})
	}
}

func TestAKilledMatrixLeavesNothingForEveryUser(t *testing.T) {
	exe, bin := program(t), agents(t)
	for user, by := range users(t) {
		for _, signal := range []unix.Signal{unix.SIGKILL, unix.SIGINT} {
			t.Run(user+" "+unix.SignalName(signal), func(t *testing.T) {
				temporary := openDir(t)
				before := fmt.Sprint(files(t, temporary))
				cmd := command(t, exe, by, "matrix", "--pairs", "symmetric:symmetric", "--tries", "100", "--bin", bin)
				cmd.Env = append(cmd.Env, "TMPDIR="+temporary)
				var stdout, stderr bytes.Buffer
				cmd.Stdout, cmd.Stderr = &stdout, &stderr
				if err := cmd.Start(); err != nil {
					t.Fatal(err)
				}
				waitFor(t, "an agent", func() bool { return processes(bin+"/edgeagent\x00run") > 0 })
				began := time.Now()
				if err := cmd.Process.Signal(signal); err != nil {
					t.Fatal(err)
				}
				err := cmd.Wait()
				if took := time.Since(began); took > 30*time.Second {
					t.Errorf("it ended after %v", took)
				}
				if signal == unix.SIGINT && (cmd.ProcessState.ExitCode() != 1 || !strings.Contains(stderr.String(), "natlab: interrupted after ")) {
					t.Errorf("%v: %s", err, &stderr)
				}
				waitFor(t, "no process", func() bool { return processes(bin) == 0 })
				if after := fmt.Sprint(files(t, temporary)); after != before {
					t.Errorf("left: %s, before: %s", after, before)
				}
			})
		}
	}
}
