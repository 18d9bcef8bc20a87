package udpmux

import (
	"errors"
	"net"
	"strings"
	"syscall"
	"testing"
)

func TestANumberThatUDPHasNotIsTriedForAnother(t *testing.T) {
	var tried []string
	taken := func(times int, reason error) func(host, port string) error {
		tried = nil
		return func(_, port string) error {
			if tried = append(tried, port); len(tried) <= times {
				return reason
			}
			return nil
		}
	}
	ln, err := BesideTCP("127.0.0.1:0", taken(2, syscall.EADDRINUSE))
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if _, port, _ := net.SplitHostPort(ln.Addr().String()); len(tried) != 3 || tried[2] != port {
		t.Errorf("listens at %s after trying %v", port, tried)
	}
	fixed := ln.Addr().String()
	ln.Close()
	other := errors.New("no")
	for _, c := range []struct {
		addr   string
		times  int
		reason error
		tries  int
	}{{"127.0.0.1:0", 100, syscall.EADDRINUSE, numberTries}, {"127.0.0.1:0", 100, other, 1}, {fixed, 1, syscall.EADDRINUSE, 1}} {
		_, err := BesideTCP(c.addr, taken(c.times, c.reason))
		if !errors.Is(err, c.reason) || len(tried) != c.tries || !strings.Contains(err.Error(), tried[len(tried)-1]+" cannot be opened in UDP") {
			t.Errorf("%s: %v after trying %v, want %d tries and the number", c.addr, err, tried, c.tries)
		}
	}
}
