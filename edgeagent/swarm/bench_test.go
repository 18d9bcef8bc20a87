package swarm

import (
	"crypto/sha1"
	"io"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"simplebit/edgeagent/storage"
)

const benchLength = 512 << 20

// memoryDir returns a folder in memory where the machine has one, so that no disk is measured.
func memoryDir(b *testing.B) string {
	dir, err := os.MkdirTemp("/dev/shm", "swarm-bench-")
	if err != nil {
		return b.TempDir()
	}
	b.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// cpu returns the processor time that this process has used.
func cpu(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func report(b *testing.B, used time.Duration) {
	b.SetBytes(benchLength)
	b.ReportMetric(used.Seconds()/float64(b.N)*(1<<30)/benchLength, "cpu-s/GiB")
}

// BenchmarkLeech moves a torrent from one Torrent to another over loopback TCP. The processor time is that of both ends.
func BenchmarkLeech(b *testing.B) {
	c := newContent(benchLength, 1<<20)
	var used time.Duration
	for range b.N {
		b.StopTimer()
		seed := c.startIn(b, memoryDir(b), "seed", c.data, Config{Pool: storage.NewPool(4 << 20)}).listen(b)
		leech := c.startIn(b, memoryDir(b), "leech", nil, Config{Pool: storage.NewPool(4 << 20)})
		b.StartTimer()
		before := cpu(b)
		leech.AddCandidates(reachable(seed.addr))
		leech.awaitSeeding(b)
		used += cpu(b) - before
		b.StopTimer()
		leech.stop()
		seed.stop()
		b.StartTimer()
	}
	report(b, used)
}

// BenchmarkFloor is the least that the same work takes: one goroutine reads a file and sends it in writes of 128 KiB, one
// receives 1 MiB, hashes it and writes it to a file.
func BenchmarkFloor(b *testing.B) {
	c := newContent(benchLength, 1<<20)
	from := filepath.Join(memoryDir(b), "from")
	if err := os.WriteFile(from, c.data, 0o644); err != nil {
		b.Fatal(err)
	}
	var used time.Duration
	for range b.N {
		before := cpu(b)
		floor(b, from, filepath.Join(filepath.Dir(from), "to"))
		used += cpu(b) - before
	}
	report(b, used)
}

func floor(b *testing.B, from, to string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	go func() {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			return
		}
		defer c.Close()
		f, err := os.Open(from)
		if err != nil {
			return
		}
		defer f.Close()
		buf := make([]byte, 128<<10)
		for off := int64(0); off < benchLength; off += int64(len(buf)) {
			if _, err := f.ReadAt(buf, off); err != nil {
				return
			}
			if _, err := c.Write(buf); err != nil {
				return
			}
		}
	}()
	c, err := l.Accept()
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	f, err := os.Create(to)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	buf := make([]byte, 1<<20)
	var sum [sha1.Size]byte
	for off := int64(0); off < benchLength; off += int64(len(buf)) {
		if _, err := io.ReadFull(c, buf); err != nil {
			b.Fatal(err)
		}
		sum = sha1.Sum(buf)
		if _, err := f.WriteAt(buf, off); err != nil {
			b.Fatal(err)
		}
	}
	_ = sum
}
