//go:build linux

package natlab

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// machine is a network namespace with a link towards the internet.
type machine struct {
	name string
	near end // the machine's own
	far  end // the core's, or that of the carrier or home it belongs to
	log  *slog.Logger

	behind *machine   // the router or carrier that the far end belongs to; nil: the core
	core   *forwarder // the core at the far end, where it is one of this process
}

// Host is one machine of a lab: a network namespace with one interface, eth0, beside lo. It shares the file system with
// this process. Its methods may be called from any goroutine until the lab is closed.
type Host struct{ *machine }

// Name returns the machine's name in its lab.
func (m *machine) Name() string { return m.name }

// Addr returns the host's IPv4 address. It is the zero one in a home that has only IPv6.
func (h *Host) Addr() netip.Addr { return h.near.addr }

// Addr6 returns the host's IPv6 address. It is the zero one in a home that has only IPv4.
func (h *Host) Addr6() netip.Addr { return h.near.addr6 }

// Command returns a command that runs the named program on this machine, as exec.CommandContext does for the one this process is on: the
// caller sets its folder, environment and files and starts it, from any goroutine. It has a process group of its own, so
// that Ctrl-C reaches this process only; when ctx ends the whole group is killed, and Wait returns at most two seconds later. It
// also ends with the lab, as do processes that it leaves behind.
func (m *machine) Command(ctx context.Context, name string, args ...string) *exec.Cmd {
	nsenter, err := lookTool(toolNsenter)
	path, errProgram := lookTool(name)
	if err == nil {
		err = errProgram
	}
	cmd := exec.CommandContext(ctx, nsenter, append([]string{enterFlag + m.near.ns.path, "--", path}, args...)...)
	cmd.Err = err
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return unix.Kill(-cmd.Process.Pid, unix.SIGKILL) }
	cmd.WaitDelay = 2 * time.Second
	return cmd
}

// Do runs f on the calling goroutine while its thread is on this machine: sockets that f opens are the machine's, and stay so
// wherever they are used later. The same goes for processes that f starts.
//
// Goroutines that f starts run on other threads, not on the machine. So an http.Server may serve a listener made in Do, but an
// http.Client needs DialContext, and f must not resolve names or dial several addresses at once.
func (m *machine) Do(f func() error) error { return m.near.ns.do(f) }

// Listen is net.Listen on this machine. An address such as ":0" covers all of the machine's addresses.
func (m *machine) Listen(network, address string) (ln net.Listener, err error) {
	err = m.Do(func() error {
		ln, err = net.Listen(network, address)
		return err
	})
	return ln, err
}

// ListenPacket is net.ListenPacket on this machine.
func (m *machine) ListenPacket(network, address string) (pc net.PacketConn, err error) {
	err = m.Do(func() error {
		pc, err = net.ListenPacket(network, address)
		return err
	})
	return pc, err
}

// DialContext connects from this machine. The address holds an IP address and a port number: there are no names in a lab.
// It fits http.Transport.DialContext.
func (m *machine) DialContext(ctx context.Context, network, address string) (c net.Conn, err error) {
	// A name would be resolved by another thread, outside the lab.
	if _, err := netip.ParseAddrPort(address); err != nil {
		return nil, &net.OpError{Op: "dial", Net: network, Err: err}
	}
	err = m.Do(func() error {
		var d net.Dialer
		c, err = d.DialContext(ctx, network, address)
		return err
	})
	return c, err
}

// Listens reports whether some program on this machine waits for TCP connections or UDP datagrams.
func (m *machine) Listens() (bool, error) {
	for _, file := range []string{"tcp", "tcp6", "udp", "udp6"} {
		var table []byte
		err := m.Do(func() (err error) {
			table, err = os.ReadFile("/proc/thread-self/net/" + file)
			return err
		})
		if err != nil {
			return false, err
		}
		// State 0A is LISTEN, and 07 what UDP has until it is connected.
		for line := range strings.Lines(string(table)) {
			if fields := strings.Fields(line); len(fields) > 3 && (fields[3] == "0A" || fields[3] == "07") {
				return true, nil
			}
		}
	}
	return false, nil
}
