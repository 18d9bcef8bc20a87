package control

import (
	"bytes"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
)

func stream(t testing.TB, messages ...Message) []byte {
	t.Helper()
	var b bytes.Buffer
	for _, m := range messages {
		if err := WriteMessage(&b, m); err != nil {
			t.Fatal(err)
		}
	}
	return b.Bytes()
}

// unknownFrame is a frame of a type from the future.
var unknownFrame = unhex("06 a2 00 18 63 01 05")

func TestStreamReturnsItsMessagesInOrder(t *testing.T) {
	sent := []Message{Hello{Version: 1, Name: "attic"}, Progress{ID: testID, Error: strings.Repeat("e", MaxText)}, Synced{}, Gone{testID}}
	b := unhex("03 a10005")
	if got := stream(t, Synced{}); !bytes.Equal(got, b) {
		t.Errorf("the documented frame is written as %x", got)
	}
	b = append(bytes.Clone(unknownFrame), stream(t, sent...)...)
	b = append(b, unknownFrame...)
	for name, r := range map[string]io.Reader{
		"at once": bytes.NewReader(b), "byte by byte": iotest.OneByteReader(bytes.NewReader(b)), "with EOF": iotest.DataErrReader(bytes.NewReader(b)),
	} {
		in := NewReader(r)
		for _, want := range sent {
			if m, err := in.Next(); err != nil || !reflect.DeepEqual(m, want) {
				t.Errorf("%s: %+v, %v", name, m, err)
			}
		}
		if m, err := in.Next(); err != io.EOF {
			t.Errorf("%s: %v, %v after the end", name, m, err)
		}
	}
}

func TestStreamThatEndsInAFrameIsCutShort(t *testing.T) {
	b := stream(t, Refused{RefusedBusy, strings.Repeat("r", 200)}) // a length of two bytes
	for n := 1; n < len(b); n++ {
		if m, err := NewReader(bytes.NewReader(b[:n])).Next(); err != io.ErrUnexpectedEOF {
			t.Errorf("cut to %d bytes: %v, %v", n, m, err)
		}
	}
}

func TestErrorsOfTheStreamComeThrough(t *testing.T) {
	broken := errors.New("broken")
	b := stream(t, Synced{})
	for n := range b {
		r := NewReader(io.MultiReader(bytes.NewReader(b[:n]), iotest.ErrReader(broken)))
		if _, err := r.Next(); !errors.Is(err, broken) {
			t.Errorf("after %d bytes: %v", n, err)
		}
	}
}

func TestBadLengthsAreRefused(t *testing.T) {
	for name, c := range map[string]struct {
		frame string
		want  error
	}{
		"zero":                  {"00", ErrMalformed},
		"one byte too many":     {"81 80 04", ErrFrameTooLarge},
		"the most in 3 bytes":   {"ff ff 7f", ErrFrameTooLarge},
		"4 bytes":               {"80 80 80 01", ErrFrameTooLarge},
		"beyond 64 bits":        {"ff ff ff ff ff ff ff ff ff 7f", ErrFrameTooLarge},
		"without end":           {"80 80 80 80 80 80 80 80 80 80 80 80", ErrFrameTooLarge},
		"3 in two bytes":        {"83 00 a1 00 05", ErrMalformed},
		"3 in three bytes":      {"83 80 00 a1 00 05", ErrMalformed},
		"0 in two bytes":        {"80 00", ErrMalformed},
		"less than the message": {"02 a1 00 05", ErrMalformed},
		"more than the message": {"04 a1 00 05 00", ErrMalformed},
	} {
		if m, err := NewReader(bytes.NewReader(unhex(c.frame))).Next(); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, %v", name, m, err)
		}
	}
}

func TestLargestFrameIsRead(t *testing.T) {
	// An unknown key with a byte string that fills the frame.
	body := append(unhex("a2 00 05 18 40 59"), byte((MaxFrame-8)>>8), byte((MaxFrame-8)&0xff))
	body = append(body, make([]byte, MaxFrame-len(body))...)
	b := append(unhex("80 80 04"), body...)
	r := NewReader(bytes.NewReader(append(b, stream(t, Gone{testID})...)))
	for _, want := range []Message{Synced{}, Gone{testID}} {
		if m, err := r.Next(); err != nil || m != want {
			t.Errorf("%v, %v", m, err)
		}
	}
	if cap(r.buf) > keptBuffer {
		t.Errorf("the reader keeps %d bytes", cap(r.buf))
	}
}

type countingWriter struct{ calls, bytes int }

func (w *countingWriter) Write(b []byte) (int, error) {
	w.calls++
	w.bytes += len(b)
	return len(b), nil
}

func TestMessageIsWrittenInOneCall(t *testing.T) {
	var w countingWriter
	if err := WriteMessage(&w, Refused{RefusedBusy, strings.Repeat("r", 1000)}); err != nil || w.calls != 1 || w.bytes < 1000 {
		t.Errorf("%+v, %v", w, err)
	}
	if err := WriteMessage(&w, LayoutFiles{}); !errors.Is(err, ErrUnsendable) || w.calls != 1 {
		t.Errorf("an unsendable message: %+v, %v", w, err)
	}
}

func TestIdleReaderIsSmall(t *testing.T) {
	r := NewReader(bytes.NewReader(stream(t, Synced{})))
	if _, err := r.Next(); err != nil {
		t.Fatal(err)
	}
	if got := r.r.Size() + cap(r.buf); got > 8<<10 {
		t.Errorf("a reader of small messages holds %d bytes", got)
	}
}

func BenchmarkProgress(b *testing.B) {
	m := Progress{ID: testID, Generation: 1, State: StateDownloading, Size: 1 << 30, Have: 1 << 29}
	for range 40 {
		m.Peers = append(m.Peers, Peer{addr("203.0.113.9:6881"), "Transmission 3.00", "tcp", "dialled", 125000, 2048})
	}
	frame := mustAppend(b, m)
	b.Run("append", func(b *testing.B) {
		b.ReportAllocs()
		b.ReportMetric(float64(len(frame)), "frame-bytes")
		for b.Loop() {
			mustAppend(b, m)
		}
	})
	b.Run("parse", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := ParseMessage(frame); err != nil {
				b.Fatal(err)
			}
		}
	})
}
