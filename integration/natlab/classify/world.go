package classify

import (
	"context"
	"net/netip"
	"time"
)

// servers is how many there are: two addresses with two ports each.
const servers = 4

// World is a device behind a NAT, and servers on the internet that answer questions as respond does.
type World interface {
	// Servers returns where they are: two ports of one address, then the same ports of the other.
	Servers() [servers]netip.AddrPort
	// Outside returns the address outside of the home's router, as it would itself tell: the zero one if it translates none.
	Outside() netip.Addr
	// Gateway returns the router's IPv4 address in the home: the zero one if the home is judged by IPv6.
	Gateway() netip.Addr
	// Open opens a socket on the device.
	Open() (Socket, error)
	// OpenNext opens one on a device of another home behind the same carrier, whose router is a full cone: nil if there is
	// no such home.
	OpenNext() (Socket, error)
	// Sleep lets time pass.
	Sleep(ctx context.Context, d time.Duration) error
}

// Socket is a UDP socket of the device.
type Socket interface {
	// Local is the socket's own address, which is not unspecified.
	Local() netip.AddrPort
	// Send sends one datagram. What is lost is no error.
	Send(to netip.AddrPort, b []byte) error
	// Receive waits for a datagram up to that long. None came is no error, and not ok.
	Receive(ctx context.Context, wait time.Duration) (from netip.AddrPort, b []byte, ok bool, err error)
	Close() error
}
