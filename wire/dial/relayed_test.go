package dial

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"simplebit/wire/mse"
	"simplebit/wire/peer"
)

func answerAll([20]byte) (peer.Handshake, bool) { return us, true }

// TestBothEndsOfARelayMeet: who accepts may hear nothing for longer than from a stranger, since the surrogate opens a stream to
// each, one after the other.
func TestBothEndsOfARelayMeet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		dialled := make(chan *Conn)
		go func() {
			time.Sleep(FirstByte + time.Second)
			c, err := Over(t.Context(), far, TCP, them)
			if err != nil {
				t.Error(err)
			}
			dialled <- c
		}()
		takes, err := Accept(t.Context(), near, Acceptor{Answer: answerAll, Relayed: QUIC})
		if err != nil {
			t.Fatal(err)
		}
		defer takes.Close()
		calls := <-dialled
		defer calls.Close()
		if !takes.Relayed || takes.Outgoing || takes.Peer != them || takes.Transport.String() != "quic" {
			t.Errorf("who accepts has %+v", takes)
		}
		if !calls.Relayed || !calls.Outgoing || calls.Peer != us || calls.Transport.String() != "tcp" {
			t.Errorf("who dials has %+v", calls)
		}
		if takes.Way() != (Way{}) || calls.Way() != (Way{}) {
			t.Error("a relayed connection tells how to dial the peer")
		}
		time.Sleep(time.Hour) // longer than any deadline that the handshake left behind
		go calls.Write([]byte{1})
		if _, err := takes.Read(make([]byte, 1)); err != nil {
			t.Error(err)
		}
	})
}

// TestWhoIsNotAdmittedIsNotAnswered: not a byte is spent on a connection that is not needed.
func TestWhoIsNotAdmittedIsNotAnswered(t *testing.T) {
	for _, encrypted := range []bool{false, true} {
		near, far := net.Pipe()
		answer := make(chan []byte)
		go func() {
			if encrypted {
				mse.Dial(far, hash, mse.RC4, them.AppendMarshal(nil))
			} else {
				far.Write(them.AppendMarshal(nil))
			}
			b, _ := io.ReadAll(far)
			answer <- b
		}()
		needless := errors.New("it is connected already")
		var asked peer.Handshake
		_, err := Accept(t.Context(), near, Acceptor{
			Answer:  answerAll,
			Admit:   func(h peer.Handshake) error { asked = h; return needless },
			Find:    func([20]byte) ([20]byte, bool) { return hash, true },
			Relayed: QUIC,
		})
		if !errors.Is(err, needless) || asked != them {
			t.Errorf("encrypted %v: error %v for %+v", encrypted, err, asked)
		}
		if b := <-answer; len(b) > 0 {
			t.Errorf("encrypted %v: it was sent %d bytes", encrypted, len(b))
		}
	}
}

func TestARelayTellsWhyAHandshakeFailed(t *testing.T) {
	other := them
	other.InfoHash[0] = 9
	for _, c := range []struct {
		name  string
		peer  pipes
		want  error
		after time.Duration
	}{
		{"another torrent", answers(other), ErrInfoHash, 0},
		{"ourselves", answers(us), ErrSelf, 0},
		{"another protocol", func(c net.Conn) {
			io.ReadFull(c, make([]byte, peer.HandshakeSize))
			c.Write([]byte("HTTP/1.1 400 Bad Request"))
		}, peer.ErrHandshake, 0},
		{"not needed there", func(c net.Conn) {
			io.ReadFull(c, make([]byte, peer.HandshakeSize))
			c.Close()
		}, io.ErrUnexpectedEOF, 0},
		{"silence", func(c net.Conn) { io.Copy(io.Discard, c) }, context.DeadlineExceeded, DefaultTimeout},
	} {
		synctest.Test(t, func(t *testing.T) {
			near, far := net.Pipe()
			go c.peer(far)
			began := time.Now()
			if _, err := Over(t.Context(), near, QUIC, us); !errors.Is(err, c.want) || time.Since(began) != c.after {
				t.Errorf("%s: after %v %v, want %v", c.name, time.Since(began), err, c.want)
			}
			if _, err := near.Read(make([]byte, 1)); !errors.Is(err, io.ErrClosedPipe) {
				t.Errorf("%s: the stream is open: %v", c.name, err)
			}
			far.Close()
		})
	}
}
