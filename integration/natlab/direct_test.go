//go:build linux

package natlab_test

import (
	"io"
	"net"
	"strconv"
	"testing"
	"time"

	"simplebit/integration/natlab"
)

func TestADirectCableCarriesWhatItsHostsSendEachOther(t *testing.T) {
	natlab.Require(t)
	lab, err := natlab.New(natlab.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer lab.Close()
	var hosts [3]*natlab.Host
	for i, name := range []string{"a", "b", "c"} {
		if hosts[i], err = lab.Host(name); err != nil {
			t.Fatal(err)
		}
	}
	if err := lab.Direct(hosts[0], hosts[1]); err != nil {
		t.Fatal(err)
	}
	const size = 1 << 20
	send := func(from, to *natlab.Host) {
		t.Helper()
		ln, err := to.Listen("tcp", ":0")
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		go func() {
			if c, err := ln.Accept(); err == nil {
				io.Copy(io.Discard, c)
				c.Close()
			}
		}()
		addr := net.JoinHostPort(to.Addr().String(), strconv.Itoa(ln.Addr().(*net.TCPAddr).Port))
		c, err := from.DialContext(t.Context(), "tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := c.Write(make([]byte, size)); err != nil {
			t.Fatal(err)
		}
		c.(*net.TCPConn).CloseWrite()
		c.SetDeadline(time.Now().Add(10 * time.Second))
		io.Copy(io.Discard, c)
	}
	send(hosts[0], hosts[1])
	send(hosts[1], hosts[0])
	through, err := hosts[0].Counters()
	if err != nil {
		t.Fatal(err)
	}
	if through.TxBytes > size/2 || through.RxBytes > size/2 {
		t.Errorf("the core carried %+v between hosts that have a cable", through)
	}
	send(hosts[0], hosts[2])
	if through, err = hosts[0].Counters(); err != nil || through.TxBytes < size {
		t.Errorf("the core carried %+v (%v) to a host without a cable", through, err)
	}
}
