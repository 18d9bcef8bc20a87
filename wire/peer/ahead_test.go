package peer

import (
	"bytes"
	"io"
	"math/rand/v2"
	"reflect"
	"testing"
	"testing/iotest"
)

// vectors is a connection on which at most so many bytes come together.
type vectors struct {
	*bytes.Reader
	together int
	calls    int
}

func (v *vectors) Read(b []byte) (int, error) { return v.Reader.Read(b[:min(len(b), v.together)]) }

func (v *vectors) ReadVector(bufs [][]byte) (n int, err error) {
	v.calls++
	left := v.together
	for _, b := range bufs {
		got, err := v.Reader.Read(b[:min(len(b), left)])
		n, left = n+got, left-got
		if err != nil || left == 0 {
			break
		}
	}
	if n == 0 {
		return 0, io.EOF
	}
	return n, nil
}

// drainAhead is drain for a caller who has room for so many blocks ahead.
func drainAhead(t *testing.T, r *Reader, room int) (events []event, err error) {
	var kept [][]byte
	for {
		m, err := r.Next()
		if err != nil {
			return events, err
		}
		m.Payload = bytes.Clone(m.Payload)
		e := event{msg: m}
		if m.Type == TypePiece && !m.KeepAlive {
			dst := make([]byte, BlockSize)
			if len(kept) > 0 {
				dst, kept = kept[0], kept[1:]
			}
			var next [][]byte
			for len(kept) == 0 && len(next) < room {
				next = append(next, bytes.Repeat([]byte{0xEE}, BlockSize))
			}
			switch m.Index % 3 {
			case 0:
				n, err := r.ReadBlock(dst, next...)
				if err != nil {
					return events, err
				}
				if n > min(len(next), MaxAhead) {
					t.Fatalf("%d blocks kept of %d", n, len(next))
				}
				kept = append(kept, next[:n]...)
				e.block = bytes.Clone(dst[:m.Length])
			case 1:
				if err := r.DiscardBlock(); err != nil {
					return events, err
				}
			}
		}
		events = append(events, e)
	}
}

// download is what a seeder sends: whole blocks, and now and then something else between them.
func download(seed uint64) (stream []byte) {
	rnd := rand.New(rand.NewPCG(seed, 2))
	for range 40 {
		m := Message{Type: TypePiece, Index: rnd.Uint32(), Begin: rnd.Uint32(), Payload: make([]byte, BlockSize)}
		for i := range m.Payload {
			m.Payload[i] = byte(rnd.Uint32())
		}
		if rnd.IntN(3) > 0 {
			m.Index -= m.Index % 3 // is read
		}
		switch rnd.IntN(12) {
		case 0:
			m.Payload = m.Payload[:1+rnd.IntN(BlockSize)]
		case 1:
			m = Message{Type: TypeHave, Index: 5}
		case 2:
			m = Message{Type: TypeExtended, ExtID: 1, Payload: m.Payload[:rnd.IntN(8000)]}
		case 3:
			m = Message{KeepAlive: true}
		}
		stream = m.Append(stream)
	}
	return stream
}

func TestBlocksReadAheadAreTheSameHoweverTheBytesArrive(t *testing.T) {
	for seed := range uint64(8) {
		stream := download(seed)
		want, _ := drain(NewReader(bytes.NewReader(stream)))
		for _, together := range []int{1, 12, 13, 14, 1448, BlockSize + 13, BlockSize + 14, 40_000, 1 << 20} {
			for room := range MaxAhead + 2 {
				got, err := drainAhead(t, NewReader(&vectors{Reader: bytes.NewReader(stream), together: together}), room)
				if err != io.EOF || !reflect.DeepEqual(got, want) {
					t.Fatalf("seed %d, %d bytes together, room for %d: %d messages, want %d, or they differ; %v",
						seed, together, room, len(got), len(want), err)
				}
			}
		}
	}
}

func TestBlocksThatCameTogetherCostOneSystemCall(t *testing.T) {
	stream := bytes.Repeat(Message{Type: TypePiece, Payload: make([]byte, BlockSize)}.Append(nil), 1+4*10)
	src := &vectors{Reader: bytes.NewReader(stream), together: len(stream)}
	if _, err := drainAhead(t, NewReader(src), MaxAhead); err != io.EOF {
		t.Fatal(err)
	}
	if src.calls > 12 {
		t.Errorf("%d calls for 41 blocks, want one for four", src.calls)
	}
}

func TestTheEndWithinABlockReadAheadIsUnexpected(t *testing.T) {
	stream := bytes.Repeat(Message{Type: TypePiece, Payload: make([]byte, BlockSize)}.Append(nil), 2)
	for _, cut := range []int{1, 12, 13, 14, BlockSize + 12} {
		src := &vectors{Reader: bytes.NewReader(stream[:BlockSize+blockHead+cut]), together: 1 << 20}
		got, err := drainAhead(t, NewReader(src), MaxAhead)
		if err != io.ErrUnexpectedEOF || len(got) != 1 {
			t.Errorf("%d bytes into the second block: %d messages and %v", cut, len(got), err)
		}
	}
}

func TestBlocksAreReadAheadWithoutAllocation(t *testing.T) {
	stream := bytes.Repeat(Message{Type: TypePiece, Payload: make([]byte, BlockSize)}.Append(nil), 4000)
	r := NewReader(&vectors{Reader: bytes.NewReader(stream), together: 50_000})
	buf := [1 + MaxAhead][]byte{}
	for i := range buf {
		buf[i] = make([]byte, BlockSize)
	}
	kept := 0
	if n := testing.AllocsPerRun(1000, func() {
		if _, err := r.Next(); err != nil {
			t.Fatal(err)
		}
		next := buf[1:]
		if kept > 0 {
			kept--
			next = nil
		}
		n, err := r.ReadBlock(buf[0], next...)
		if err != nil {
			t.Fatal(err)
		}
		kept += n
	}); n != 0 {
		t.Errorf("%v allocations for a block, want none", n)
	}
}

func FuzzReadAhead(f *testing.F) {
	f.Fuzz(func(t *testing.T, stream []byte, together uint16, room uint8) {
		stream = grow(stream)
		got, err := drainAhead(t, NewReader(&vectors{Reader: bytes.NewReader(stream), together: 1 + int(together)}), int(room%5))
		slow, slowErr := drain(NewReader(iotest.OneByteReader(bytes.NewReader(stream))))
		if !reflect.DeepEqual(got, slow) || err.Error() != slowErr.Error() {
			t.Errorf("ahead %d messages and %v, byte by byte %d messages and %v", len(got), err, len(slow), slowErr)
		}
	})
}

// grow puts a whole block in the place of each 0xFF, since inputs of a fuzzer are short.
func grow(stream []byte) []byte {
	whole := Message{Type: TypePiece, Payload: make([]byte, BlockSize)}.Append(nil)
	return bytes.ReplaceAll(stream, []byte{0xFF}, whole)
}
