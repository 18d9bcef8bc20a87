package store

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/nats.go/jetstream"
)

// fill puts records and blobs of all kinds into a store.
func fill(t *testing.T, s *Store) {
	t.Helper()
	jobs, devices, infos := table(t, s, "jobs"), table(t, s, "devices"), blobs(t, s, "infos")
	for i, k := range keys {
		check(t, jobs.Put(t.Context(), k.key, record{N: i, S: "<a&b>\u2028 \xff"}))
		check(t, infos.Put(t.Context(), k.key, content(i*1000, byte(i))))
	}
	check(t, devices.Put(t.Context(), "gone", record{}))
	check(t, devices.Delete(t.Context(), "gone"))
	check(t, infos.Put(t.Context(), "gone", []byte("x")))
	check(t, infos.Delete(t.Context(), "gone"))
	check(t, infos.Put(t.Context(), "large", content(2*chunkSize+1, 9)))
}

func backup(t *testing.T, s *Store) []byte {
	t.Helper()
	var b bytes.Buffer
	_, err := s.Backup(t.Context(), &b)
	check(t, err)
	return b.Bytes()
}

// body is a backup without its first line, which has the time, and its last, which has the checksum.
func body(b []byte) string {
	lines := strings.SplitAfter(strings.TrimSpace(string(b)), "\n")
	return strings.Join(lines[1:len(lines)-1], "")
}

func TestBackupMovesEverythingToAnExternalServerAndBack(t *testing.T) {
	eachNATS(t, func(t *testing.T, n *natsServer) {
		s := open(t, t.TempDir())
		fill(t, s)
		jobs, err := table(t, s, "jobs").All(t.Context())
		check(t, err)
		first := backup(t, s)
		s.Close()

		sum, err := Restore(t.Context(), Config{URL: n.url}, bytes.NewReader(first))
		if err != nil || sum.Records != len(keys) || sum.Blobs != len(keys)+1 || sum.Created.IsZero() {
			t.Fatalf("%+v, %v", sum, err)
		}
		e := n.open("")
		if got, err := table(t, e, "jobs").All(t.Context()); err != nil || !maps.Equal(got, jobs) {
			t.Errorf("%v, %v, want %v", got, err, jobs)
		}
		if got, err := blobs(t, e, "infos").Get(t.Context(), "large"); err != nil || !bytes.Equal(got, content(2*chunkSize+1, 9)) {
			t.Errorf("%d bytes, %v", len(got), err)
		}
		second := backup(t, e)
		if body(second) != body(first) {
			t.Error("the external store backs up as something else")
		}

		dir := t.TempDir()
		_, err = Restore(t.Context(), Config{Dir: dir}, bytes.NewReader(second))
		check(t, err)
		if third := backup(t, open(t, dir)); body(third) != body(first) {
			t.Error("after both ways the store backs up as something else")
		}
	})
}

func TestBackupOfAStoreInUseIsWhole(t *testing.T) {
	s := open(t, t.TempDir())
	fill(t, s)
	jobs := table(t, s, "jobs")
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
				err := jobs.Put(t.Context(), fmt.Sprint(i%5), record{N: i})
				if err = errors.Join(err, jobs.Delete(t.Context(), fmt.Sprint((i+1)%5))); err != nil {
					t.Error(err)
					return
				}
			}
		}
	}()
	for range 5 {
		if sum, err := Verify(bytes.NewReader(backup(t, s))); err != nil || sum.Records < len(keys) {
			t.Errorf("%+v, %v", sum, err)
		}
	}
	close(stop)
	<-done
}

// small is a backup whose checksum is right.
func small(lines ...string) []byte {
	b := []byte(strings.Join(lines, "\n") + "\n")
	sum := sha256.Sum256(b)
	records, blobs := bytes.Count(b, []byte(`"table"`)), bytes.Count(b, []byte(`"blobs"`))
	return fmt.Appendf(b, "{\"end\":{\"records\":%d,\"blobs\":%d,\"sha256\":\"%s\"}}\n", records, blobs, hex.EncodeToString(sum[:]))
}

