//go:build linux

package natlab

import (
	"errors"
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// threadNet is the network namespace of the calling thread. /proc/self would be that of the first thread.
const threadNet = "/proc/thread-self/ns/net"

// enterFlag tells nsenter(1) which namespace to enter.
const enterFlag = "--net="

// namespace is a network namespace that exists until it is closed, with or without processes in it.
type namespace struct {
	path string   // its name in /run/netns, for ip(8) and nsenter(1)
	id   string   // what its link in /proc reads: "net:[4026532281]"
	file *os.File // for setns
}

// newNamespace makes a network namespace whose lo is up and which does not solicit routers.
func newNamespace(name string) (*namespace, error) {
	ns := &namespace{path: netnsDir + "/" + name}
	mountpoint, err := os.OpenFile(ns.path, os.O_CREATE, 0o444)
	if err != nil {
		return nil, err
	}
	mountpoint.Close()
	err = onThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("unshare: %w", err)
		}
		if err := unix.Mount(threadNet, ns.path, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("mount %s: %w", ns.path, err)
		}
		if ns.id, err = os.Readlink(threadNet); err != nil {
			return err
		}
		if err := setSysctls("ipv6/conf/default/router_solicitations=0"); err != nil {
			return err
		}
		return batch(toolIP, "link set lo up")
	})
	if err == nil {
		ns.file, err = os.Open(ns.path)
	}
	if err != nil {
		unix.Unmount(ns.path, unix.MNT_DETACH)
		return nil, errors.Join(err, os.Remove(ns.path))
	}
	return ns, nil
}

// do runs f on a thread that is in the namespace.
func (ns *namespace) do(f func() error) error {
	return onThread(func() error {
		if err := unix.Setns(int(ns.file.Fd()), unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("natlab: enter %s: %w", ns.path, err)
		}
		return f()
	})
}

// close removes the namespace's name. The kernel frees it when its last process and socket are gone.
func (ns *namespace) close() error {
	return errors.Join(unix.Unmount(ns.path, unix.MNT_DETACH), os.Remove(ns.path), ns.file.Close())
}

// onThread runs f on the calling goroutine, locked to a thread whose network namespace f may change.
func onThread(f func() error) error {
	runtime.LockOSThread()
	home, err := os.Open(threadNet)
	if err != nil {
		runtime.UnlockOSThread()
		return err
	}
	defer func() {
		// A thread that cannot go back stays locked, so that it ends with its goroutine and serves no other.
		if unix.Setns(int(home.Fd()), unix.CLONE_NEWNET) == nil {
			runtime.UnlockOSThread()
		}
		home.Close()
	}()
	return f()
}
