package utp

import (
	"io"
	"runtime"
	"testing"
)

func TestNothingIsAllocatedPerPacket(t *testing.T) {
	a, b := newConns(t, Config{})
	const rounds, size = 512, 64 << 10
	out, in := make([]byte, size), make([]byte, size)
	done := make(chan error, 1)
	transfer := func(n int) {
		go func() {
			for range n {
				if _, err := io.ReadFull(b, in); err != nil {
					done <- err
					return
				}
			}
			done <- nil
		}()
		for range n {
			if _, err := a.Write(out); err != nil {
				t.Fatal(err)
			}
		}
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	transfer(rounds) // until rings and pools have grown
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	transfer(rounds)
	runtime.ReadMemStats(&after)
	packets := uint64(rounds * size / 1452)
	// Pools lose what they hold at a garbage collection, and with the race detector now and then: that is once per run.
	if n := after.Mallocs - before.Mallocs; n > packets/10 {
		t.Errorf("%d allocations for %d packets", n, packets)
	}
}
