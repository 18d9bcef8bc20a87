package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"

	"simplebit/rendezvous"
)

// TestMain is the command itself in a process that a test starts.
func TestMain(m *testing.M) {
	if os.Getenv("RENDEZVOUS_TEST_MAIN") != "" {
		main()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// run runs a command line; what a surrogate would be run with is returned.
func run(args ...string) (cfg rendezvous.Config, out string, err error) {
	var b bytes.Buffer
	a := app(&b, func(_ *cli.Context, c rendezvous.Config) error { cfg = c; return nil })
	err = a.RunContext(context.Background(), append([]string{"rendezvous"}, args...))
	return cfg, b.String(), err
}

func configFile(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "surrogate.yaml")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestFlagsGoBeforeVariablesAndThoseBeforeTheFile(t *testing.T) {
	file := configFile(t, "# a comment\ndata: /file\nhttp: 127.0.0.1:1\ncontrol: \":1\"\npeer: :1\nallow-private: true\ninsecure-http: true\nstun-alt: \"\"\ncontrol-tcp: \":1\"\npublic: home.example.org\nrelay-rate: 1.5M\ndht-bootstrap: [one.example.org:1, two.example.org:2]\n")
	t.Setenv("SIMPLEBIT_HTTP", "127.0.0.1:2")
	t.Setenv("SIMPLEBIT_CONTROL", ":2")
	t.Setenv("SIMPLEBIT_CONTROL_TCP", ":443")
	t.Setenv("SIMPLEBIT_INSECURE_HTTP", "false")
	got, _, err := run("serve", "--control", ":3", "--config", file)
	want := rendezvous.Config{
		Data: "/file", HTTP: "127.0.0.1:2", Control: ":3", ControlTCP: ":443", Peer: ":1", Public: []string{"home.example.org"}, AllowPrivate: true, NATSReplicas: 1, RelayRate: 3 << 19, Software: "SimpleBit dev",
		DHTBootstrap: []string{"one.example.org:1", "two.example.org:2"},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("the surrogate gets %+v, %v\nwant %+v", got, err, want)
	}
	t.Setenv("SIMPLEBIT_CONFIG", file)
	if got, _, err := run("serve"); err != nil || got.Data != "/file" {
		t.Errorf("the file named by a variable: %+v, %v", got, err)
	}
}

func TestWhereASurrogateIsReachedIsSaid(t *testing.T) {
	i := rendezvous.Info{HTTP: "127.0.0.1:8080", Control: "[::]:4433", ControlTCP: "[::]:443", Peer: "[::]:6881", InviteAddr: "192.0.2.1:4433", TokenFile: "d/admin.token"}
	want := "surrogate runs\n  API      http://127.0.0.1:8080  (token in d/admin.token)\n  devices  [::]:4433, TCP [::]:443, invited to 192.0.2.1:4433\n  peers    [::]:6881\n"
	if got := started(i); got != want {
		t.Errorf("it says\n%swant\n%s", got, want)
	}
	i.ControlTCP = ""
	if got := started(i); got != strings.Replace(want, ", TCP [::]:443", "", 1) {
		t.Errorf("without TCP it says\n%s", got)
	}
}

func TestDefaultsServeThisMachineOnly(t *testing.T) {
	got, _, err := run("serve")
	want := rendezvous.Config{Data: rendezvous.DefaultData, HTTP: "127.0.0.1:8080", Control: ":4433", STUNAlt: ":4434", Peer: ":6881", RelayRate: 256 << 10, NATSReplicas: 1, Software: "SimpleBit dev"}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("the surrogate gets %+v, %v", got, err)
	}
}

func TestTheDefaultSecondSTUNPortMakesWayForTheControlPort(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"--control", ":4434"}, ""},
		{[]string{"--control", "192.0.2.1:4434"}, ""},
		{[]string{"--config", configFile(t, "control: \":4434\"\n")}, ""},
		{[]string{"--control", ":4435"}, ":4434"},
	} {
		if got, _, err := run(append([]string{"serve"}, c.args...)...); err != nil || got.STUNAlt != c.want {
			t.Errorf("%q: the second STUN port is %q, %v, want %q", c.args, got.STUNAlt, err, c.want)
		}
	}
	for _, args := range [][]string{
		{"--control", ":4434", "--stun-alt", ":4434"}, {"--config", configFile(t, "control: \":4434\"\nstun-alt: \":4434\"\n")},
	} {
		if _, _, err := run(append([]string{"serve"}, args...)...); exitCode(err) != 2 || !strings.Contains(err.Error(), "--stun-alt") {
			t.Errorf("%q: %v", args, err)
		}
	}
}

