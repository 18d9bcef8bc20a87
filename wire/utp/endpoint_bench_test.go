package utp

import (
	"io"
	"net"
	"strconv"
	"sync"
	"testing"
	"time"
)

// BenchmarkTransfer sends blocks as a seeder does, header and block in one write, over loopback sockets with datagrams of
// Ethernet's size. An operation is one block of 16 KiB.
func BenchmarkTransfer(b *testing.B) {
	for _, conns := range []int{1, 16, 256} {
		b.Run(strconv.Itoa(conns), func(b *testing.B) { benchmarkTransfer(b, conns) })
	}
}

func benchmarkTransfer(b *testing.B, conns int) {
	to := newEndpoint(b, Config{})
	from := newEndpoint(b, Config{})
	var ends [][2]*Conn
	for range conns {
		a, z := dialBetween(b, from, to, to.Addr().String())
		for _, c := range []*Conn{a, z} {
			if err := c.SetDeadline(time.Time{}); err != nil {
				b.Fatal(err)
			}
		}
		ends = append(ends, [2]*Conn{a, z})
	}
	header, block := make([]byte, 13), make([]byte, 16<<10)
	b.SetBytes(int64(len(block)))
	b.ReportAllocs()
	b.ResetTimer()
	var wg sync.WaitGroup
	for i, c := range ends {
		n := b.N/conns + min(1, max(0, b.N%conns-i))
		wg.Go(func() {
			all := make(net.Buffers, 2)
			for range n {
				all[0], all[1] = header, block
				buffers := all
				if _, err := c[0].WriteBuffers(&buffers); err != nil {
					b.Error(err)
					return
				}
			}
		})
		wg.Go(func() {
			buf := make([]byte, len(header)+len(block))
			for range n {
				if _, err := io.ReadFull(c[1], buf); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// BenchmarkRoundTrip is a small question and its answer, so mostly wake-ups.
func BenchmarkRoundTrip(b *testing.B) {
	a, z := newConns(b, Config{})
	for _, c := range []*Conn{a, z} {
		if err := c.SetDeadline(time.Time{}); err != nil {
			b.Fatal(err)
		}
	}
	go func() {
		_, _ = io.CopyBuffer(struct{ io.Writer }{z}, struct{ io.Reader }{z}, make([]byte, 64))
	}()
	b.ReportAllocs()
	buf := make([]byte, 17)
	for b.Loop() {
		if _, err := a.Write(buf); err != nil {
			b.Fatal(err)
		}
		if _, err := io.ReadFull(a, buf); err != nil {
			b.Fatal(err)
		}
	}
}
