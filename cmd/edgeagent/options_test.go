package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"simplebit/edgeagent"

	"simplebit/wire/dial"
	"simplebit/wire/mse"
)

// TestMain is the command itself in a process that a test starts.
func TestMain(m *testing.M) {
	if os.Getenv("EDGEAGENT_TEST_MAIN") != "" {
		main()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func configFile(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "agent.json")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestFlagsGoBeforeVariablesAndThoseBeforeTheFile(t *testing.T) {
	file := configFile(t, `{"max-peers": 10, "up": "1.5MiB", "down": 2000000, "listen": ":1", "dir": "/file", "memory": 10000000, "verbose": true, "transport": "utp", "encryption": "require", "name": "of join"}`)
	t.Setenv("SIMPLEBIT_MAX_PEERS", "20")
	t.Setenv("SIMPLEBIT_LISTEN", ":2")
	t.Setenv("SIMPLEBIT_UP", "500K")
	t.Setenv("SIMPLEBIT_DIR", "") // as if it were not there
	o, err := parse("run", []string{"--max-peers", "30", "--config", file}, 0, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if o.maxPeers != 30 || o.listen != ":2" || o.dir != "/file" || o.memory != 10000000 || !o.verbose {
		t.Errorf("options are %+v", o)
	}
	c := o.config()
	if c.MaxPeers != 30 || c.Listen != ":2" || c.Dir != "/file" || c.Memory != 10000000 || c.Up != 500<<10 || c.Down != 2_000_000 ||
		c.Transports != dial.OnlyUTP || c.Encryption != mse.Require {
		t.Errorf("the agent gets %+v", c)
	}

	t.Setenv("SIMPLEBIT_CONFIG", file)
	if o, err = parse("join", nil, 1, io.Discard); err != nil || o.name != "of join" {
		t.Errorf("the file named by a variable: %+v, %v", o, err)
	}
}

func TestDefaultsSuitASmallRouter(t *testing.T) {
	o, err := parse("run", nil, 0, io.Discard)
	if err != nil || o.memory != 4<<20 || o.maxPeers != 40 || o.listen != ":6882" || o.dir != "downloads" || o.state == "" {
		t.Errorf("options are %+v, %v", o, err)
	}
}

func TestWhatIsWrittenWronglyIsAUsageErrorThatNamesIt(t *testing.T) {
	bad := func(text string) string { return configFile(t, text) }
	for _, c := range []struct {
		args []string
		env  [2]string
		want string
	}{
		{args: []string{"frobnicate"}, want: "frobnicate"},
		{args: []string{"run", "--max-peer", "3"}, want: "max-peer"},
		{args: []string{"run", "somewhere"}, want: "somewhere"},
		{args: []string{"join", "a", "b"}, want: `"b"`},
		{args: []string{"join"}, want: "no invite"},
		{args: []string{"run", "--memory", "4 parsecs"}, want: "4 parsecs"},
		{args: []string{"run", "--memory", "1023KiB"}, want: "--memory"},
		{args: []string{"run", "--up", "500"}, want: "1KiB at least"},
		{args: []string{"run", "--down", "fast"}, want: `"fast"`},
		{args: []string{"run", "--down", "-1M"}, want: "-1M"},
		{args: []string{"run", "--memory", "17GiB"}, want: "--memory"},
		{args: []string{"run", "--max-peers", "0"}, want: `"0" for flag -max-peers: want a number from 1 to 1000`},
		{args: []string{"run", "--max-peers", "1001"}, want: "want a number from 1 to 1000"},
		{args: []string{"run", "--transport", "pigeon"}, want: "choose both, tcp or utp"},
		{args: []string{"run", "--encryption", "perhaps"}, want: "choose prefer, require or off"},
		{args: []string{"run", "--max-peers", "many"}, want: `"many" for flag -max-peers: want a number from 1 to 1000`},
		{args: []string{"run", "--port-mapping=perhaps"}, want: `"perhaps" for -port-mapping: choose true or false`},
		{args: []string{"run", "--verbose=maybe"}, want: "choose true or false"},
		{args: []string{"status", "--json=maybe"}, want: "choose true or false"},
		{args: []string{"run"}, env: [2]string{"SIMPLEBIT_PORT_MAPPING", "maybe"}, want: "SIMPLEBIT_PORT_MAPPING: choose true or false"},
		{args: []string{"run"}, env: [2]string{"SIMPLEBIT_MEMORY", "much"}, want: "SIMPLEBIT_MEMORY"},
		{args: []string{"run", "--config", "/does/not/exist"}, want: "/does/not/exist"},
		{args: []string{"run", "--config", bad(`{"max_peers": 3}`)}, want: `unknown key "max_peers"`},
		{args: []string{"run", "--config", bad(`{"config": "x"}`)}, want: `unknown key "config"`},
		{args: []string{"run", "--config", bad(`{"memory": null}`)}, want: "memory: null"},
		{args: []string{"run", "--config", bad(`{"dir": ["a"]}`)}, want: "dir: "},
		{args: []string{"run", "--config", bad(`{"verbose": "perhaps"}`)}, want: "verbose: choose true or false"},
		{args: []string{"run", "--config", bad(`[1]`)}, want: "JSON"},
		{args: []string{"run", "--config", bad(`{"memory": 1} trailing`)}, want: "JSON"},
		{args: []string{"status", "--memory", "4MiB"}, want: "memory"},
	} {
		if c.env[0] != "" {
			t.Setenv(c.env[0], c.env[1])
		}
		err := command(context.Background(), c.args, strings.NewReader(""), io.Discard)
		if exitCode(err) != 2 || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: %v (exit %d), want exit 2 and %q", c.args, err, exitCode(err), c.want)
		}
		if c.env[0] != "" {
			os.Unsetenv(c.env[0])
		}
	}
}

func TestHelpIsPrintedWhereItWasAskedFor(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string
	}{
		{nil, "edgeagent join [INVITE]"},
		{[]string{"help"}, "edgeagent join [INVITE]"},
		{[]string{"run", "--help"}, "-max-peers"},
		{[]string{"join", "-h"}, "-name"},
		{[]string{"version"}, version},
	} {
		var out bytes.Buffer
		err := command(context.Background(), c.args, nil, &out)
		if exitCode(err) != 0 || err != nil && !errors.Is(err, flag.ErrHelp) || !strings.Contains(out.String(), c.want) {
			t.Errorf("%q prints %q (%v)", c.args, out.String(), err)
		}
	}
}

func TestSizesAreReadAndPrintedInBinaryUnits(t *testing.T) {
	for text, want := range map[string]size{
		"0": 0, "1": 1, "12B": 12, "4MiB": 4 << 20, "4 MiB": 4 << 20, "4M": 4 << 20, "512K": 512 << 10, "2GiB": 2 << 30, "1TiB": 1 << 40,
		"1024TiB": 1 << 50,
	} {
		var s size
		if err := s.Set(text); err != nil || s != want {
			t.Errorf("%q is %d, %v; want %d", text, s, err, want)
		}
	}
	for _, text := range []string{"", "-1", "MiB", "1.5MiB", "4MB", "4iB", "4KMiB", "1025TiB", "99999999999999999999", "4MiB4", "0x10"} {
		s := size(7)
		if err := s.Set(text); err == nil || s != 7 {
			t.Errorf("%q is %d, %v", text, s, err)
		}
	}
	for n, want := range map[size]string{0: "0 B", 1023: "1023 B", 1536: "1.5 KiB", 4 << 20: "4 MiB", 1 << 40: "1 TiB", 1 << 50: "1024 TiB"} {
		if got := n.String(); got != want {
			t.Errorf("%d prints as %q, want %q", int64(n), got, want)
		}
	}
}

func TestStatusIsForPeopleToRead(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	st := edgeagent.Status{
		Device: "abc", Name: "attic", Surrogate: "home.example.org:4433", Connected: true, Since: now.Add(-90 * time.Second),
		Observed: "203.0.113.1:6882", MemoryBytes: 4 << 20, MemoryFree: 1 << 20,
		MaxPeers: 40, UpLimit: 500 << 10,
		Network: edgeagent.NetworkStatus{
			Summary: "behind a home router that allows direct connections", Checked: now.Add(-time.Minute), Mapping: "endpoint-independent",
			Filtering: "address and port-dependent", PortPreserved: "yes", Hairpin: "no", DoubleNAT: "unknown", Reachable: "no",
			Lifetime: 25, PortStep: 2, Candidates: []string{"host 192.168.1.10:6882", "reflexive 203.0.113.1:6882"},
		},
		Paths: []edgeagent.PathStatus{
			{Device: "cellar", Addr: "198.51.100.1:6882", RTT: 20.25, Since: now.Add(-time.Minute)},
			{Device: "shed", Addr: "192.168.1.11:6882", LAN: true, RTT: 0.5, Since: now.Add(-time.Second)},
		},
		Relayed: []edgeagent.RelayedStatus{
			{Device: "office", Addr: "198.51.100.2:1", InfoHash: "0123456789", Transport: "quic", Since: now.Add(-time.Second)},
			{Device: "car", InfoHash: "4567", Transport: "tcp", Since: now},
		},
		Torrents: []edgeagent.TorrentStatus{{
			InfoHash: "0123", State: "failed", Size: 3 << 20, Have: 1 << 20, Partial: 16 << 10, DownRate: 2048, Peers: 3, Error: "disk full",
		}, {
			InfoHash: "4567", State: "finished", Size: 3 << 20, Have: 2 << 20, Selected: 1 << 20, SelectedHave: 1 << 20,
			Uploaded: 2 << 20, Seeded: 3600, Limits: edgeagent.TorrentLimits{
				Down: 2 << 20, Up: 1 << 20, MaxPeers: 30, SeedRatio: 1.5, SeedTime: 7200, Sequential: true},
		}},
	}
	const want = `device     attic (abc)
surrogate  home.example.org:4433, connected for 1m30s, sees this device at 203.0.113.1:6882
network    behind a home router that allows direct connections (found out 1m0s ago)
           mapping endpoint-independent, filtering address and port-dependent, ports kept yes, hairpin no, double NAT unknown, reachable no, ports in steps of 2, mappings last 25s at least
addresses  host 192.168.1.10:6882, reflexive 203.0.113.1:6882
path       cellar at 198.51.100.1:6882, round trip 20.2 ms, for 1m0s
path       shed at 192.168.1.11:6882 on the same network, round trip 0.5 ms, for 1s
relayed    office at 198.51.100.2:1 for 01234567, over QUIC, for 1s
relayed    car for 4567, over TCP, for 0s
memory     4 MiB for blocks, 1 MiB free
limits     down no limit, up 500KiB/s, 40 connections
0123  failed       1 MiB of 3 MiB  down 2 KiB/s  up 0 B/s  3 peers  unfinished pieces 16 KiB
  disk full
4567  finished     1 MiB of 1 MiB wanted (3 MiB in all)  down 0 B/s  up 0 B/s  0 peers  unfinished pieces 0 B
  in order, down at most 2MiB/s, up at most 1MiB/s, 30 connections at most, seeds to ratio 1.5 (now 2.00), seeds for 2h0m0s (so far 1h0m0s)
`
	var out bytes.Buffer
	printStatus(&out, now, st)
	if out.String() != want {
		t.Errorf("prints\n%swant\n%s", out.String(), want)
	}
	for change, want := range map[*edgeagent.Status]string{
		{Connected: true}: "connected for",
		{Connected: true, Surrogate: "h:1", Since: now, Transport: "tcp", Observed: "192.0.2.1:5"}: "h:1, connected for 0s by TCP, as UDP does not work, sees",
		{Error: "no route"}:        "not connected: no route",
		{Surrogate: "h:1"}:         "h:1, connecting\n",
		{Name: "a", Device: "dev"}: "no torrents",
		{MaxPeers: 1}:              "network    unknown so far\n",
		{Network: edgeagent.NetworkStatus{Error: "no STUN server answers"}}:   "network    unknown: no STUN server answers\n",
		{Network: edgeagent.NetworkStatus{Summary: "cut off", Blocked: true}}: "ago)\nmemory",
	} {
		out.Reset()
		printStatus(&out, now, *change)
		if !strings.Contains(out.String(), want) || strings.Contains(out.String(), "at \n") {
			t.Errorf("%+v prints %q, want %q", change, out.String(), want)
		}
	}
}

func TestStatusOfNoAgentSaysHowToStartOne(t *testing.T) {
	dir := t.TempDir()
	err := command(context.Background(), []string{"status", "--state", dir}, nil, io.Discard)
	if exitCode(err) != 1 || !strings.Contains(err.Error(), "edgeagent run --state "+dir) {
		t.Errorf("got %v", err)
	}
}

func TestAnInviteMayComeOnStandardInput(t *testing.T) {
	args := []string{"join", "--state", t.TempDir()}
	for _, text := range []string{"nonsense\n", "  nonsense  ", "nonsense\nmore\n"} {
		err := command(context.Background(), args, strings.NewReader(text), io.Discard)
		if err == nil || exitCode(err) != 1 || !strings.Contains(err.Error(), "invite") {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestASignalEndsTheWaitForAnInvite(t *testing.T) {
	in, hold := io.Pipe()
	defer hold.Close()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := command(ctx, []string{"join", "--state", t.TempDir()}, in, io.Discard); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestTheProcessEndsWithTwoForWrongUsageAndOneForFailure(t *testing.T) {
	for _, c := range []struct {
		args []string
		want int
	}{
		{[]string{"version"}, 0},
		{[]string{"run", "--help"}, 0},
		{[]string{"run", "--nonsense"}, 2},
		{[]string{"run", "--state", t.TempDir()}, 1}, // has not joined
	} {
		cmd := exec.Command(os.Args[0], c.args...)
		cmd.Env = append(os.Environ(), "EDGEAGENT_TEST_MAIN=1")
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		cmd.Run()
		if got := cmd.ProcessState.ExitCode(); got != c.want {
			t.Errorf("%q ended with %d, want %d", c.args, got, c.want)
		}
		if lines := strings.Count(stderr.String(), "\n"); lines != min(c.want, 1) || c.want > 0 && !strings.HasPrefix(stderr.String(), "edgeagent: ") {
			t.Errorf("%q said %q", c.args, stderr.String())
		}
	}
}
