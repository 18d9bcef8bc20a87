package peer

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"reflect"
	"runtime"
	"testing"
	"testing/iotest"
)

// event is what a Reader gave: a message with copies of its payload and of its block.
type event struct {
	msg   Message
	block []byte
}

// drain reads everything from r, and of every third block nothing.
func drain(r *Reader) (events []event, err error) {
	dst := make([]byte, BlockSize)
	for {
		m, err := r.Next()
		if err != nil {
			return events, err
		}
		m.Payload = bytes.Clone(m.Payload)
		e := event{msg: m}
		if m.Type == TypePiece && !m.KeepAlive {
			switch m.Index % 3 {
			case 0:
				if _, err := r.ReadBlock(dst); err != nil {
					return events, err
				}
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

// conversation is every kind of message, several times, with bodies of many lengths.
func conversation(seed uint64) (stream []byte, want []event) {
	rnd := rand.New(rand.NewPCG(seed, 1))
	bytesOf := func(n int) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(rnd.Uint32())
		}
		return b
	}
	for i := range 60 {
		m := Message{Type: Type(rnd.IntN(24))}
		switch m.Type {
		case TypeHave, TypeSuggest, TypeAllowedFast:
			m.Index = rnd.Uint32()
		case TypeRequest, TypeCancel, TypeReject:
			m.Index, m.Begin, m.Length = rnd.Uint32(), rnd.Uint32(), rnd.Uint32()
		case TypePort:
			m.Port = uint16(rnd.Uint32())
		case TypePiece:
			m.Index, m.Begin, m.Payload = uint32(i), rnd.Uint32(), bytesOf(1+rnd.IntN(BlockSize))
			m.Length = uint32(len(m.Payload))
		case TypeBitfield:
			m.Payload = bytesOf(rnd.IntN(9000))
		case TypeExtended:
			m.ExtID, m.Payload = uint8(i), bytesOf(rnd.IntN(100_000))
		case TypeChoke, TypeUnchoke, TypeInterested, TypeNotInterested, TypeHaveAll, TypeHaveNone:
		default:
			m.Payload = bytesOf(rnd.IntN(MaxUnknown))
		}
		if i%10 == 0 {
			m = Message{KeepAlive: true}
		}
		stream = m.Append(stream)
		e := event{msg: m}
		if m.Type == TypePiece && !m.KeepAlive {
			if m.Index%3 == 0 {
				e.block = m.Payload
			}
			e.msg.Payload = nil
		}
		if len(e.msg.Payload) == 0 {
			e.msg.Payload = nil
		}
		want = append(want, e)
	}
	return stream, want
}

func TestReaderGivesTheSameMessagesHoweverTheBytesArrive(t *testing.T) {
	for seed := range uint64(4) {
		stream, want := conversation(seed)
		for name, src := range map[string]io.Reader{
			"at once":      bytes.NewReader(stream),
			"in halves":    iotest.HalfReader(bytes.NewReader(stream)),
			"byte by byte": iotest.OneByteReader(bytes.NewReader(stream)),
			"with the end": iotest.DataErrReader(bytes.NewReader(stream)),
		} {
			got, err := drain(NewReader(src))
			if err != io.EOF {
				t.Fatalf("%s, seed %d: ended with %v, want io.EOF", name, seed, err)
			}
			for i := range got {
				if len(got[i].msg.Payload) == 0 {
					got[i].msg.Payload = nil
				}
			}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("%s, seed %d: %d messages differ from the %d sent", name, seed, len(got), len(want))
			}
		}
	}
}

func TestConnectionCutWithinAMessageIsAnUnexpectedEnd(t *testing.T) {
	block := make([]byte, 5000)
	for _, m := range []Message{
		{Type: TypeHave, Index: 1},
		{Type: TypePiece, Index: 3, Payload: block},                   // read
		{Type: TypePiece, Index: 4, Payload: block},                   // discarded
		{Type: TypePiece, Index: 5, Payload: block},                   // left to the next call
		{Type: TypeExtended, ExtID: 1, Payload: make([]byte, 70_000)}, // larger than the buffer
	} {
		whole := m.Append(Message{KeepAlive: true}.Append(nil))
		for n := 5; n < len(whole); n += 1 + n/50 {
			if _, err := drain(NewReader(bytes.NewReader(whole[:n]))); err != io.ErrUnexpectedEOF {
				t.Errorf("%s cut to %d of %d bytes: error %v, want io.ErrUnexpectedEOF", m.Type, n, len(whole), err)
			}
		}
	}
}

func TestLengthPrefixOfTwoGigabytesIsRefusedBeforeTheBodyComes(t *testing.T) {
	for _, id := range []byte{0, 4, 5, 6, 7, 9, 20, 99} {
		pr, pw := io.Pipe()
		go pw.Write([]byte{0x7f, 0xff, 0xff, 0xff, id})
		_, err := NewReader(pr).Next()
		if !errors.Is(err, ErrLength) && !errors.Is(err, ErrTooLarge) {
			t.Errorf("type %d: error %v, want ErrLength or ErrTooLarge", id, err)
		}
		pr.Close()
	}
}

func TestPromisedBytesCostNoMemory(t *testing.T) {
	head := []byte{0, 0x10, 0, 1, 20, 1, 2, 3} // the longest extended message, of which three bytes come
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range 64 {
		if _, err := NewReader(bytes.NewReader(head)).Next(); err != io.ErrUnexpectedEOF {
			t.Fatal(err)
		}
	}
	runtime.ReadMemStats(&after)
	if each := (after.TotalAlloc - before.TotalAlloc) / 64; each > 3*growStep {
		t.Errorf("a promise of 1 MiB made the reader allocate %d bytes", each)
	}
}

func TestErrorsOfTheConnectionAreFinal(t *testing.T) {
	broken := errors.New("cable cut")
	r := NewReader(io.MultiReader(bytes.NewReader(AppendPieceHeader(nil, 0, 0, 10)), iotest.ErrReader(broken)))
	if _, err := r.Next(); err != nil {
		t.Fatal(err)
	}
	if _, err := r.ReadBlock(make([]byte, 10)); err != broken {
		t.Errorf("ReadBlock: %v, want the connection's error", err)
	}
	if _, err := r.Next(); err != broken {
		t.Errorf("Next after it: %v, want the same error", err)
	}
	if _, err := r.ReadBlock(make([]byte, 10)); err != broken {
		t.Errorf("ReadBlock after it: %v, want the same error", err)
	}
	if err := r.DiscardBlock(); err != broken {
		t.Errorf("DiscardBlock after it: %v, want the same error", err)
	}
}

func TestMistakesOfTheCallerLeaveTheReaderInStep(t *testing.T) {
	stream := Message{Type: TypeUnchoke}.Append(nil)
	stream = Message{Type: TypePiece, Payload: []byte("data")}.Append(stream)
	r := NewReader(bytes.NewReader(stream))
	if _, err := r.Next(); err != nil {
		t.Fatal(err)
	}
	if _, err := r.ReadBlock(make([]byte, 10)); !errors.Is(err, ErrBlock) {
		t.Errorf("ReadBlock after an unchoke: %v, want ErrBlock", err)
	}
	if err := r.DiscardBlock(); !errors.Is(err, ErrBlock) {
		t.Errorf("DiscardBlock after an unchoke: %v, want ErrBlock", err)
	}
	if m, err := r.Next(); err != nil || m.Length != 4 {
		t.Fatalf("%+v, %v", m, err)
	}
	if _, err := r.ReadBlock(make([]byte, 3)); !errors.Is(err, ErrBlock) {
		t.Errorf("ReadBlock into three bytes: %v, want ErrBlock", err)
	}
	dst := make([]byte, 5)
	if _, err := r.ReadBlock(dst); err != nil || string(dst) != "data\x00" {
		t.Errorf("block %q, %v", dst, err)
	}
}

// loop is a connection on which the same bytes come for ever, a TCP segment at a time.
type loop struct {
	b  []byte
	at int
}

func (l *loop) Read(p []byte) (int, error) {
	n := copy(p[:min(len(p), 1448)], l.b[l.at:])
	l.at = (l.at + n) % len(l.b)
	return n, nil
}

func TestBlocksAreReadWithoutAllocation(t *testing.T) {
	stream := Message{Type: TypePiece, Index: 1, Payload: make([]byte, BlockSize)}.Append(nil)
	stream = Message{Type: TypeHave, Index: 1}.Append(stream)
	r, dst := NewReader(&loop{b: stream}), make([]byte, BlockSize)
	if n := testing.AllocsPerRun(1000, func() {
		for range 2 {
			m, err := r.Next()
			if err != nil {
				t.Fatal(err)
			}
			if m.Type != TypePiece {
				continue
			}
			if _, err := r.ReadBlock(dst); err != nil {
				t.Fatal(err)
			}
		}
	}); n != 0 {
		t.Errorf("%v allocations for a block, want none", n)
	}
}

func TestBlocksAreWrittenWithoutAllocation(t *testing.T) {
	buf := make([]byte, 0, 64)
	if n := testing.AllocsPerRun(1000, func() {
		buf = AppendPieceHeader(buf[:0], 1, 2, BlockSize)
		buf = Message{Type: TypeRequest, Index: 1, Begin: 2, Length: BlockSize}.Append(buf)
	}); n != 0 {
		t.Errorf("%v allocations for a header and a request, want none", n)
	}
}

func BenchmarkReadBlock(b *testing.B) {
	stream := Message{Type: TypePiece, Index: 1, Payload: make([]byte, BlockSize)}.Append(nil)
	r, dst := NewReader(&loop{b: stream}), make([]byte, BlockSize)
	b.SetBytes(BlockSize)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.Next(); err != nil {
			b.Fatal(err)
		}
		if _, err := r.ReadBlock(dst); err != nil {
			b.Fatal(err)
		}
	}
}

func FuzzReader(f *testing.F) {
	f.Fuzz(func(t *testing.T, stream []byte) {
		got, err := drain(NewReader(bytes.NewReader(stream)))
		slow, slowErr := drain(NewReader(iotest.OneByteReader(bytes.NewReader(stream))))
		if !reflect.DeepEqual(got, slow) || err.Error() != slowErr.Error() {
			t.Errorf("at once %d messages and %v, byte by byte %d messages and %v", len(got), err, len(slow), slowErr)
		}
		if len(got) > len(stream)/4 {
			t.Errorf("%d messages out of %d bytes", len(got), len(stream))
		}
	})
}
