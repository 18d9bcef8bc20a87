//go:build linux

package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"simplebit/integration/programs"
)

// provenance says with what and where figures were made. The clients tell their versions themselves; others are given.
func provenance(ctx context.Context, w io.Writer, others []string, clients ...string) error {
	versions := slices.Clone(others)
	for _, p := range clients {
		v, err := programs.Version(ctx, p)
		if err != nil {
			return err
		}
		versions = append(versions, p+" "+v)
	}
	commit, err := exec.CommandContext(ctx, "git", "describe", "--always", "--dirty").Output()
	if err != nil {
		commit = []byte("unknown commit")
	}
	var kernel unix.Utsname
	if err := unix.Uname(&kernel); err != nil {
		return err
	}
	cpu := "unknown processor"
	if f, err := os.Open("/proc/cpuinfo"); err == nil {
		defer f.Close()
		for s := bufio.NewScanner(f); s.Scan(); {
			if name, value, ok := strings.Cut(s.Text(), ":"); ok && strings.TrimSpace(name) == "model name" {
				cpu = strings.TrimSpace(value)
				break
			}
		}
	}
	fmt.Fprintf(w, "\n    go run ./integration/bench %s\n\n", strings.Join(os.Args[1:], " "))
	versions = append([]string{"SimpleBit " + strings.TrimSpace(string(commit)), runtime.Version()}, versions...)
	fmt.Fprintf(w, "%s; %d × %s, Linux %s; %s.\n", strings.Join(versions, ", "),
		runtime.NumCPU(), cpu, unix.ByteSliceToString(kernel.Release[:]), time.Now().Format(time.DateOnly))
	return nil
}

// libraries are the versions of what is measured and no program of its own.
func libraries(ctx context.Context) ([]string, error) {
	libtorrent, err := programs.LibtorrentVersion(ctx)
	if err != nil {
		return nil, err
	}
	versions := []string{"libtorrent " + libtorrent}
	for _, m := range []struct{ dir, path string }{{"integration/bench/rain", "github.com/cenkalti/rain"}, {".", "github.com/quic-go/quic-go"}} {
		cmd := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Version}}", m.path)
		cmd.Dir = m.dir
		out, err := cmd.Output()
		if err != nil {
			return nil, fmt.Errorf("version of %s (from the repository's top): %w", m.path, err)
		}
		versions = append(versions, filepath.Base(m.path)+" "+strings.TrimSpace(string(out)))
	}
	return versions, nil
}

// head begins a file of figures that is not there yet.
const head = `# Performance

Measured by ` + "`integration/bench`" + ` in emulated networks, not in the wild. Each section names the command that made it; figures move
with the machine and with what else it does.
`

// writeSection replaces what an earlier run of the same command wrote into the Markdown file, or adds it at the end.
func writeSection(name, command, text string) error {
	old, err := os.ReadFile(name)
	if errors.Is(err, os.ErrNotExist) {
		old, err = []byte(head), nil
	}
	if err != nil {
		return err
	}
	return os.WriteFile(name, withSection(old, command, text), 0o644)
}

// withSection returns the document with the command's section, which two comments enclose, replaced or added.
func withSection(document []byte, command, text string) []byte {
	begin, end := "<!-- bench "+command+" -->\n", "<!-- end of bench "+command+" -->\n"
	section := begin + "\n" + text + "\n" + end
	before, rest, found := bytes.Cut(document, []byte(begin))
	if found {
		if _, after, ok := bytes.Cut(rest, []byte(end)); ok {
			return append(append(bytes.Clone(before), section...), after...)
		}
	}
	return append(bytes.Clone(document), "\n"+section...)
}
