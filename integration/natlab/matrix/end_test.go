//go:build linux

package matrix

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"simplebit/integration/natlab"
)

// ended is a program that has said something and has ended with status 2.
func ended(t *testing.T, said string) *program {
	t.Helper()
	p := &program{name: "edgeagent on a1", log: filepath.Join(t.TempDir(), "log"), cmd: exec.Command("sh", "-c", "exit 2"), ended: make(chan struct{})}
	if err := os.WriteFile(p.log, []byte(said), 0o600); err != nil {
		t.Fatal(err)
	}
	p.cmd.Run()
	close(p.ended)
	return p
}

func TestATryInWhichAProgramEndedCameToNothing(t *testing.T) {
	runs := &program{ended: make(chan struct{})}
	trace := strings.Repeat("goroutine 1 [running]:\n\tmain.go:1\n", 50)
	for said, want := range map[string]string{
		"level=INFO msg=ready\npanic: no such peer\n\n" + trace: "edgeagent on a1: it ended by itself: exit status 2: panic: no such peer | goroutine 1 [running]: | main.go:1 | ",
		"fatal error: all goroutines are asleep\n":              "edgeagent on a1: it ended by itself: exit status 2: fatal error: all goroutines are asleep",
		strings.Repeat("x", 2*maxTail) + "\nlast":               "edgeagent on a1: it ended by itself: exit status 2: " + strings.Repeat("x", maxTail-5) + " | last",
	} {
		for _, err := range []error{nil, errors.New("the surrogate's API: EOF")} {
			try := Try{Class: Direct}
			try.end(err, []*program{runs, ended(t, said), runs})
			if try.Class != None || !strings.HasPrefix(try.Why, want) || len(try.Why) > maxTail+200 {
				t.Errorf("%s: %s\nwant %s", try.Class, try.Why, want)
			}
		}
	}
	try := Try{Class: Direct}
	if try.end(nil, []*program{runs}); try.Class != Direct || try.Why != "" {
		t.Errorf("nobody ended: %+v", try)
	}
	if try.end(errors.New("too\nlate"), nil); try.Class != None || try.Why != "too; late" {
		t.Errorf("failed: %+v", try)
	}
}

// TestATryWhoseSurrogateEndedIsNotDoneAgain: another surrogate would not end, and nobody would know that the first one did.
func TestATryWhoseSurrogateEndedIsNotDoneAgain(t *testing.T) {
	natlab.Require(t)
	t.Parallel()
	real := binaries(t)
	for after, when := range map[string]string{"0.01": "as it begins", "1": "during a try"} {
		t.Run(when, func(t *testing.T) {
			t.Parallel()
			bin := t.TempDir()
			if err := os.Symlink(filepath.Join(real, "edgeagent"), filepath.Join(bin, "edgeagent")); err != nil {
				t.Fatal(err)
			}
			script := fmt.Sprintf(onceOnly, bin, real, after)
			if err := os.WriteFile(filepath.Join(bin, "rendezvous"), []byte(script), 0o755); err != nil {
				t.Fatal(err)
			}
			tries, err := Run(t.Context(), Config{Bin: bin, SideBySide: 1, Rows: []Row{{pair(t, "none:none"), 2}}})
			if err != nil {
				t.Fatal(err)
			}
			got := tries["none:none"]
			if len(got) != 2 || got[0].Class != None || !strings.Contains(got[0].Why, "rendezvous on surrogate: it ended by itself: exit status 2: ") ||
				!strings.Contains(got[0].Why, "panic: no more") {
				t.Errorf("%+v", got)
			} else if got[1].Class == None {
				t.Errorf("the next came to nothing, too: %s", got[1].Why)
			}
		})
	}
}

// onceOnly is a program that ends after so many seconds when it is run for the first time.
const onceOnly = `#!/bin/sh
[ -e %[1]s/once ] && exec %[2]s/rendezvous "$@"
>%[1]s/once
timeout %[3]s %[2]s/rendezvous "$@"
echo 'panic: no more' >&2
exit 2
`

func TestWhatIsLedBackFromAPublicAddressIsDirect(t *testing.T) {
	natlab.Require(t)
	t.Parallel()
	s, err := newLab(t.Context(), t.TempDir())
	t.Cleanup(func() { s.close() })
	if err != nil {
		t.Fatal(err)
	}
	for i, c := range []struct {
		pair    string
		relayed int64
		ends    []string // %0 and %1 are the devices
		want    Class
	}{
		{"full-cone-hairpin:same-home", 0, []string{"%0", "%1"}, LAN},
		{"full-cone-hairpin:same-home", 0, []string{"%0", "198.18.2.2:6882"}, Direct},
		{"full-cone-hairpin:same-home", 0, []string{"%r"}, Direct}, // as the router masquerades
		{"full-cone-hairpin:same-home", 1, []string{"%0", "%1"}, Relayed},
		{"full-cone-hairpin:same-home", 0, nil, Direct}, // nothing says otherwise
		{"full-cone-hairpin:same-home", 0, []string{""}, Direct},
		{"ipv6-open:same-home", 0, []string{"%0"}, LAN},
		{"cgnat-hairpin:same-home", 0, []string{"100.64.3.2:7"}, Direct},
		{"cgnat-hairpin:same-carrier", 0, []string{"198.18.3.2:20264"}, Direct},
		{"cgnat-hairpin:same-carrier", 0, []string{"100.64.3.2:6882"}, LAN},
		{"cgnat-hairpin:same-carrier", 0, []string{"100.64.3.2:6882", "198.18.3.2:20264"}, Direct},
		{"none:none", 0, []string{"%0"}, Direct},
	} {
		p := pair(t, c.pair)
		h, err := s.move(p, rand.NewChaCha8([32]byte{byte(i)}))
		if err != nil {
			t.Fatal(err)
		}
		var ends []string
		for _, end := range c.ends {
			for n, d := range h.devices {
				a := d.Addr()
				if !a.IsValid() {
					a = d.Addr6()
				}
				end = strings.ReplaceAll(end, fmt.Sprint("%", n), netip.AddrPortFrom(a, 6882).String())
			}
			end = strings.ReplaceAll(end, "%r", netip.AddrPortFrom(h.routers[0].LAN().Addr().Next(), 7).String())
			ends = append(ends, end)
		}
		if got := classOf(c.relayed, h.within(p), ends); got != c.want {
			t.Errorf("%s: connections that end at %v are %s, want %s", c.pair, ends, got, c.want)
		}
	}
}
