package utp

import (
	"testing"
	"time"
)

// BenchmarkCores is a stream through two cores that hand each other their datagrams at once: what the protocol costs
// without any network. A packet is counted once though both work for it.
func BenchmarkCores(b *testing.B) {
	b.Run("clean", func(b *testing.B) { benchmarkCores(b, 0) })
	b.Run("every 500th lost", func(b *testing.B) { benchmarkCores(b, 500) })
}

func benchmarkCores(b *testing.B, lose int) {
	const chunk = 64 << 10
	now := time.Unix(1, 0)
	a := newInitiator(now, coreConfig{Seq: 1, RecvID: 7})
	data, out := make([]byte, chunk), make([]byte, 0, 96<<10)
	var peer *core
	var entry door
	packets, acks := 0, 0
	give := func(from *core, to **core) bool {
		run, segment, _ := from.poll(now, out)
		for rest := run; len(rest) > 0; {
			n := min(segment, len(rest))
			p, err := parsePacket(rest[:n])
			if err != nil {
				b.Fatal(err)
			}
			if p.typ == stData {
				packets++
			} else {
				acks++
			}
			rest = rest[n:]
			if lose > 0 && p.typ == stData && packets%lose == lose-1 {
				continue
			}
			if *to == nil {
				var answer []byte
				if *to, answer = entry.knock(now, &p, coreConfig{Seq: 9}); answer != nil {
					p, _ := parsePacket(answer)
					from.receive(now, &p)
				}
				continue
			}
			(*to).receive(now, &p)
		}
		return len(run) > 0
	}
	turn := func() {
		now = now.Add(25 * time.Microsecond)
		give(a, &peer)
		if peer != nil {
			for peer.read(data) > 0 {
			}
			now = now.Add(25 * time.Microsecond)
			give(peer, &a)
		}
	}
	for range 1000 {
		a.write(data)
		turn()
	}
	b.SetBytes(chunk)
	b.ReportAllocs()
	packets, acks = 0, 0
	for b.Loop() {
		for left := data; len(left) > 0; {
			left = left[a.write(left):]
			turn()
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(packets), "ns/packet")
	b.ReportMetric(float64(packets)/float64(acks), "packets/ack")
	if a.mtu.floor != 1472 {
		b.Errorf("datagrams of %d bytes", a.mtu.floor)
	}
}
