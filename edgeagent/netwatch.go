package edgeagent

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// pollNetwork is how often the network is looked at where the kernel does not tell of changes.
	pollNetwork = time.Minute
	// restTime is between two readings: a router with many routes has always something to tell.
	restTime = 100 * time.Millisecond
)

// watchNotices calls stirred whenever links, addresses or routes may have changed, until ctx ends: when the kernel says so, or,
// where it does not, once a minute.
func watchNotices(ctx context.Context, open func() (*os.File, error), log *slog.Logger, stirred func()) {
	for {
		f, err := open()
		if err == nil {
			err = readNotices(ctx, f, stirred)
		}
		if ctx.Err() != nil {
			return
		}
		log.Debug("the kernel does not tell of changes of the network", "err", err)
		select {
		case <-time.After(pollNetwork):
			stirred()
		case <-ctx.Done():
			return
		}
	}
}

// readNotices reads what the kernel tells, until ctx ends or it fails. What is in there does not matter: whoever is told looks
// for himself, and nobody else's words are believed.
func readNotices(ctx context.Context, f *os.File, stirred func()) error {
	defer f.Close()
	stop := context.AfterFunc(ctx, func() { f.Close() })
	defer stop()
	buf := make([]byte, 4096)
	for {
		// With no room for all that it had to tell, the kernel fails one reading.
		if _, err := f.Read(buf); err != nil && !errors.Is(err, unix.ENOBUFS) {
			return err
		}
		stirred()
		select {
		case <-time.After(restTime):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// openNotices opens a socket for rtnetlink's notices (rtnetlink(7)).
func openNotices() (*os.File, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	err = unix.Bind(fd, &unix.SockaddrNetlink{
		Family: unix.AF_NETLINK,
		Groups: unix.RTMGRP_LINK | unix.RTMGRP_IPV4_IFADDR | unix.RTMGRP_IPV4_ROUTE | unix.RTMGRP_IPV6_IFADDR | unix.RTMGRP_IPV6_ROUTE,
	})
	if err != nil {
		unix.Close(fd)
		return nil, os.NewSyscallError("bind", err)
	}
	return os.NewFile(uintptr(fd), "netlink"), nil
}
