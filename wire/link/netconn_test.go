package link

import (
	"bytes"
	"errors"
	"net"
	"net/netip"
	"testing"
)

func TestAStreamAsNetConn(t *testing.T) {
	both(t, func(t *testing.T, over Transport) {
		p := connect(t, over)
		here, there := stream(t, p.surrogate, p.agent)
		a, b := netip.MustParseAddrPort("192.0.2.1:1"), netip.MustParseAddrPort("[2001:db8::1]:2")
		c := NetConn(there, a, b)
		if c.LocalAddr().String() != a.String() || c.RemoteAddr().String() != b.String() {
			t.Errorf("it is between %v and %v", c.LocalAddr(), c.RemoteAddr())
		}
		w := c.(interface {
			WriteBuffers(*net.Buffers) (int64, error)
		})
		var all []byte
		var buffers net.Buffers
		for i, n := range []int{13, 16384, 0, 13, 100_000, 1} {
			part := bytes.Repeat([]byte{byte(i + 1)}, n)
			all, buffers = append(all, part...), append(buffers, part)
		}
		sent := make(chan error, 1)
		go func() {
			n, err := w.WriteBuffers(&buffers)
			if n != int64(len(all)) || len(buffers) != 0 {
				err = errors.Join(err, errors.New("not all was written"))
			}
			sent <- err
		}()
		hear(t, here, string(all))
		if err := <-sent; err != nil {
			t.Error(err)
		}
		c.Close()
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, ErrCancelled) {
			t.Errorf("reading what is closed: %v", err)
		}
		if _, err := w.WriteBuffers(&net.Buffers{{1}}); !errors.Is(err, ErrCancelled) {
			t.Errorf("writing to what is closed: %v", err)
		}
	})
}
