package storage

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

var (
	testPrint = [32]byte(bytes.Repeat([]byte{0xf0}, 32))
	testBoot  = [16]byte(bytes.Repeat([]byte{0xb0}, 16))
)

// journalBytes returns a journal of twelve pieces with these records, and the length of its header.
func journalBytes(snapshot bitfield, words ...uint32) (b []byte, header int) {
	h := journalHeader{pieces: 12, layout: testPrint, boot: testBoot, snapshot: snapshot}
	b, seed := h.appendMarshal(nil)
	header = len(b)
	for _, w := range words {
		b = appendRecord(b, seed, w)
	}
	return b, header
}

func TestJournalLooksAsDocumented(t *testing.T) {
	const header = "53424a31" + "0000000c" +
		"f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0" +
		"b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0" + "8010" + "HEADERSUM"
	tests := []struct {
		name    string
		words   []uint32
		records string
		durable []int
		tail    []uint32
	}{
		{"no records", nil, "", []int{0, 11}, nil},
		{"one piece", []uint32{3}, "00000003SUM3", []int{0, 11}, []uint32{3}},
		{"a mark for both", []uint32{3, 1, markBit | 2}, "00000003SUM3" + "00000001SUM1" + "80000002SUMM",
			[]int{0, 1, 3, 11}, nil},
		{"a mark for one", []uint32{3, 1, markBit | 1}, "00000003SUM3" + "00000001SUM1" + "80000001SUMN",
			[]int{0, 3, 11}, []uint32{1}},
		{"a piece after a mark", []uint32{3, markBit | 1, 1}, "00000003SUM3" + "80000001SUMN" + "00000001SUM1",
			[]int{0, 3, 11}, []uint32{1}},
	}
	sums := strings.NewReplacer("HEADERSUM", "45a55bde", "SUM3", "b1060457", "SUM1", "503d74a0", "SUMM", "11cd4e6b", "SUMN", "029dbd9f")
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b, _ := journalBytes(bitfield{0x80, 0x10}, tt.words...)
			if got, want := hex.EncodeToString(b), sums.Replace(header+tt.records); got != want {
				t.Errorf("bytes\n%s, want\n%s", got, want)
			}
			s, err := parseJournal(bytes.NewReader(b), 12, testPrint)
			if err != nil {
				t.Fatal(err)
			}
			var durable []int
			for i := range 12 {
				if s.durable.has(i) {
					durable = append(durable, i)
				}
			}
			if !slices.Equal(durable, tt.durable) || !slices.Equal(s.tail, tt.tail) {
				t.Errorf("durable %v, tail %v, want %v and %v", durable, s.tail, tt.durable, tt.tail)
			}
			if s.records != len(tt.words) || s.size != int64(len(b)) || s.torn || s.boot != testBoot {
				t.Errorf("state %+v", s)
			}
		})
	}
}

