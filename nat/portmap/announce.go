package portmap

import (
	"context"
	"net"
	"net/netip"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// hearAnnouncements listens for what a gateway tells everybody when it has lost its mappings or has another address
// (RFC 6887 section 14.1, RFC 6886 section 3.2.1). Where the port is taken, that is found out when leases are renewed. The
// function that it returns ends it.
func (r *run) hearAnnouncements() (deafen func()) {
	c, err := r.c.Listen("udp4", ":"+strconv.Itoa(announcePort))
	if err != nil {
		r.c.Log.Debug("no announcements of gateways", "error", err)
		return func() {}
	}
	go func() {
		buf := make([]byte, pcpMost+1)
		for {
			n, from, err := c.ReadFrom(buf)
			if err != nil {
				return
			}
			if !isAnnouncement(buf[:n]) {
				continue
			}
			select {
			case r.announced <- source(from):
			case <-r.work.Done():
				return
			}
		}
	}()
	return func() { c.Close() }
}

// isAnnouncement recognises PCP's and NAT-PMP's announcements: responses that nobody asked for.
func isAnnouncement(b []byte) bool {
	if p, err := parsePCP(b); err == nil {
		return p.op == opAnnounce && p.result == 0
	}
	n, err := parseNATPMP(b)
	return err == nil && n.op == opExternal && n.result == 0
}

// dialFrom returns a dialer whose connections begin at local, if that is valid.
func dialFrom(local netip.Addr) func(ctx context.Context, network, address string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		var d net.Dialer
		if local.IsValid() {
			at := netip.AddrPortFrom(local, 0)
			if d.LocalAddr = net.Addr(net.TCPAddrFromAddrPort(at)); network == "udp" {
				d.LocalAddr = net.UDPAddrFromAddrPort(at)
			}
		}
		return d.DialContext(ctx, network, address)
	}
}

// listenOn returns a function that opens sockets: those for any port on local, if that is of IPv4, which also makes them
// send to groups there; those for a certain port side by side with other programs', as RFC 6886 section 3.2.1 wants it.
func listenOn(local netip.Addr) func(network, address string) (net.PacketConn, error) {
	return func(network, address string) (net.PacketConn, error) {
		var l net.ListenConfig
		switch {
		case address != ":0":
			l.Control = func(_, _ string, c syscall.RawConn) error {
				return c.Control(func(fd uintptr) { unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEADDR, 1) })
			}
		case local.Is4():
			address = netip.AddrPortFrom(local, 0).String()
		}
		return l.ListenPacket(context.Background(), network, address)
	}
}
