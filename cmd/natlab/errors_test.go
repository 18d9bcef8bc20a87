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
		{"run --nat none --loss 101 -- true", "--loss 101"},
		{"run --nat none --loss NaN -- true", "--loss NaN"},
		{"run --nat none --latency 11s -- true", "--latency 11s"},
		{"run --nat none --latency -1s -- true", "--latency -1s"},
		{"run --nat none --latency 20 -- true", `"20"`},
		{"run --nat none --udp-timeout 1ms -- true", "--udp-timeout 1ms"},
		{"run --nat none --rate 3X -- true", `--rate "3X"`},
		{"run --nat none --rate -1K -- true", `--rate "-1K"`},
		{"run --nat none@server -- true", `carrier "server"`},
		{"run --nat none@ -- true", `carrier ""`},
		{"run --nat mapping@isp -- true", "miniupnpd opens no ports"},
		{"run --frobnicate -- true", "frobnicate"},
		{"shell --nat none sh", `"sh" is one argument too many`},
		{"list foo", `"foo" is one argument too many`},
		{"classify foo", `no NAT of kind "foo"`},
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

func TestTheSwitchAgainstUserNamespacesIsNamed(t *testing.T) {
	if os.Geteuid() != 0 {
		return // only root can pretend that it is off; natlab's own tests have the rest
	}
	exe, off := program(t), filepath.Join(openDir(t), "off")
	if err := os.WriteFile(off, []byte("0\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	by := []string{"unshare", "--mount", "--", "sh", "-c", `mount --bind "$1" /proc/sys/user/max_user_namespaces && shift && exec setpriv --reuid=65534 --regid=65534 --clear-groups -- "$@"`, "sh", off}
	usage(t, finish(t, command(t, exe, by, "run", "--nat", "none", "--", "true")), "sysctl -w user.max_user_namespaces=10000")
}

func TestRatesAreReadInBinaryUnits(t *testing.T) {
	for text, want := range map[string]int64{"": 0, "4096": 4096, "500K": 500 << 10, "1.5M": 3 << 19, "2MiB": 2 << 20, "1G": 1 << 30} {
		if got, err := parseRate(text); err != nil || got != want {
			t.Errorf("%q is %d, %v, want %d", text, got, err, want)
		}
	}
}
