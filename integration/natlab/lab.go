//go:build linux

package natlab

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// maxHosts is the number of /24 networks in 198.18.0.0/15 without the first and the last.
const maxHosts = 510

// killWait bounds how long Close waits for killed processes to be gone.
const killWait = 5 * time.Second

// Config describes a lab. The zero value works.
type Config struct {
	// Name begins the names under which `ip netns` shows the lab's namespaces, to tell labs apart while debugging. It is
	// followed by digits that make it unique. Lower-case letters, digits and dashes, at most 12. Default "lab".
	Name string
	// Log receives, at debug level, every batch of commands given to ip and tc. Default: nothing is logged.
	Log *slog.Logger
}

// Lab is a network of its own: a core router and the hosts around it. Labs of one process do not see each other. New,
// Host and Close are called from one goroutine at a time; the hosts' methods from any.
type Lab struct {
	name  string
	log   *slog.Logger
	core  *namespace
	hosts []*Host
}

// New makes a lab that has a core router and no hosts yet. It returns ErrNotEntered outside Enter.
func New(c Config) (*Lab, error) {
	if !inside() {
		return nil, ErrNotEntered
	}
	if c.Name == "" {
		c.Name = "lab"
	}
	if err := checkName(c.Name); err != nil {
		return nil, err
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	f, err := os.CreateTemp(netnsDir, c.Name+"-*")
	if err != nil {
		return nil, fmt.Errorf("natlab: name a lab: %w", err)
	}
	f.Close()
	l := &Lab{name: filepath.Base(f.Name()), log: c.Log}
	l.core, err = newNamespace(l.name)
	if err != nil {
		return nil, fmt.Errorf("natlab: make the core router: %w", err)
	}
	err = l.core.do(func() error {
		return setSysctls("ipv4/ip_forward=1", "ipv6/conf/all/forwarding=1")
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("natlab: set up the core router: %w", err), l.core.close())
	}
	return l, nil
}

// Close kills every process on the lab's hosts and removes its namespaces and links. Sockets that this process holds on
// a host lose their network, but have to be closed by their owners. The lab and its hosts cannot be used afterwards;
// closing it again does nothing.
func (l *Lab) Close() error {
	if l.core == nil {
		return nil
	}
	spaces := []*namespace{l.core}
	for _, h := range l.hosts {
		spaces = append(spaces, h.near.ns)
	}
	l.core, l.hosts = nil, nil
	errs := []error{killAll(spaces)}
	for _, ns := range spaces {
		errs = append(errs, ns.close())
	}
	return errors.Join(errs...)
}

// Host adds a host to the lab: the n-th one gets 198.18.n.2/24 and 2001:db8:0:n::2/64 (n counts on into 198.19), a lo
// that is up and default routes through the core. Names are unique in a lab, 1 to 12 lower-case letters, digits and
// dashes. A lab holds up to 510 hosts; each takes about 20 ms.
func (l *Lab) Host(name string) (*Host, error) {
	if l.core == nil {
		return nil, fmt.Errorf("natlab: host %s: lab %s is closed", name, l.name)
	}
	if err := checkName(name); err != nil {
		return nil, err
	}
	if slices.ContainsFunc(l.hosts, func(h *Host) bool { return h.name == name }) {
		return nil, fmt.Errorf("natlab: lab %s already has a host %s", l.name, name)
	}
	n := len(l.hosts) + 1
	if n > maxHosts {
		return nil, fmt.Errorf("natlab: lab %s is full: %d hosts", l.name, maxHosts)
	}
	ns, err := newNamespace(l.name + "-" + name)
	if err != nil {
		return nil, fmt.Errorf("natlab: make host %s: %w", name, err)
	}
	h := &Host{name: name, near: newEnd(ns, "eth0", n, 2), far: newEnd(l.core, "to-"+name, n, 1), log: l.log}
	if err := h.connect(n); err != nil {
		return nil, errors.Join(fmt.Errorf("natlab: connect host %s: %w", name, err), ns.close())
	}
	l.hosts = append(l.hosts, h)
	return h, nil
}

// checkName keeps names short enough for an interface ("to-" and 12 bytes) and harmless in a batch of commands.
func checkName(name string) error {
	if len(name) < 1 || len(name) > 12 || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" || name[0] == '-' {
		return fmt.Errorf("natlab: name %q: want 1 to 12 lower-case letters, digits and dashes", name)
	}
	return nil
}

// batch runs ip or tc once, in the calling thread's network namespace, on the given commands.
func batch(tool string, commands ...string) error {
	path, err := lookTool(tool)
	if err != nil {
		return err
	}
	cmd := exec.Command(path, "-batch", "-")
	cmd.Stdin = strings.NewReader(strings.Join(commands, "\n") + "\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(commands, "; "), err, strings.Join(strings.Fields(string(out)), " "))
	}
	return nil
}

// setSysctls sets entries ("ipv4/ip_forward=1") of /proc/sys/net in the calling thread's network namespace.
func setSysctls(entries ...string) error {
	for _, e := range entries {
		name, value, _ := strings.Cut(e, "=")
		if err := os.WriteFile("/proc/sys/net/"+name, []byte(value), 0); err != nil {
			return err
		}
	}
	return nil
}

// killAll kills every process but this one whose network is one of the given, and waits until they are gone.
func killAll(spaces []*namespace) error {
	doomed := make(map[string]bool, len(spaces))
	for _, ns := range spaces {
		doomed[ns.id] = true
	}
	for deadline := time.Now().Add(killWait); ; time.Sleep(5 * time.Millisecond) {
		left, err := processesIn(doomed)
		if err != nil || len(left) == 0 {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("natlab: processes %v do not die", left)
		}
		for _, pid := range left {
			unix.Kill(pid, unix.SIGKILL)
		}
	}
}

// processesIn lists the processes in the given network namespaces, without this one. Zombies are in none.
func processesIn(spaces map[string]bool) (pids []int, err error) {
	proc, err := os.Open("/proc")
	if err != nil {
		return nil, err
	}
	defer proc.Close()
	for {
		names, err := proc.Readdirnames(256)
		for _, name := range names {
			pid, notNumber := strconv.Atoi(name)
			if notNumber != nil || pid == os.Getpid() {
				continue
			}
			// A process that has just ended has no link: it needs no killing.
			if id, gone := os.Readlink("/proc/" + name + "/ns/net"); gone == nil && spaces[id] {
				pids = append(pids, pid)
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			return pids, nil
		case err != nil:
			return nil, err
		}
	}
}