func TestARelayRateOfZeroTurnsRelaysOff(t *testing.T) {
	if got, _, err := run("serve", "--relay-rate", "0"); err != nil || !got.NoRelay {
		t.Errorf("the surrogate gets %+v, %v", got, err)
	}
	if got, _, err := run("serve", "--relay-user-rate", "3M"); err != nil || got.RelayUserRate != 3<<20 {
		t.Errorf("the surrogate gets %+v, %v", got, err)
	}
	if _, _, err := run("serve", "--relay-user-rate", "fast"); err == nil || !strings.Contains(err.Error(), "--relay-user-rate \"fast\"") {
		t.Errorf("a wrong rate: %v", err)
	}
	t.Setenv("SIMPLEBIT_RELAY_RATE", "1M")
	if got, _, err := run("serve"); err != nil || got.NoRelay || got.RelayRate != 1<<20 {
		t.Errorf("the surrogate gets %+v, %v", got, err)
	}
}

func TestAnEmptyConfigurationFileChangesNothing(t *testing.T) {
	for _, text := range []string{"", "# nothing\n", "{}"} {
		if got, _, err := run("serve", "--config", configFile(t, text)); err != nil || got.HTTP != "127.0.0.1:8080" {
			t.Errorf("%q: %+v, %v", text, got, err)
		}
	}
}

func TestWhatIsWrittenWronglyIsAUsageErrorThatNamesIt(t *testing.T) {
	file := func(text string) string { return configFile(t, text) }
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"frobnicate"}, `"frobnicate"`},
		{[]string{"--nonsense"}, "nonsense"},
		{[]string{"serve", "--nonsense"}, "nonsense"},
		{[]string{"serve", "here"}, `"here"`},
		{[]string{"invite", "attic"}, `"attic"`},
		{[]string{"backup"}, "FILE is missing"},
		{[]string{"backup", "a", "b"}, `"b"`},
		{[]string{"restore"}, "FILE is missing"},
		{[]string{"restore", "--nats-replicas", "many", "a"}, "nats-replicas"},
		{[]string{"serve", "--relay-rate", "256 parsecs"}, `--relay-rate "256 parsecs": want`},
		{[]string{"serve", "--config", "/does/not/exist"}, "/does/not/exist"},
		{[]string{"serve", "--config", file("http: 127.0.0.1:1\nallow_private: true\n")}, `line 2: unknown key "allow_private"`},
		{[]string{"serve", "--config", file("config: other.yaml\n")}, `unknown key "config"`},
		{[]string{"serve", "--config", file("help: true\n")}, `unknown key "help"`},
		{[]string{"serve", "--config", file("http: [a, b]\n")}, "line 1: http"},
		{[]string{"serve", "--config", file("http:\n")}, "line 1: http"},
		{[]string{"serve", "--config", file("dht-bootstrap:\n  - a:1\n  - [b:1]\n")}, "line 3: dht-bootstrap"},
		{[]string{"serve", "--config", file("allow-private: perhaps\n")}, "allow-private"},
		{[]string{"serve", "--config", file("- http\n")}, "key: value"},
		{[]string{"serve", "--config", file("http: a\nhttp: b\n")}, "already defined"},
		{[]string{"serve", "--config", file("\tx")}, "key: value"},
	} {
		_, out, err := run(c.args...)
		if exitCode(err) != 2 || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") || out != "" {
			t.Errorf("%q: %v (exit %d, printed %q), want exit 2 and %q", c.args, err, exitCode(err), out, c.want)
		}
	}
	t.Setenv("SIMPLEBIT_ALLOW_PRIVATE", "perhaps")
	if _, _, err := run("serve"); exitCode(err) != 2 || !strings.Contains(err.Error(), "SIMPLEBIT_ALLOW_PRIVATE") {
		t.Errorf("a bad variable: %v", err)
	}
}

func TestHelpListsCommandsAndFlags(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string
	}{
		{nil, "invite"},
		{[]string{"--help"}, "invite"},
		{[]string{"serve", "--help"}, "--allow-private"},
		{[]string{"--version"}, version},
	} {
		if _, out, err := run(c.args...); err != nil || !strings.Contains(out, c.want) {
			t.Errorf("%q prints %q, %v", c.args, out, err)
		}
	}
}

