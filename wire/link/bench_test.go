package link

import (
	"io"
	"testing"
)

// BenchmarkStream is a stream that carries what it can, in blocks of 16 KiB.
func BenchmarkStream(b *testing.B) {
	for _, over := range []Transport{QUIC, TCP} {
		b.Run(over.String(), func(b *testing.B) {
			p := connect(b, over)
			here, there := stream(b, p.surrogate, p.agent)
			block := make([]byte, 16<<10)
			b.SetBytes(int64(len(block)))
			go func() {
				for range b.N {
					here.Write(block)
				}
				here.CloseWrite()
			}()
			if _, err := io.Copy(io.Discard, there); err != nil {
				b.Fatal(err)
			}
		})
	}
}
