package dial

import (
	"io"
	"net"
	"testing"
	"time"

	"simplebit/wire/mse"
	"simplebit/wire/peer"
)

// telling is a connection that tells when its peer was heard, as one by uTP does.
type telling struct {
	net.Conn
	at time.Time
}

func (c telling) Heard() time.Time { return c.at }

func TestWhenAPeerWasHeardIsKnownOfWhatTells(t *testing.T) {
	at := time.Now().Add(-time.Hour)
	for _, encrypted := range []bool{false, true} {
		for _, tells := range []bool{false, true} {
			near, far := net.Pipe()
			go func() {
				defer io.Copy(io.Discard, far)
				if !encrypted {
					far.Write(them.AppendMarshal(nil))
				} else if _, err := mse.Dial(far, hash, mse.RC4, them.AppendMarshal(nil)); err != nil {
					t.Error(err)
				}
			}()
			var under net.Conn = near
			want := time.Time{}
			if tells {
				under, want = telling{near, at}, at
			}
			c, err := Accept(t.Context(), under, Acceptor{
				Answer: func([20]byte) (peer.Handshake, bool) { return us, true },
				Find:   func([20]byte) ([20]byte, bool) { return hash, true },
			})
			if err != nil {
				t.Fatal(err)
			}
			if got, known := c.Heard(); known != tells || !got.Equal(want) || c.Encrypted != encrypted {
				t.Errorf("encrypted %v: heard at %v, known %v, want %v, %v", encrypted, got, known, want, tells)
			}
			c.Close()
			far.Close()
		}
	}
}
