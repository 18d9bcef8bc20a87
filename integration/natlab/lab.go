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
const killWait = 30 * time.Second

// Config describes a lab. The zero value works.
type Config struct {
	// Name begins the names under which `ip netns` shows the lab's namespaces, to tell labs apart while debugging. It is
	// followed by digits that make it unique. Lower-case letters, digits and dashes, at most 12. Default "lab".
	Name string
	// Core makes the core a router that delays and loses packets. Default: the kernel forwards them at once.
	Core *CoreConfig
	// Log receives, at debug level, every batch of commands given to ip and tc. Default: nothing is logged.
	Log *slog.Logger
}

// Lab is a network of its own: a core router and the hosts, homes and carriers around it. Labs of one process do not see
// each other. New, Close and what adds a machine (Host, Router, Carrier, Router.Host) are called from one goroutine at a
// time; the machines' other methods from any.
type Lab struct {
	name     string
	log      *slog.Logger
	core     *namespace
	names    []string
	numbers  int // given to machines and networks so far
	homes    int
	spaces   []*namespace // of the machines, without the core's
	gateways []*gateway

	forwarder *forwarder // nil: the kernel
	own       addresses  // of the core
	links     []*machine // of the machines around the core
	wire      bool       // their links have no offloads
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
	if c.Core != nil {
		if err := c.Core.check(); err != nil {
			return nil, err
		}
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
	if c.Core != nil {
		l.wire = true
		l.forwarder, err = newForwarder(l.core, *c.Core, &l.own)
	} else {
		err = l.core.do(func() error {
			return setSysctls("ipv4/ip_forward=1", "ipv6/conf/all/forwarding=1")
		})
	}
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
	spaces := append(l.spaces, l.core)
	gateways := l.gateways
	l.core, l.spaces, l.gateways = nil, nil, nil
	errs := []error{killAll(spaces)}
	if l.forwarder != nil {
		errs = append(errs, l.forwarder.close())
	}
	for _, g := range gateways {
		if g.daemon != nil {
			errs = append(errs, g.daemon.stop())
		}
	}
	for _, ns := range spaces {
		errs = append(errs, ns.close())
	}
	return errors.Join(errs...)
}

// Host adds a host to the lab: the n-th machine around the core gets 198.18.n.2/24 and 2001:db8:0:n::2/64 (n counts on
// into 198.19), a lo that is up and default routes through the core. Names are unique in a lab, 1 to 12 lower-case
// letters, digits and dashes. A lab holds up to 510 machines; each takes about 20 ms.
func (l *Lab) Host(name string) (*Host, error) {
	n, err := l.claim(name)
	if err != nil {
		return nil, err
	}
	near, far := newEnd("eth0", n, 2), newEnd("to-"+name, n, 1)
	far.ns = l.core
	m, err := l.machine(name, n, near, far, far)
	if err != nil {
		return nil, err
	}
	return &Host{m}, nil
}

// claim takes a name for a new machine around the core and gives it a number, from 1.
func (l *Lab) claim(name string) (n int, err error) {
	if err := l.claimName(name); err != nil {
		return 0, err
	}
	return l.number()
}

// claimName takes a name for a new machine.
func (l *Lab) claimName(name string) error {
	if l.core == nil {
		return fmt.Errorf("natlab: %s: lab %s is closed", name, l.name)
	}
	if err := checkName(name); err != nil {
		return err
	}
	if slices.Contains(l.names, name) {
		return fmt.Errorf("natlab: lab %s already has a machine %s", l.name, name)
	}
	l.names = append(l.names, name)
	return nil
}

// number returns the next number for a machine or a network.
func (l *Lab) number() (int, error) {
	if l.numbers == maxHosts {
		return 0, fmt.Errorf("natlab: lab %s is full: %d machines", l.name, maxHosts)
	}
	l.numbers++
	return l.numbers, nil
}

// machine makes a machine with a namespace of its own, which has the near end, and connects it to the far end. Its default
// routes lead to the gateway, which for a device in a home is not the far end.
func (l *Lab) machine(name string, n int, near, far, gateway end) (*machine, error) {
	var err error
	if near.ns, err = newNamespace(l.name + "-" + name); err != nil {
		return nil, fmt.Errorf("natlab: make %s: %w", name, err)
	}
	m := &machine{name: name, near: near, far: far, log: l.log}
	err = m.connect(n, gateway)
	if err == nil && far.ns == l.core {
		err = l.surround(m)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("natlab: connect %s: %w", name, err), near.ns.close())
	}
	l.spaces = append(l.spaces, near.ns)
	return m, nil
}

// surround tells the core of a machine that is connected to it.
func (l *Lab) surround(m *machine) error {
	l.own.add(m.far.addr, m.far.addr6)
	l.links = append(l.links, m)
	if l.wire {
		if err := m.plain(); err != nil {
			return err
		}
	}
	if l.forwarder == nil {
		return nil
	}
	m.core = l.forwarder
	return m.core.attach(m)
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
	doomed := make(map[string]bool, 2*len(spaces))
	for _, ns := range spaces {
		doomed[ns.id] = true
		doomed[enterFlag+ns.path] = true
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

// processesIn lists the processes in the given network namespaces, or about to enter them, without this one. Zombies are
// in none.
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
			// A process that Command has just started may still be on its way, with its goal as first argument.
			if line, gone := os.ReadFile("/proc/" + name + "/cmdline"); gone == nil {
				if arguments := strings.Split(string(line), "\x00"); len(arguments) > 1 && spaces[arguments[1]] {
					pids = append(pids, pid)
					continue
				}
			}
			// One that has just ended has no link: it needs no killing.
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
