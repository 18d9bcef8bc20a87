package mse

import (
	"bytes"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"sync"
	"testing"
)

// established is a Conn of A over c after a handshake that left nothing behind, and the key stream by which B reads it.
func established(t testing.TB, c net.Conn, m Method) (*Conn, *specRC4) {
	t.Helper()
	s := secret(testS)
	a, b, err := s.ciphers(testSkey)
	if err != nil {
		t.Fatal(err)
	}
	return newConn(c, m, b, a, nil, 0), newSpecRC4("keyA", testS, testSkey[:])
}

// Blocks are shared between connections: whoever sends one must not change it.
func TestBuffersOfTheCallerAreOnlyRead(t *testing.T) {
	wire := &script{}
	c, peer := established(t, wire, RC4)
	block := sequence(0, 40<<10)
	b := net.Buffers{block[:13], block[13:20000], {}, block[20000:]}
	if n, err := c.WriteBuffers(&b); n != 40<<10 || err != nil {
		t.Errorf("WriteBuffers: %d, %v", n, err)
	}
	if len(b) != 0 {
		t.Errorf("%d buffers are left", len(b))
	}
	if n, err := c.Write(block); n != 40<<10 || err != nil {
		t.Errorf("Write: %d, %v", n, err)
	}
	if !bytes.Equal(block, sequence(0, 40<<10)) {
		t.Error("the caller's bytes were changed")
	}
	if got := peer.crypt(wire.wrote.Bytes()); !bytes.Equal(got, slices.Concat(block, block)) {
		t.Error("the peer reads something else")
	}
}

func TestNothingToWriteIsNoError(t *testing.T) {
	c, _ := established(t, &script{}, RC4)
	b := net.Buffers{{}, nil}
	if n, err := c.WriteBuffers(&b); n != 0 || err != nil || len(b) != 0 {
		t.Errorf("%d, %v, %d buffers left", n, err, len(b))
	}
	if n, err := c.Write(nil); n != 0 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
}

// A deadline in the middle of a write loses the rest of the write and not the stream.
func TestStreamStaysInStepAfterAPartialWrite(t *testing.T) {
	data := sequence(0, 50000)
	for _, room := range []int{0, 1, 500, 18 << 10, 18<<10 + 1, 49999} {
		wire := &weak{room: room}
		c, peer := established(t, wire, RC4)
		b := net.Buffers{data[:100], data[100:30000], data[30000:]}
		n, err := c.WriteBuffers(&b)
		if int(n) != room || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("room for %d: %d, %v", room, n, err)
		}
		wire.room = 1
		if n, err := c.Write(data[room:]); n != 1 {
			t.Errorf("room for one more: %d, %v", n, err)
		}
		if left := slices.Concat(b...); !bytes.Equal(left, data[room:]) {
			t.Errorf("room for %d: %d bytes are left in the buffers, want %d", room, len(left), len(data)-room)
		}
		wire.room = len(data)
		if _, err := c.Write(data[room+1:]); err != nil {
			t.Errorf("going on: %v", err)
		}
		if got := peer.crypt(wire.wrote.Bytes()); !bytes.Equal(got, data) {
			t.Errorf("room for %d: the peer reads something else", room)
		}
	}
}

// vectored is a connection with a vectored write of its own.
type vectored struct {
	script
	calls, buffers int
}

func (v *vectored) WriteBuffers(b *net.Buffers) (int64, error) {
	v.calls++
	v.buffers += len(*b)
	return b.WriteTo(&v.wrote)
}

func TestPlaintextGoesToTheVectoredWriteBeneath(t *testing.T) {
	wire := &vectored{}
	c, _ := established(t, wire, Plaintext)
	b := net.Buffers{[]byte("head"), []byte("block")}
	if n, err := c.WriteBuffers(&b); n != 9 || err != nil || len(b) != 0 {
		t.Errorf("%d, %v, %d buffers left", n, err, len(b))
	}
	if wire.calls != 1 || wire.buffers != 2 || wire.wrote.String() != "headblock" {
		t.Errorf("%d calls with %d buffers wrote %q", wire.calls, wire.buffers, wire.wrote.String())
	}
}

// A block and its head share a write: a write is a packet or more.
func TestBlockAndHeadGoOutTogether(t *testing.T) {
	wire := &counted{}
	c, _ := established(t, wire, RC4)
	b := net.Buffers{make([]byte, 9), make([]byte, 13), make([]byte, 16<<10)}
	if _, err := c.WriteBuffers(&b); err != nil {
		t.Fatal(err)
	}
	if wire.writes != 1 {
		t.Errorf("%d writes for three buffers", wire.writes)
	}
	if len(c.scratch) > 18<<10 {
		t.Errorf("%d bytes of scratch", len(c.scratch))
	}
}

