//go:build linux

package natlab

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// ErrNotEntered is returned by New in a process that Enter did not start.
var ErrNotEntered = errors.New("natlab: not inside namespaces: call natlab.Enter first in main or TestMain")

// packages names the Debian package of each tool.
var packages = []struct{ tool, debian string }{
	{toolIP, "iproute2"}, {toolTC, "iproute2"}, {toolNsenter, "util-linux"},
	{"sh", "dash"}, {"mount", "mount"},
}

// switches are the kernel settings that keep users from making namespaces, root as well where it needs them. A kernel need
// not have them all.
var switches = []struct {
	file, forbids, allow string
	root                 bool
}{
	{"/proc/sys/user/max_user_namespaces", "0", "user.max_user_namespaces=10000", false},
	{"/proc/sys/user/max_mnt_namespaces", "0", "user.max_mnt_namespaces=10000", true},
	{"/proc/sys/user/max_pid_namespaces", "0", "user.max_pid_namespaces=10000", true},
	{"/proc/sys/user/max_net_namespaces", "0", "user.max_net_namespaces=10000", true},
	{"/proc/sys/kernel/unprivileged_userns_clone", "0", "kernel.unprivileged_userns_clone=1", false},
	{"/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1", "kernel.apparmor_restrict_unprivileged_userns=0", false},
}

// Available returns nil if labs can be built: always so inside Enter, else if Enter would succeed. The error names the
// missing package or the kernel setting, in one line. It may be called from any process; outside it runs a shell in trial
// namespaces, which takes about 20 ms.
func Available() error {
	if inside() {
		return nil
	}
	for _, p := range packages {
		if _, err := lookTool(p.tool); err != nil {
			return fmt.Errorf("natlab: %s is missing: install package %s", p.tool, p.debian)
		}
	}
	for _, s := range switches {
		value, err := os.ReadFile(s.file)
		switch off := err == nil && strings.TrimSpace(string(value)) == s.forbids; {
		case off && s.root:
			return fmt.Errorf("natlab: this kernel allows nobody to make namespaces: sysctl -w %s", s.allow)
		case off && os.Geteuid() != 0:
			return fmt.Errorf("natlab: this kernel keeps namespaces from ordinary users: run as root, or sysctl -w %s", s.allow)
		}
	}
	return trial()
}

// trial does what prepare does, in namespaces that nobody uses.
func trial() error {
	ip, err := lookTool(toolIP)
	if err != nil {
		return err
	}
	cmd := exec.Command("sh", "-ec", `
		mount --make-rprivate /
		mount -t proc proc /proc
		mount -t tmpfs tmpfs /run
		"$1" link set lo up
		"$1" link add type veth`, "sh", ip)
	cmd.SysProcAttr = namespaces()
	cmd.SysProcAttr.Pdeathsig = 0 // it ends by itself, and the calling thread may end before
	out, err := cmd.CombinedOutput()
	if err == nil {
		return nil
	}
	if errors.Is(err, unix.ENOSPC) {
		return errors.New("natlab: this kernel allows no more namespaces: raise user.max_mnt_namespaces, user.max_pid_namespaces or user.max_net_namespaces with sysctl -w (as an ordinary user also user.max_user_namespaces), or end programs that hold some")
	}
	said := strings.Join(strings.Fields(string(out)), " ")
	if said == "" {
		said = "no output"
	}
	return fmt.Errorf("natlab: namespaces do not work here (a container needs CAP_SYS_ADMIN, an unmasked /proc and no seccomp filter on unshare): %w (%s)", err, said)
}

// Missing returns an error, in one line, that names the package this machine lacks for a router of the kind. Available does
// not ask for it: a lab of hosts needs neither. It may be called from any process.
func (k Kind) Missing() error {
	found, err := k.find()
	if err != nil {
		return err
	}
	if found.rules4 != "" || found.rules6 != "" {
		if _, err := lookTool(toolNft); err != nil {
			return errNoNft
		}
	}
	if k == Mapping {
		if _, err := lookTool(toolMap); err != nil {
			return errNoMap
		}
	}
	return nil
}

// The programs that only routers need.
var (
	errNoNft = fmt.Errorf("natlab: %s is missing: install package nftables", toolNft)
	errNoMap = fmt.Errorf("natlab: %s is missing: install package miniupnpd-nftables", toolMap)
)

// Require skips the test, with the reason, if labs are not available on this machine. Under CI=true it fails it instead,
// so that a test which silently runs nowhere is noticed. To be called from the test's goroutine.
func Require(t testing.TB) {
	t.Helper()
	err := Available()
	if err == nil && !inside() {
		err = ErrNotEntered
	}
	switch {
	case err == nil:
	case os.Getenv("CI") == "true":
		t.Fatal(err)
	default:
		t.Skip(err)
	}
}
