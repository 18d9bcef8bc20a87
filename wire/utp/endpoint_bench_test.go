package utp

import (
	"io"
	"testing"
	"time"
)

// BenchmarkTransfer sends blocks as a seeder does, over loopback sockets with datagrams of Ethernet's size.
func BenchmarkTransfer(b *testing.B) {
	from, to := newConns(b, Config{})
	from.SetDeadline(time.Time{})
	to.SetDeadline(time.Time{})
	block := make([]byte, 16<<10)
	b.SetBytes(int64(len(block)))
	b.ReportAllocs()
	done := make(chan error, 1)
	go func() {
		buf := make([]byte, 64<<10)
		_, err := io.CopyBuffer(io.Discard, io.LimitReader(struct{ io.Reader }{to}, int64(b.N)*int64(len(block))), buf)
		done <- err
	}()
	b.ResetTimer()
	for range b.N {
		if _, err := from.Write(block); err != nil {
			b.Fatal(err)
		}
	}
	if err := <-done; err != nil {
		b.Fatal(err)
	}
	b.Logf("%+v", from.core.stats())
}
