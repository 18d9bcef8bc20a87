//go:build linux

package matrix

import (
	"os"
	"os/exec"
	"testing"
	"time"

	"simplebit/integration/natlab"
)

// binaries are rendezvous and edgeagent, compiled.
func binaries(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	build := exec.CommandContext(t.Context(), "go", "build", "-o", dir+"/", "simplebit/cmd/rendezvous", "simplebit/cmd/edgeagent")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return dir
}

// It is the short form of `natlab matrix`.
func TestDevicesBehindCommonNATsReachEachOther(t *testing.T) {
	natlab.Require(t)
	t.Parallel()
	want := map[string]Class{
		"port-restricted:port-restricted": Direct, "bare:bare": Direct, "port-restricted:cgnat": Direct, "port-restricted:sequential": Direct,
		"address-restricted:symmetric": Direct, "dual-stack:ipv6-firewalled": Direct, "port-restricted:same-home": LAN,
		"symmetric:symmetric": Relayed, "port-restricted:udp-blocked": Relayed,
	}
	c := Config{Bin: binaries(t), SideBySide: len(want), Seed: uint64(time.Now().UnixNano())}
	for text := range want {
		c.Rows = append(c.Rows, Row{pair(t, text), 1})
	}
	results := map[string][]Try{}
	// On a busy machine one try in some hundreds fails: who failed may do it again, once.
	for range 2 {
		began := time.Now()
		tries, err := Run(t.Context(), c)
		if err != nil {
			t.Fatalf("seed %d: %v", c.Seed, err)
		}
		var again []Row
		for _, r := range c.Rows {
			one := tries[r.String()]
			results[r.String()] = one
			if len(one) != 1 || one[0].Class != want[r.String()] {
				t.Logf("seed %d: %s: %+v", c.Seed, r, one)
				again = append(again, r)
			}
		}
		t.Logf("%d tries took %v", len(c.Rows), time.Since(began).Round(time.Millisecond))
		if c.Rows = again; len(again) == 0 {
			break
		}
	}
	for text, class := range want {
		for _, try := range results[text] {
			t.Logf("%s: %s, first data after %v, all after %v", text, try.Class, try.First.Round(time.Millisecond), try.All.Round(time.Millisecond))
			if try.Class != class {
				t.Errorf("%s: %s, want %s: %s %s", text, try.Class, class, try.Why, try.Account())
			}
		}
	}
}

func TestProgramsThatAreNotThereFailTheRun(t *testing.T) {
	natlab.Require(t)
	t.Parallel()
	_, err := Run(t.Context(), Config{Bin: "/nonexistent", Rows: []Row{{pair(t, "none:none"), 1}}})
	if err == nil {
		t.Fatal("it ran")
	}
	t.Log(err)
}
