//go:build linux

package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// usage checks a run that the caller can do something about: one line says what, and nothing else happens.
func usage(t *testing.T, r result, want string) {
	t.Helper()
	if r.code != 2 || r.stdout != "" || strings.Count(r.stderr, "\n") != 1 || !strings.HasPrefix(r.stderr, "natlab: ") || !strings.Contains(r.stderr, want) {
		t.Errorf("got %+v, want status 2 and a line with %q", r, want)
	}
}

func TestMistakesAreOneLineAndStatusTwo(t *testing.T) {
	exe := program(t)
	many := slices.Repeat([]string{"--nat", "none"}, 300)
	for _, c := range []struct {
		args string
		want string
	}{
		{"run --nat foo -- true", `no NAT of kind "foo"`},
		{"run --nat none", "no program to run"},
		{"run --nat none --", "no program to run"},
		{"run -- true", "no home"},
		{"shell", "no home"},
		{"run " + strings.Join(many, " ") + " -- true", "300 homes are too many"},
		{"run --nat none -- no-such-program", `no program "no-such-program"`},
		{"run --nat none --pcap /nonexistent/x.pcap -- true", "/nonexistent/x.pcap: no such file or directory"},
		{"run --nat none --pcap / -- true", "is a directory"},
		{"run --nat none --pcap /run/x.pcap -- true", "choose another folder"},
		{"run --nat none --loss 101 -- true", `--loss "101": want 0 to 100 percent`},
		{"run --nat none --loss NaN -- true", `--loss "NaN": want 0 to 100 percent`},
		{"run --nat none --loss much -- true", `--loss "much": want 0 to 100 percent`},
		{"run --nat none --latency 11s -- true", `--latency "11s": want 0s to 10s`},
		{"run --nat none --latency -1s -- true", `--latency "-1s": want 0s to 10s`},
		{"run --nat none --latency 20 -- true", `--latency "20": want 0s to 10s, as 20ms`},
		{"run --nat none --udp-timeout 1ms -- true", `--udp-timeout "1ms": want whole seconds from 1s to 24h`},
		{"run --nat none --udp-timeout 1.5s -- true", `--udp-timeout "1.5s": want whole seconds`},
		{"run --nat none --udp-timeout 25h -- true", "from 1s to 24h"},
		{"run --nat none --udp-timeout 99999999h -- true", "from 1s to 24h"},
		{"run --nat none --udp-timeout 30 -- true", "want whole seconds from 1s to 24h, as 30s"},
		{"run --nat none --rate 3X -- true", `--rate "3X"`},
		{"run --nat none --rate -1K -- true", `--rate "-1K"`},
		{"run --nat none@server -- true", `carrier "server"`},
		{"run --nat none@ -- true", `carrier ""`},
		{"run --nat mapping@isp -- true", "miniupnpd opens no ports"},
		{"run --nat none --pcap= -- true", "--pcap: the value is empty"},
		{"run --nat none --server= -- true", "--server: the value is empty"},
		{"run --nat none --rate= -- true", "--rate: the value is empty"},
		{"run --nat= -- true", `no NAT of kind ""`},
		{"matrix --pairs=", "--pairs: the value is empty"},
		{"matrix --json=", "--json: the value is empty"},
		{"run --frobnicate -- true", "frobnicate"},
		{"shell --nat none sh", `"sh" is one argument too many`},
		{"list foo", `"foo" is one argument too many`},
		{"classify foo", `no NAT of kind "foo"`},
		{"classify foo@isp", `no NAT of kind "foo@isp"`},
		{"classify symmetric@isp", "symmetric@isp: carriers are classified by themselves: want symmetric, and cgnat or cgnat-hairpin for the carrier"},
		{"frobnicate", `no command "frobnicate"`},
	} {
		usage(t, finish(t, command(t, exe, nil, strings.Fields(c.args)...)), c.want)
	}
}