const (
	header   = `{"simplebit":"backup","version":1,"created":"2026-11-22T12:00:00Z"}`
	oneJob   = `{"table":"jobs","key":"a=2E1","value":{"n":1}}`
	oneBlob  = `{"blobs":"infos","key":"b","data":"AAEC"}`
	anyEmpty = `{"blobs":"infos","key":"c"}`
)

func TestBackupFormat(t *testing.T) {
	dir := t.TempDir()
	sum, err := Restore(t.Context(), Config{Dir: dir}, bytes.NewReader(small(header, oneJob, oneBlob, anyEmpty)))
	if err != nil || sum.Records != 1 || sum.Blobs != 2 || sum.Created.Format("2006-01-02") != "2026-11-22" {
		t.Fatalf("%+v, %v", sum, err)
	}
	s := open(t, dir)
	if r, err := table(t, s, "jobs").Get(t.Context(), "a.1"); err != nil || r.N != 1 {
		t.Errorf("%+v, %v", r, err)
	}
	if b, err := blobs(t, s, "infos").Get(t.Context(), "b"); err != nil || !bytes.Equal(b, []byte{0, 1, 2}) {
		t.Errorf("%v, %v", b, err)
	}
	if b, err := blobs(t, s, "infos").Get(t.Context(), "c"); err != nil || len(b) != 0 {
		t.Errorf("%v, %v", b, err)
	}
	if got, want := body(backup(t, s)), strings.Join([]string{oneJob, oneBlob, anyEmpty, ""}, "\n"); got != want {
		t.Errorf("it is written as\n%s, want\n%s", got, want)
	}
}

func TestDamagedBackupsAreRefusedBeforeAnythingIsWritten(t *testing.T) {
	whole := small(header, oneJob, oneBlob)
	bad := map[string][]byte{
		"nothing":              nil,
		"another file":         []byte("PK\x03\x04"),
		"only a header":        []byte(header + "\n"),
		"no header":            small(oneJob),
		"a newer version":      small(strings.Replace(header, `1,`, `2,`, 1), oneJob),
		"two headers":          small(header, header),
		"an unknown line":      small(header, `{"user":"x"}`),
		"an empty line":        small(header, "", oneJob),
		"a bad table":          small(header, `{"table":"../x","key":"a","value":{}}`),
		"the lease":            small(header, `{"table":"lease","key":"holder","value":{}}`),
		"a bad key":            small(header, `{"table":"jobs","key":"a.*","value":{}}`),
		"a long key":           small(header, `{"table":"jobs","key":"`+strings.Repeat("a", 256)+`","value":{}}`),
		"no value":             small(header, `{"table":"jobs","key":"a"}`),
		"a large record":       small(header, `{"table":"jobs","key":"a","value":"`+strings.Repeat("a", MaxRecord)+`"}`),
		"two lines in one":     small(header, oneJob+oneJob),
		"both":                 small(header, `{"table":"jobs","blobs":"jobs","key":"a","value":{}}`),
		"something after":      append(slices.Clone(whole), "x"...),
		"without the last \\n": whole[:len(whole)-1],
		"an endless line":      bytes.Repeat([]byte("x"), maxLine+1<<20),
	}
	for n := range len(whole) - 1 {
		bad[fmt.Sprint("the first ", n, " bytes")] = whole[:n]
		flipped := slices.Clone(whole)
		flipped[n] ^= 1
		bad[fmt.Sprint("byte ", n, " changed")] = flipped
	}
	dir := t.TempDir() + "/store"
	for name, b := range bad {
		_, err := Restore(t.Context(), Config{Dir: dir}, bytes.NewReader(b))
		if !errors.Is(err, ErrBadBackup) || strings.Contains(err.Error(), "\n") || len(err.Error()) > 300 {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := os.Stat(dir); err == nil {
		t.Error("a store was made")
	}
	_, err := Restore(t.Context(), Config{Dir: dir}, bytes.NewReader(whole))
	check(t, err)
}

func TestRestoreGoesIntoAnEmptyStoreOnly(t *testing.T) {
	dir, _ := filled(t)
	before := backup(t, open(t, crash(t, dir)))
	_, err := Restore(t.Context(), Config{Dir: dir}, bytes.NewReader(small(header, oneJob)))
	if !errors.Is(err, ErrNotEmpty) || !strings.Contains(err.Error(), dir) {
		t.Error(err)
	}
	s := open(t, dir)
	if body(backup(t, s)) != body(before) {
		t.Error("the store was changed")
	}
	if _, err := Restore(t.Context(), Config{Dir: dir}, bytes.NewReader(small(header, oneJob))); !errors.Is(err, ErrInUse) {
		t.Error(err)
	}
}

// changing is a backup that is whole when it is read first, and cut off the second time.
type changing struct {
	*bytes.Reader
	cut []byte
}

func (c *changing) Seek(offset int64, whence int) (int64, error) {
	c.Reader = bytes.NewReader(c.cut)
	return c.Reader.Seek(offset, whence)
}

func TestAStoreWhoseRestoreWasCutOffIsNotUsed(t *testing.T) {
	dir := t.TempDir()
	whole := small(header, oneJob, oneBlob)
	cut := whole[:len(header)+len(oneJob)+2]
	if _, err := Restore(t.Context(), Config{Dir: dir}, &changing{bytes.NewReader(whole), cut}); !errors.Is(err, ErrBadBackup) || !strings.Contains(err.Error(), "repeat it") {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), Config{Dir: dir}); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "restore") {
		t.Fatal(err)
	}
	other := small(header, oneBlob)
	_, err := Restore(t.Context(), Config{Dir: dir}, bytes.NewReader(other))
	check(t, err)
	s := open(t, dir)
	if got := body(backup(t, s)); got != oneBlob+"\n" {
		t.Errorf("after the second restore there is %s", got)
	}
	if _, err := s.js.KeyValue(t.Context(), restoringBucket); !errors.Is(err, jetstream.ErrBucketNotFound) {
		t.Error(err)
	}
}

