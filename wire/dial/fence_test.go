package dial

import (
	"bytes"
	"io"
	"net"
	"slices"
	"testing"

	"simplebit/wire/mse"
	"simplebit/wire/peer"
)

// packets is a connection that notes how its stream is cut.
type packets struct {
	net.Conn
	sizes []int // of packets, were each write to wait for the next
	ended bool  // the last one
}

func (p *packets) Write(b []byte) (int, error) {
	n, err := p.Conn.Write(b)
	if p.ended || len(p.sizes) == 0 {
		p.sizes, p.ended = append(p.sizes, 0), false
	}
	p.sizes[len(p.sizes)-1] += n
	return n, err
}

func (p *packets) EndPacket() { p.ended = true }

// TestNothingSharesAPacketWithAnAcceptedPeersHandshake: Transmission would not look at it.
func TestNothingSharesAPacketWithAnAcceptedPeersHandshake(t *testing.T) {
	for _, encrypted := range []bool{false, true} {
		near, far := net.Pipe()
		go func() {
			defer io.Copy(io.Discard, far)
			if !encrypted {
				far.Write(them.AppendMarshal(nil))
				return
			}
			if _, err := mse.Dial(far, hash, mse.RC4, them.AppendMarshal(nil)); err != nil {
				t.Error(err)
			}
		}()
		under := &packets{Conn: near}
		c, err := Accept(t.Context(), under, Acceptor{
			Answer: func([20]byte) (peer.Handshake, bool) { return us, true },
			Find:   func([20]byte) ([20]byte, bool) { return hash, true },
		})
		if err != nil {
			t.Fatal(err)
		}
		before := slices.Clone(under.sizes)
		if _, err := c.Write(bytes.Repeat([]byte{1}, 89)); err != nil {
			t.Fatal(err)
		}
		if want := append(before, 89); !slices.Equal(under.sizes, want) {
			t.Errorf("encrypted %v: packets of %v bytes, want %v", encrypted, under.sizes, want)
		}
		far.Close()
	}
}
