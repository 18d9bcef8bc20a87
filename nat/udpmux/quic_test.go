package udpmux

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
)

// counting counts what the surrogate's end of a QUIC connection sends to one address.
type counting struct {
	net.PacketConn
	sent atomic.Int64
}

func (c *counting) WriteTo(b []byte, to net.Addr) (int, error) {
	c.sent.Add(1)
	return c.PacketConn.WriteTo(b, to)
}

func (c *counting) SetReadBuffer(int) error  { return nil }
func (c *counting) SetWriteBuffer(int) error { return nil }

// echo is a QUIC server on loopback that sends back what each stream brings.
func echo(t *testing.T) (*counting, netip.AddrPort) {
	pc, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, private)
	if err != nil {
		t.Fatal(err)
	}
	c := &counting{PacketConn: pc}
	tr := &quic.Transport{Conn: c}
	ln, err := tr.Listen(&tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: private}}, NextProtos: []string{"echo"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := ln.Accept(context.Background())
			if err != nil {
				return
			}
			serving.Go(func() {
				for {
					st, err := conn.AcceptStream(context.Background())
					if err != nil {
						return
					}
					_, _ = io.Copy(st, st)
					_ = st.Close()
				}
			})
		}
	})
	t.Cleanup(func() {
		tr.Close()
		pc.Close()
		serving.Wait()
	})
	return c, pc.LocalAddr().(*net.UDPAddr).AddrPort()
}

// kernelDrops is how many datagrams the kernel had no room for in the socket's buffer.
func kernelDrops(t *testing.T, s *Socket) (n int64) {
	t.Helper()
	for _, table := range []string{"/proc/net/udp", "/proc/net/udp6"} {
		b, err := os.ReadFile(table)
		if err != nil {
			t.Fatal(err)
		}
		for lines := bufio.NewScanner(bytes.NewReader(b)); lines.Scan(); {
			f := strings.Fields(lines.Text())
			if _, port, _ := strings.Cut(f[1], ":"); port == fmt.Sprintf("%04X", s.local.Port) {
				drops, err := strconv.ParseInt(f[len(f)-1], 10, 64)
				if err != nil {
					t.Fatal(err)
				}
				n += drops
			}
		}
	}
	return n
}

// A real QUIC connection shares its socket with strangers who send what looks like QUIC to a library that goes by bytes:
// uTP and DHT messages, by the hundred thousand.
func TestQUICLosesNothingToAFlood(t *testing.T) {
	server, control := echo(t)
	s := open(t, "udp", ":0", Config{Routes: NewRoutes(Agent)})
	if err := s.Routes().SetControl(control); err != nil {
		t.Fatal(err)
	}
	var utp atomic.Int64
	s.Handle(UTP, func(_ time.Time, runs []Run) {
		for _, r := range runs {
			utp.Add(int64(r.Len()))
		}
	})
	pc := s.PacketConn(QUIC)
	run(t, s)

	flooders := []*Socket{open(t, "udp", ":0", Config{}), open(t, "udp", ":0", Config{})}
	ctx, stop := context.WithCancel(t.Context())
	var flooding sync.WaitGroup
	for i, f := range flooders {
		to := at(s, []string{"127.0.0.1", "::1"}[i])
		syn, query := utpPacket(4, 0, 0), []byte("d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:t2:aa1:y1:qe")
		short := append([]byte{0x5a}, make([]byte, 60)...)
		data := numbered(30, 1400, 1400)
		flooding.Go(func() {
			for n := 0; ctx.Err() == nil && n < 5000; n++ {
				f.Send(to, data, 1400)
				f.Send(to, syn, 0)
				f.Send(to, query, 0)
				f.Send(to, short, 0)
				time.Sleep(200 * time.Microsecond)
			}
		})
	}

	tr := &quic.Transport{Conn: pc}
	conn, err := tr.Dial(t.Context(), net.UDPAddrFromAddrPort(control), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"echo"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	payload := make([]byte, 16<<20)
	_, _ = rand.Read(payload)
	st, err := conn.OpenStream()
	if err != nil {
		t.Fatal(err)
	}
	flooding.Go(func() {
		_, _ = st.Write(payload)
		_ = st.Close()
	})
	back, err := io.ReadAll(st)
	if err != nil || !bytes.Equal(back, payload) {
		t.Errorf("%d of %d bytes came back: %v", len(back), len(payload), err)
	}
	stop()
	flooding.Wait()
	if err := conn.CloseWithError(0, ""); err != nil {
		t.Error(err)
	}
	tr.Close()

	flood := flooders[0].Stats().Sent + flooders[1].Stats().Sent
	var before int64
	still := 0 // for how many looks nothing has come
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		got, drops, sent := s.Stats(), kernelDrops(t, s), server.sent.Load()
		var all int64
		for _, n := range got.Received {
			all += n
		}
		missing := sent - got.Received[QUIC]
		// A run that is dropped whole counts as one drop.
		if still++; all != before {
			before, still = all, 0
		}
		done := all+drops >= sent+flood || still > 50 && all+drops*maxSegments >= sent+flood
		if done && missing <= drops {
			t.Logf("QUIC %d of %d, uTP %d, nobody's %d, kernel's drops %d", got.Received[QUIC], sent, got.Received[UTP], got.Received[Drop], drops)
			if got.Received[QUIC] > sent || got.Received[UTP] != utp.Load() || flood < 1000 || got.Overflow > 0 {
				t.Errorf("the surrogate sent %d, strangers %d: %+v", sent, flood, got)
			}
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the surrogate sent %d and strangers %d, the kernel dropped %d: %+v", sent, flood, drops, got)
		}
	}
}