func TestConnectionThatSaysLittleKeepsLittle(t *testing.T) {
	c, _ := established(t, &counted{}, RC4)
	if c.scratch != nil {
		t.Error("scratch before the first write")
	}
	if _, err := c.Write(make([]byte, 17)); err != nil {
		t.Fatal(err)
	}
	if len(c.scratch) > 1<<10 {
		t.Errorf("%d bytes of scratch for a message of 17", len(c.scratch))
	}
	plain, _ := established(t, &counted{}, Plaintext)
	if _, err := plain.Write(make([]byte, 17)); err != nil {
		t.Fatal(err)
	}
	if plain.scratch != nil || plain.in != nil || plain.out != nil {
		t.Error("a plaintext connection keeps ciphers or scratch")
	}
}

// counted swallows what is written and says zeros.
type counted struct {
	net.Conn
	writes int
}

func (c *counted) Write(p []byte) (int, error) { c.writes++; return len(p), nil }
func (c *counted) Read(p []byte) (int, error)  { clear(p); return len(p), nil }

func TestSteadyStateAllocatesNothing(t *testing.T) {
	for _, m := range []Method{Plaintext, RC4} {
		c, _ := established(t, &counted{}, m)
		block := make([]byte, 16<<10)
		head := make([]byte, 13)
		backing := make(net.Buffers, 2)
		var b net.Buffers
		for name, f := range map[string]func() (int, error){
			"Read":  func() (int, error) { return c.Read(block) },
			"Write": func() (int, error) { return c.Write(block) },
			"WriteBuffers": func() (int, error) {
				backing[0], backing[1] = head, block
				b = backing
				n, err := c.WriteBuffers(&b)
				return int(n), err
			},
		} {
			if n := testing.AllocsPerRun(100, func() {
				if _, err := f(); err != nil {
					t.Fatal(err)
				}
			}); n != 0 {
				t.Errorf("method %d: %s allocates %v times", m, name, n)
			}
		}
	}
}

// Writes of several goroutines may come in any order but each whole, as on any net.Conn.
func TestConcurrentWritesDoNotMix(t *testing.T) {
	a, b := tcpPair(t)
	ca, cb, errA, errB := meet(a, b, rand.Reader, rand.Reader, RC4, Prefer, nil)
	if errA != nil || errB != nil {
		t.Fatal(errA, errB)
	}
	const writers, times, size = 4, 50, 1000
	var all sync.WaitGroup
	for w := range writers {
		all.Go(func() {
			message := bytes.Repeat([]byte{byte(w + 1)}, size)
			for range times {
				if _, err := ca.Write(message); err != nil {
					t.Error(err)
				}
			}
		})
	}
	got := make([]byte, writers*times*size)
	if _, err := io.ReadFull(cb, got); err != nil {
		t.Fatal(err)
	}
	all.Wait()
	var seen [writers + 1]int
	for message := range slices.Chunk(got, size) {
		if w := message[0]; w == 0 || w > writers || !bytes.Equal(message, bytes.Repeat(message[:1], size)) {
			t.Fatal("messages are mixed")
		}
		seen[message[0]]++
	}
	if seen != [writers + 1]int{0, times, times, times, times} {
		t.Errorf("messages of each writer: %v", seen)
	}
}

func BenchmarkRC4Write(b *testing.B) {
	c, _ := established(b, &counted{}, RC4)
	block, head := make([]byte, 16<<10), make([]byte, 13)
	backing := make(net.Buffers, 2)
	b.SetBytes(16<<10 + 13)
	var bufs net.Buffers
	for b.Loop() {
		backing[0], backing[1] = head, block
		bufs = backing
		if _, err := c.WriteBuffers(&bufs); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkRC4Read(b *testing.B) {
	c, _ := established(b, &counted{}, RC4)
	block := make([]byte, 16<<10)
	b.SetBytes(16 << 10)
	for b.Loop() {
		if _, err := c.Read(block); err != nil {
			b.Fatal(err)
		}
	}
}

// What an incoming connection costs, which anybody can ask for.
func BenchmarkAccept(b *testing.B) {
	encrypted := newSpecRC4("keyA", testS, testSkey[:]).crypt(append(specHead(2, 0, nil), specInitial(nil)...))
	hello := slices.Concat(yA, specRequest(encrypted))
	for b.Loop() {
		wire := &script{chunks: [][]byte{hello}}
		if _, err := accept(dice(xB, nil, 0), wire, nil, findTest, Prefer, nil); err != nil {
			b.Fatal(err)
		}
	}
}
