package utp

import (
	"net"
	"testing"

	"golang.org/x/net/nettest"
)

func TestConnIsWhatPackageNetPromises(t *testing.T) {
	from, to := newEndpoint(t, Config{}), newEndpoint(t, Config{})
	nettest.TestConn(t, func() (net.Conn, net.Conn, func(), error) {
		a, b := dialBetween(t, from, to, to.Addr().String())
		return a, b, func() { a.Close(); b.Close() }, nil
	})
}
