package udpmux

import (
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// BenchmarkLoopback moves datagrams of 1400 bytes between two sockets of this process and says how many of what was
// sent arrived, and what a GiB that arrived cost on both sides together. The sender waits when much is under way, as an
// acknowledged protocol does.
func BenchmarkLoopback(b *testing.B) {
	for _, c := range []struct {
		name               string
		sending, receiving []func(kernel) kernel
	}{
		{"GSO+GRO", nil, nil},
		{"GSO+recvmmsg", nil, []func(kernel) kernel{withoutGRO}},
		{"sendmsg+GRO", []func(kernel) kernel{withoutSegments(unix.EINVAL)}, nil},
		{"sendmsg+recvmmsg", []func(kernel) kernel{withoutSegments(unix.EINVAL)}, []func(kernel) kernel{withoutGRO}},
		{"sendmsg+recvmsg", []func(kernel) kernel{withoutSegments(unix.EINVAL)}, []func(kernel) kernel{withoutGRO, withoutBatches(unix.ENOSYS)}},
	} {
		b.Run(c.name, func(b *testing.B) {
			from, to := open(b, "udp", ":0", Config{}, c.sending...), open(b, "udp", ":0", Config{}, c.receiving...)
			var arrived atomic.Int64
			more := make(chan struct{}, 1)
			to.Handle(UTP, func(_ time.Time, runs []Run) {
				n := 0
				for _, r := range runs {
					n += len(r.Data)
				}
				arrived.Add(int64(n))
				select {
				case more <- struct{}{}:
				default:
				}
			})
			run(b, to)
			flow(b, from, at(to, "127.0.0.1"), &arrived, more)
		})
	}
}

func flow(b *testing.B, from *Socket, to netip.AddrPort, arrived *atomic.Int64, more <-chan struct{}) {
	const segments, window = 45, 1 << 20
	data := numbered(segments, 1400, 1400)
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	before := processor(b)
	b.ResetTimer()
	sent := int64(0)
	for range b.N {
		for sent-arrived.Load() > window {
			select {
			case <-more:
			case <-time.After(50 * time.Millisecond): // the rest is lost
				sent = arrived.Load()
			}
		}
		if err := from.Send(to, data, 1400); err != nil {
			b.Fatal(err)
		}
		sent += int64(len(data))
	}
	for deadline := time.Now().Add(time.Second); arrived.Load() < int64(b.N*len(data)) && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
	b.StopTimer()
	gib := float64(arrived.Load()) / (1 << 30)
	b.ReportMetric((processor(b)-before).Seconds()/gib, "cpu-s/GiB")
	b.ReportMetric(100*float64(arrived.Load())/float64(b.N*len(data)), "%arrived")
}

// processor is the time that this process has used of processors, in user and system mode.
func processor(b *testing.B) time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func BenchmarkClassify(b *testing.B) {
	r := agentRoutes(b)
	stranger := netip.MustParseAddrPort("198.51.100.7:6881")
	for _, c := range []struct {
		name string
		from netip.AddrPort
		data []byte
	}{{"utp", stranger, utpPacket(0, 0, 1380)}, {"quic", controlAddr, []byte{0x40}}, {"punch", stranger, stunMessage(1, attribute(6, activeUser))}} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for range b.N {
				r.Classify(c.from, c.data)
			}
		})
	}
}