// masked runs natlab where something of the machine is hidden behind another file.
func masked(t *testing.T, exe, file, by string, args ...string) result {
	t.Helper()
	hide := []string{"unshare", "--map-root-user", "--mount", "--", "sh", "-c", `mount --bind "$1" "$2" && shift 2 && exec "$@"`, "sh", by, file}
	if os.Geteuid() == 0 {
		hide = slices.Delete(hide, 1, 2)
	}
	return finish(t, command(t, exe, hide, args...))
}

func TestWhatTheMachineLacksIsNamed(t *testing.T) {
	exe := program(t)
	const nft = "/usr/sbin/nft"
	usage(t, masked(t, exe, nft, "/dev/null", "run", "--nat", "symmetric", "--", "true"), "install package nftables")
	usage(t, masked(t, exe, nft, "/dev/null", "classify"), "install package nftables")
	if r := masked(t, exe, nft, "/dev/null", "list"); r.code != 0 || !strings.Contains(r.stdout, "(nft is missing: install package nftables)") {
		t.Errorf("list: %+v", r)
	}
	// Hosts alone need no rules.
	if r := masked(t, exe, nft, "/dev/null", "run", "--nat", "none", "--", "true"); r.code != 0 {
		t.Errorf("a home without a NAT: %+v", r)
	}
	usage(t, masked(t, exe, "/usr/sbin/miniupnpd", "/dev/null", "run", "--nat", "mapping", "--", "true"), "install package miniupnpd-nftables")
}

func TestTheSwitchAgainstEachNamespaceIsNamed(t *testing.T) {
	if os.Geteuid() != 0 {
		return // only root can pretend that it is off; natlab's own tests have the rest
	}
	exe, off := program(t), filepath.Join(openDir(t), "off")
	if err := os.WriteFile(off, []byte("0\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, kind := range []string{"user", "net", "mnt", "pid"} {
		name := "max_" + kind + "_namespaces"
		by := []string{"unshare", "--mount", "--", "sh", "-c",
			`mount --bind "$1" "$2" && shift 2 && exec setpriv --reuid=65534 --regid=65534 --clear-groups -- "$@"`, "sh", off, "/proc/sys/user/" + name}
		usage(t, finish(t, command(t, exe, by, "run", "--nat", "none", "--", "true")), "sysctl -w user."+name+"=10000")
	}
}

// noMore lets users of a new user namespace make no more namespaces of the kind, for real.
func noMore(kind string) []string {
	return []string{"unshare", "--user", "--map-root-user", "--", "sh", "-c",
		`echo 0 >/proc/sys/user/max_` + kind + `_namespaces && exec "$@"`, "sh"}
}

func TestTheSwitchIsNamedToRootToo(t *testing.T) {
	exe := program(t)
	for _, kind := range []string{"net", "mnt", "pid"} {
		r := finish(t, command(t, exe, noMore(kind), "run", "--nat", "none", "--", "true"))
		usage(t, r, "sysctl -w user.max_"+kind+"_namespaces=10000")
		if strings.Contains(r.stderr, "run as root") {
			t.Errorf("root is told %q", r.stderr)
		}
	}
}

func TestALimitThatIsUsedUpIsNamed(t *testing.T) {
	by := []string{"unshare", "--user", "--map-root-user", "--net", "--", "sh", "-c", `echo 1 >/proc/sys/user/max_net_namespaces && exec "$@"`, "sh"}
	usage(t, finish(t, command(t, program(t), by, "run", "--nat", "none", "--", "true")), "raise user.max_mnt_namespaces, user.max_pid_namespaces or user.max_net_namespaces")
}

func TestRatesAreReadInBinaryUnits(t *testing.T) {
	for text, want := range map[string]int64{"": 0, "4096": 4096, "500K": 500 << 10, "1.5M": 3 << 19, "2MiB": 2 << 20, "1G": 1 << 30} {
		if got, err := parseRate(text); err != nil || got != want {
			t.Errorf("%q is %d, %v, want %d", text, got, err, want)
		}
	}
}
