package udpmux

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"syscall"
)

// numberTries is how many port numbers are tried where any will do.
const numberTries = 8

// BesideTCP listens in TCP at address, HOST:PORT, and has open take the same port number in UDP, which it gets with the host as
// it was written. With port 0 the kernel chooses a number that is free in TCP; where it is not in UDP, another is tried, up
// to eight. The error names the number, and wraps what the system or open says.
func BesideTCP(address string, open func(host, port string) error) (net.Listener, error) {
	for try := 1; ; try++ {
		tcp, err := net.Listen("tcp", address)
		if err != nil {
			return nil, fmt.Errorf("%s cannot be opened: %w", address, err)
		}
		host, wanted, _ := net.SplitHostPort(address)
		number := strconv.Itoa(tcp.Addr().(*net.TCPAddr).Port)
		if err = open(host, number); err == nil {
			return tcp, nil
		}
		tcp.Close()
		if wanted == number || try == numberTries || !errors.Is(err, syscall.EADDRINUSE) {
			return nil, fmt.Errorf("%s cannot be opened in UDP: %w", number, err)
		}
	}
}
