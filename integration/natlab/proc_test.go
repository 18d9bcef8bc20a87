//go:build linux

package natlab_test

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// waitFor polls until ok.
func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}

// sleepToken returns an argument for sleep(1) by which its process can be found again among all others.
func sleepToken() string { return "1000." + strconv.FormatUint(rand.Uint64(), 10) }

// countProcesses counts the processes, with this process's view of them, whose command line (arguments separated by NUL)
// contains s.
func countProcesses(s string) (n int) {
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err == nil && bytes.Contains(b, []byte(s)) && !bytes.HasPrefix(b, []byte("sh\x00")) {
			n++
		}
	}
	return n
}

// zombies counts the processes that ended and were not reaped.
func zombies() (n int) {
	files, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err == nil && strings.Contains(string(b), ") Z ") {
			n++
		}
	}
	return n
}

// inNamespace lists the threads that are in the namespace.
func inNamespace(id string) (threads []string) {
	links, _ := filepath.Glob("/proc/[0-9]*/task/[0-9]*/ns/*")
	for _, link := range links {
		if target, err := os.Readlink(link); err == nil && target == id {
			threads = append(threads, link)
		}
	}
	return threads
}
