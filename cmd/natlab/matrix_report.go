//go:build linux

package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"simplebit/integration/natlab/matrix"
)

// writeReport writes as a document what a matrix of programs with these sources came to.
func writeReport(w io.Writer, sources string, labs int, rows []matrix.Summary, took time.Duration) error {
	tries, missed := 0, 0
	for _, r := range rows {
		tries += r.Tries
		if !r.Met {
			missed++
		}
	}
	verdict := "Every bar is met."
	if missed > 0 {
		verdict = fmt.Sprintf("**%d of %d pairs miss their bar.**", missed, len(rows))
	}
	fmt.Fprintf(w, reportHead, strings.Join(commandLine(), " "), sources, runtime.Version(), machine(), time.Now().Format(time.DateOnly),
		tries, len(rows), took.Round(time.Second), labs, verdict)
	return matrix.Markdown(w, rows)
}

// reportHead begins the report. What a try is: see the documentation of package matrix.
const reportHead = `# Which NATs two devices get through

Written by

    %s

%s, %s; %s; %s. %d tries of %d pairs in %v, %d labs side by side. %s

Two homes, each behind a router of its kind, which nobody has seen before; in each a device whose agent has just joined a
surrogate on the internet and found out what it sits behind. A packet takes 10 ms to the surrogate or back, so a round trip
20 ms, and 20 ms from home to home, so a round trip 40 ms. One device seeds 1 MiB in pieces of 16 KiB that nobody else has;
time zero is when that torrent is given to the other. Where UDP is blocked time zero is the start of that home's agent.
*Median* and *95 %%* are of the time until the first piece was verified, as the surrogate's API shows it, to 2 %% and no better
than 10 ms. They are among all tries, and of one without data that is never.

Routes: *direct* is all of the 1 MiB verified while the surrogate's relay counters stayed zero; *lan* the same where all connections
and paths were between the devices' own addresses in one home, or within one carrier's network (100.64.0.0/10): what a router or
carrier leads back at a public address (hairpin) is *direct*; *relayed* if the surrogate carried any of it; *none* if nothing was
verified within 30 s, not all within 30 s more, or an agent or the surrogate ended by itself.
Figures are in per cent of the tries. Homes behind carriers (cgnat) have one each, but for same-carrier. Between two that share a carrier
or a home no packet is delayed.

Bars: one that says *direct* counts *lan* as well; two devices in one home must use its network. Cones are all kinds that keep one port for everybody; kinds
with another port for each address or endpoint (address-dependent, symmetric) are random ones, and mapping is open to everybody. IPv6
counts where both homes have it. Pairs with no family of addresses in common are held to what two random ports are. Those that the
rest says nothing of have to get the data. Where a random port is guessed, the path often comes later than the surrogate begins to carry
the data, 1.5 s after the attempt began: those pairs have a row as they are, and one where it carries nothing (no-relay) for the bar of
the path itself. How ` + "`natlab matrix`" + ` works: [natlab.md](natlab.md).

`

// commandLine is this program's, as it would be typed.
func commandLine() []string {
	args := append([]string{}, os.Args...)
	args[0] = filepath.Base(args[0])
	return args
}

// commit names the sources of the programs in a folder.
func commit(bin string) string {
	cmd := exec.Command("git", "describe", "--always", "--dirty", "--abbrev=12")
	cmd.Dir = bin
	out, err := cmd.Output()
	if err != nil {
		return "SimpleBit " + version
	}
	return "SimpleBit " + strings.TrimSpace(string(out))
}

// machine is what everything ran on.
func machine() string {
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
	var kernel unix.Utsname
	unix.Uname(&kernel)
	return fmt.Sprintf("%d × %s, Linux %s", runtime.NumCPU(), cpu, unix.ByteSliceToString(kernel.Release[:]))
}
