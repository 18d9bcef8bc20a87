package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"simplebit/edgeagent"
)

func status(args []string, out io.Writer) error {
	o, err := parse("status", args, 0, out)
	if err != nil {
		return err
	}
	st, err := edgeagent.ReadStatus(o.state)
	if err != nil {
		return err
	}
	if o.json {
		e := json.NewEncoder(out)
		e.SetIndent("", "  ")
		return e.Encode(st)
	}
	printStatus(out, time.Now(), st)
	return nil
}

func printStatus(out io.Writer, now time.Time, st edgeagent.Status) {
	fmt.Fprintf(out, "device     %s (%s)\n", st.Name, st.Device)
	if st.Connected {
		fmt.Fprintf(out, "surrogate  %s, connected for %s", st.Surrogate, now.Sub(st.Since).Round(time.Second))
		if st.Observed != "" {
			fmt.Fprintf(out, ", sees this device at %s", st.Observed)
		}
		fmt.Fprintln(out)
	} else if st.Error == "" {
		fmt.Fprintf(out, "surrogate  %s, connecting\n", st.Surrogate)
	} else {
		fmt.Fprintf(out, "surrogate  %s, not connected: %s\n", st.Surrogate, st.Error)
	}
	fmt.Fprintf(out, "memory     %s for blocks, %s free\n", size(st.MemoryBytes), size(st.MemoryFree))
	if len(st.Torrents) == 0 {
		fmt.Fprintln(out, "no torrents")
	}
	for _, t := range st.Torrents {
		fmt.Fprintf(out, "%s  %-11s  %s of %s  down %s/s  up %s/s  %d peers  unfinished pieces %s\n",
			t.InfoHash, t.State, size(t.Have), size(t.Size), size(t.DownRate), size(t.UpRate), t.Peers, size(t.Partial))
		if t.Error != "" {
			fmt.Fprintf(out, "  %s\n", t.Error)
		}
	}
}

// size is a number of bytes that reads and prints as 4MiB.
type size int64

var units = []string{"B", "KiB", "MiB", "GiB", "TiB"}

// String prints with one decimal where that says more.
func (s size) String() string {
	v, unit := float64(s), 0
	for v >= 1024 && unit < len(units)-1 {
		v, unit = v/1024, unit+1
	}
	return strings.TrimSuffix(strconv.FormatFloat(v, 'f', 1, 64), ".0") + " " + units[unit]
}

// Set reads a number with an optional binary unit.
func (s *size) Set(text string) error {
	number := strings.TrimRight(text, "BiKMGT ")
	factor := int64(1)
	if suffix := strings.TrimSpace(text[len(number):]); suffix != "" {
		found := false
		for i, u := range units {
			if suffix == u || i > 0 && suffix == u[:1] {
				factor, found = 1<<(10*i), true
			}
		}
		if !found {
			return fmt.Errorf("size %q: want a number of bytes or a unit of KiB, MiB, GiB", text)
		}
	}
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || n < 0 || n > 1<<50/factor {
		return fmt.Errorf("size %q: want a number of bytes or a unit of KiB, MiB, GiB", text)
	}
	*s = size(n * factor)
	return nil
}