// full takes some bytes and no more.
type full struct{ left int }

func (f *full) Write(b []byte) (int, error) {
	if f.left -= len(b); f.left < 0 {
		return 0, io.ErrShortWrite
	}
	return len(b), nil
}

func TestBackupThatCannotBeWrittenFails(t *testing.T) {
	s := open(t, t.TempDir())
	fill(t, s)
	for _, room := range []int{0, 100, 300 << 10} {
		if _, err := s.Backup(t.Context(), &full{room}); !errors.Is(err, io.ErrShortWrite) {
			t.Errorf("with room for %d bytes: %v", room, err)
		}
	}
}

// FuzzBackup rewrites what it can read, and reads the same again.
func FuzzBackup(f *testing.F) {
	f.Fuzz(func(t *testing.T, lines []byte) {
		// Without the right checksum nothing would be read.
		in := small(header, strings.TrimSuffix(string(lines), "\n"))
		var first []backupLine
		sum, err := readBackup(bytes.NewReader(in), func(l backupLine) error {
			first = append(first, l)
			return nil
		})
		if err != nil {
			if !errors.Is(err, ErrBadBackup) {
				t.Errorf("error %v", err)
			}
			return
		}
		if len(first) != sum.Records+sum.Blobs {
			t.Errorf("%d lines, %+v", len(first), sum)
		}
		n := 0
		for _, l := range first {
			if _, err := decodeKey(l.Key); err != nil || len(l.Value) > MaxRecord || len(l.Data) > MaxBlob {
				t.Errorf("accepted %+v", l)
			}
		}
		if _, err := readBackup(bytes.NewReader(in), func(l backupLine) error {
			if l.Key != first[n].Key || l.Table != first[n].Table || !bytes.Equal(l.Value, first[n].Value) || !bytes.Equal(l.Data, first[n].Data) {
				t.Errorf("read again as %+v, was %+v", l, first[n])
			}
			n++
			return nil
		}); err != nil {
			t.Error(err)
		}
	})
}