func TestAnInviteWithoutASurrogateSaysHowToStartOne(t *testing.T) {
	dir := t.TempDir()
	for range 2 { // without a socket, and with that of a surrogate that was killed
		_, _, err := run("invite", "--data", dir)
		if exitCode(err) != 1 || !strings.Contains(err.Error(), "rendezvous serve --data "+dir) {
			t.Errorf("got %v", err)
		}
		deadSocket(t, rendezvous.AdminSocket(dir))
	}
}

func TestTheProcessEndsWithTwoForWrongUsageAndOneForFailure(t *testing.T) {
	for _, c := range []struct {
		args []string
		want int
	}{
		{[]string{"--version"}, 0},
		{[]string{"serve", "--nonsense"}, 2},
		{[]string{"frobnicate"}, 2},
		{[]string{"serve", "--data", t.TempDir(), "--http", ":0"}, 2}, // insecure
		{[]string{"serve", "--data", "/dev/null/data"}, 1},
		{[]string{"invite", "--data", t.TempDir()}, 1},
	} {
		cmd := exec.Command(os.Args[0], c.args...)
		cmd.Env = append(os.Environ(), "RENDEZVOUS_TEST_MAIN=1")
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		cmd.Run()
		if got := cmd.ProcessState.ExitCode(); got != c.want {
			t.Errorf("%q ended with %d, want %d", c.args, got, c.want)
		}
		if lines := strings.Count(stderr.String(), "\n"); lines != min(c.want, 1) || c.want > 0 && !strings.HasPrefix(stderr.String(), "rendezvous: ") {
			t.Errorf("%q said %q", c.args, stderr.String())
		}
	}
}

// deadSocket leaves a socket behind that nobody listens on.
func deadSocket(t *testing.T, name string) {
	t.Helper()
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: name, Net: "unix"})
	if err != nil {
		t.Log(err) // it is there already
		return
	}
	ln.SetUnlinkOnClose(false)
	ln.Close()
}

func TestABackupComesBackByTheCommandLine(t *testing.T) {
	// Options may come before and after the file.
	file, data := t.TempDir()+"/backup", t.TempDir()
	for _, args := range [][]string{
		{"backup", file, "--data", data + "/none"},
		{"backup", "--data=" + data + "/none", file},
		{"restore", file, "--data", data},
		{"backup", file, "--nats", "nats://127.0.0.1:1"},
		{"restore", file, "--nats", "nats://127.0.0.1:1"},
	} {
		_, out, err := run(flagsFirst(append([]string{"rendezvous"}, args...))[1:]...)
		if exitCode(err) != 1 || out != "" || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q printed %q, %v", args, out, err)
		}
	}
	const one = "{\"simplebit\":\"backup\",\"version\":1,\"created\":\"2026-11-22T12:00:00Z\"}\n{\"table\":\"jobs\",\"key\":\"a\",\"value\":{}}\n"
	end := fmt.Sprintf("{\"end\":{\"records\":1,\"blobs\":0,\"sha256\":\"%x\"}}\n", sha256.Sum256([]byte(one)))
	if err := os.WriteFile(file, []byte(one+end), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"restore", file, "--data", data}, "restored from " + file + ": records 1, info dictionaries 0; next: `rendezvous serve` with the same --data or --nats\n"},
		{[]string{"backup", "--data", data, file}, "written to " + file + ": records 1, info dictionaries 0; it holds private keys: keep it safe\n"},
	} {
		if _, out, err := run(flagsFirst(append([]string{"rendezvous"}, c.args...))[1:]...); err != nil || out != c.want {
			t.Errorf("%q printed %q, %v", c.args, out, err)
		}
	}
}

func TestOptionsMayComeAfterTheFile(t *testing.T) {
	for line, want := range map[string]string{
		"x":                               "x",
		"x serve --http a":                "x serve --http a",
		"x backup f --data d":             "x backup --data d f",
		"x backup --data d f":             "x backup --data d f",
		"x backup f --data=d -h":          "x backup --data=d -h f",
		"x restore f --nats u g":          "x restore --nats u f g",
		"x backup f --data":               "x backup --data f",
		"x backup -- -f --data d":         "x backup -- -f --data d",
		"x restore --nats-creds c - ":     "x restore --nats-creds c -",
		"x backup --help f":               "x backup --help f",
		"x backup f -- --nats":            "x backup -- f --nats",
		"x restore f --nats-replicas 3":   "x restore --nats-replicas 3 f",
		"x invite f --data d":             "x invite f --data d",
		"x backup --data d --nats=u f -h": "x backup --data d --nats=u -h f",
	} {
		if got := flagsFirst(strings.Fields(line)); !slices.Equal(got, strings.Fields(want)) {
			t.Errorf("%s becomes %q, want %s", line, got, want)
		}
	}
}