func TestEveryTruncationOfAJournalKeepsWholeRecordsOnly(t *testing.T) {
	words := []uint32{7, 8, markBit | 2, 0}
	b, header := journalBytes(newBitfield(12), words...)
	for n := range len(b) {
		s, err := parseJournal(bytes.NewReader(b[:n]), 12, testPrint)
		if n < header {
			if !errors.Is(err, errJournalDamaged) {
				t.Fatalf("%d bytes of a header of %d: %v, want damaged", n, header, err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if want := (n - header) / recordSize; s.records != want || s.size != int64(header+want*recordSize) {
			t.Fatalf("%d records of %d bytes after a cut at %d, want %d", s.records, s.size, n, want)
		}
		if want := (n-header)%recordSize != 0; s.torn != want {
			t.Fatalf("torn is %v after a cut at %d", s.torn, n)
		}
	}
}

func TestEveryChangedByteOfAJournalIsNoticed(t *testing.T) {
	b, header := journalBytes(bitfield{0x01, 0x80}, 7, markBit|1, 9)
	for i := range b {
		c := bytes.Clone(b)
		c[i] ^= 0x40
		s, err := parseJournal(bytes.NewReader(c), 12, testPrint)
		switch {
		case i < header && err == nil:
			t.Fatalf("byte %d of the header changed, and it was taken", i)
		case i >= header && (err != nil || !s.torn || s.records != (i-header)/recordSize):
			t.Fatalf("byte %d changed: %+v, %v", i, s, err)
		}
	}
}

func TestJournalOfAnotherLayoutIsForeign(t *testing.T) {
	b, _ := journalBytes(newBitfield(12), 1)
	if _, err := parseJournal(bytes.NewReader(b), 12, [32]byte{}); !errors.Is(err, errJournalForeign) {
		t.Errorf("another fingerprint: %v", err)
	}
	if _, err := parseJournal(bytes.NewReader(b), 11, testPrint); !errors.Is(err, errJournalForeign) {
		t.Errorf("another number of pieces: %v", err)
	}
}

func TestImpossibleRecordsEndAJournal(t *testing.T) {
	for name, words := range map[string][]uint32{
		"a piece that does not exist":     {1, 12},
		"a mark for records to come":      {1, markBit | 2},
		"a mark that takes an older back": {1, markBit | 1, markBit},
	} {
		b, _ := journalBytes(newBitfield(12), words...)
		s, err := parseJournal(bytes.NewReader(b), 12, testPrint)
		if err != nil || !s.torn || s.records != len(words)-1 {
			t.Errorf("%s: %+v, %v", name, s, err)
		}
	}
}

func TestSpareBitsOfTheSnapshotAreDamage(t *testing.T) {
	b, _ := journalBytes(bitfield{0, 0x08})
	if _, err := parseJournal(bytes.NewReader(b), 12, testPrint); !errors.Is(err, errJournalDamaged) {
		t.Fatalf("%v, want damaged", err)
	}
}

func TestRecordsOfAnOlderJournalAreNotTaken(t *testing.T) {
	old, header := journalBytes(newBitfield(12), 1, 2, 3)
	renewed, _ := journalBytes(bitfield{0x70, 0})
	s, err := parseJournal(bytes.NewReader(append(renewed, old[header:]...)), 12, testPrint)
	if err != nil || s.records != 0 || !s.torn {
		t.Fatalf("%+v, %v, want no records", s, err)
	}
}

func TestUnreadableJournalIsNotTakenForADamagedOne(t *testing.T) {
	broken := errors.New("broken")
	b, header := journalBytes(newBitfield(12))
	for n := range header {
		_, err := parseJournal(io.MultiReader(bytes.NewReader(b[:n]), iotest.ErrReader(broken)), 12, testPrint)
		if !errors.Is(err, broken) {
			t.Fatalf("read error after %d bytes: %v", n, err)
		}
	}
}

func FuzzJournal(f *testing.F) {
	whole, _ := journalBytes(bitfield{0x80, 0x10}, 3, 1, markBit|1, 5, markBit|3)
	f.Add(whole)
	f.Add(whole[:len(whole)-5])
	hostile, _ := journalBytes(newBitfield(12), 3, markBit|0x7fffffff)
	f.Add(hostile)
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := parseJournal(bytes.NewReader(b), 12, testPrint)
		if err != nil {
			return
		}
		if s.size > int64(len(b)) || s.torn != (s.size < int64(len(b))) || len(s.tail) > s.records {
			t.Fatalf("%d bytes gave %+v", len(b), s)
		}
		h := journalHeader{pieces: 12, layout: testPrint, boot: s.boot, snapshot: bytes.Clone(s.durable)}
		again, seed := h.appendMarshal(nil)
		for _, w := range s.tail {
			again = appendRecord(again, seed, w)
		}
		s2, err := parseJournal(bytes.NewReader(again), 12, testPrint)
		if err != nil || s2.boot != s.boot || !bytes.Equal(s2.durable, s.durable) || !slices.Equal(s2.tail, s.tail) ||
			s2.torn || s2.size != int64(len(again)) {
			t.Fatalf("%+v became %+v, %v", s, s2, err)
		}
	})
}
