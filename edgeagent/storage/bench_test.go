package storage

import (
	"crypto/sha1"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// BenchmarkWrite takes pieces of 1 MiB from blocks in memory to verified pieces on tmpfs, and reports the processor time of
// the whole process. What it adds to the storage's own work is one copy of each block, in the place of the socket's.
func BenchmarkWrite(b *testing.B) {
	for _, peers := range []int{1, 40} {
		b.Run(map[int]string{1: "OnePieceAtATime", 40: "FortyPiecesAtOnce"}[peers], func(b *testing.B) {
			benchmarkWrite(b, peers)
		})
	}
}

func benchmarkWrite(b *testing.B, peers int) {
	const pieceLength, pieces = 1 << 20, 240
	data := make([]byte, pieceLength)
	rand.NewChaCha8([32]byte{}).Read(data)
	config := Config{
		Dir:     filepath.Join(memoryDir(b), "downloads"),
		Journal: filepath.Join(memoryDir(b), "journal"),
		Pool:    NewPool(4 << 20),
		Layout: Layout{
			PieceLength: pieceLength, Length: pieces * pieceLength,
			Files:  []File{{Path: "file", Length: pieces * pieceLength}},
			Hashes: repeated(sha1.Sum(data)),
		},
	}
	b.SetBytes(pieceLength)
	b.ReportAllocs()
	var cpu time.Duration
	for done := 0; done < b.N; done += pieces {
		b.StopTimer()
		t, err := Open(config)
		if err != nil {
			b.Fatal(err)
		}
		before := processorTime(b)
		b.StartTimer()
		n := min(pieces, b.N-done)
		drained := make(chan int)
		go func() {
			verified := 0
			for e := range t.Events() {
				if e.Kind == PieceVerified {
					verified++
				}
				if verified == n {
					break
				}
			}
			drained <- verified
		}()
		for first := 0; first < n; first += peers {
			for begin := 0; begin < pieceLength; begin += BlockSize {
				for piece := first; piece < min(first+peers, n); piece++ {
					block, err := config.Pool.Get(b.Context())
					if err != nil {
						b.Fatal(err)
					}
					block.N = copy(block.Bytes(), data[begin:])
					t.Write(piece, begin, block)
				}
			}
		}
		if v := <-drained; v != n {
			b.Fatalf("%d pieces verified, want %d", v, n)
		}
		b.StopTimer()
		cpu += processorTime(b) - before
		if err := t.Delete(); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
	b.ReportMetric(cpu.Seconds()*1024/float64(b.N), "cpu-s/GiB")
}

// BenchmarkSmallFiles takes 11,500 files of 8 KiB, in folders of eight and pieces of 1 MiB, from blocks to finished files,
// opens the finished torrent again, and verifies it.
func BenchmarkSmallFiles(b *testing.B) {
	const pieceLength, count, length = 1 << 20, 11_500, 8 << 10
	files := make([]File, count)
	for i := range files {
		files[i] = File{Path: fmt.Sprintf("src/%d/%d/file%d.go", i/200, i/8, i), Length: length}
	}
	c := newContent(1, pieceLength, files...)
	var cpu, resume, verify time.Duration
	for range b.N {
		b.StopTimer()
		r := newRig(b, c)
		r.Close()
		r.config.Pool = NewPool(4 << 20)
		r.open()
		before := processorTime(b)
		b.StartTimer()
		events := collect(r, c.pieces())
		r.write(c.blocks(c.allPieces()...)...)
		<-events
		cpu += processorTime(b) - before
		r.Close()
		b.StopTimer()
		start := time.Now()
		r.open()
		resume += time.Since(start)
		start = time.Now()
		r.verified()
		verify += time.Since(start)
		if err := r.Delete(); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
	b.ReportMetric(cpu.Seconds()*1000/float64(b.N), "cpu-ms/op")
	b.ReportMetric(resume.Seconds()*1000/float64(b.N), "reopen-ms/op")
	b.ReportMetric(verify.Seconds()*1000/float64(b.N), "verify-ms/op")
}

// BenchmarkFloor is the least that such work can cost: copy, hash and write 1 MiB, on one goroutine.
func BenchmarkFloor(b *testing.B) {
	const pieceLength, pieces = 1 << 20, 240
	data := make([]byte, pieceLength)
	rand.NewChaCha8([32]byte{}).Read(data)
	f, err := os.Create(filepath.Join(memoryDir(b), "file"))
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	buf := make([]byte, 16*BlockSize)
	h := sha1.New()
	b.SetBytes(pieceLength)
	before := processorTime(b)
	for i := range b.N {
		h.Reset()
		for off := 0; off < pieceLength; off += len(buf) {
			for k := 0; k < len(buf); k += BlockSize {
				copy(buf[k:], data[off+k:off+k+BlockSize])
				h.Write(buf[k : k+BlockSize])
			}
			if _, err := f.WriteAt(buf, int64(i%pieces)*pieceLength+int64(off)); err != nil {
				b.Fatal(err)
			}
		}
		h.Sum(nil)
		if i%pieces == pieces-1 {
			b.StopTimer()
			f.Truncate(0)
			b.StartTimer()
		}
	}
	b.ReportMetric((processorTime(b)-before).Seconds()*1024/float64(b.N), "cpu-s/GiB")
}

// repeated is the same hash for every piece.
type repeated [hashSize]byte

func (r repeated) ReadAt(p []byte, off int64) (int, error) {
	for i := range p {
		p[i] = r[(off+int64(i))%hashSize]
	}
	return len(p), nil
}

var _ io.ReaderAt = repeated{}

// memoryDir returns a folder on tmpfs, where the machine has one for everybody.
func memoryDir(tb testing.TB) string {
	dir, err := os.MkdirTemp("/dev/shm", "storage")
	if err != nil {
		return tb.TempDir()
	}
	tb.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func processorTime(tb testing.TB) time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
