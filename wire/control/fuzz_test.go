package control

import (
	"bytes"
	"crypto/sha1"
	"errors"
	"io"
	"reflect"
	"testing"
)

func FuzzParseMessage(f *testing.F) {
	for _, e := range examples(f) {
		f.Add(e.frame)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := ParseMessage(b)
		if err != nil {
			if !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrUnknownType) && !errors.Is(err, ErrFrameTooLarge) {
				t.Fatalf("an error of no kind: %v", err)
			}
			return
		}
		written, err := AppendMessage(nil, m)
		if err != nil {
			t.Fatalf("read but not writable: %+v: %v", m, err)
		}
		again, err := ParseMessage(written)
		if err != nil || !reflect.DeepEqual(again, m) {
			t.Fatalf("%+v became %+v, %v", m, again, err)
		}
	})
}

func FuzzReader(f *testing.F) {
	f.Fuzz(func(t *testing.T, b []byte) {
		var written bytes.Buffer
		var read []Message
		r := NewReader(bytes.NewReader(b))
		for {
			m, err := r.Next()
			if err != nil {
				break
			}
			read = append(read, m)
			if err := WriteMessage(&written, m); err != nil {
				t.Fatalf("read but not writable: %+v: %v", m, err)
			}
		}
		r = NewReader(&written)
		for _, want := range read {
			if m, err := r.Next(); err != nil || !reflect.DeepEqual(m, want) {
				t.Fatalf("%+v became %+v, %v", want, m, err)
			}
		}
		if m, err := r.Next(); err != io.EOF {
			t.Fatalf("%+v, %v after the end", m, err)
		}
	})
}

func FuzzReadLayout(f *testing.F) {
	f.Fuzz(func(t *testing.T, b []byte) {
		l, err := ReadLayout(bytes.NewReader(b))
		var copied bytes.Buffer
		if h, err2 := CopyLayout(&copied, bytes.NewReader(b)); err2 == nil && (err != nil || h != l.LayoutHeader || !bytes.Equal(copied.Bytes(), b)) {
			t.Fatalf("copied %+v, read %+v, %v", h, l, err)
		}
		if err != nil {
			return
		}
		if l.HashOffset > int64(len(b)) {
			t.Fatalf("hashes at %d of %d bytes", l.HashOffset, len(b))
		}
		if l.Pieces > 1<<10 {
			return // the hashes would only take time
		}
		var written bytes.Buffer
		if err := WriteLayout(&written, l.LayoutHeader, l.FileTable, make([]byte, int(l.Pieces)*sha1.Size)); err != nil {
			t.Fatalf("read but not writable: %v", err)
		}
		again, err := ReadLayout(&written)
		if err != nil || again.LayoutHeader != l.LayoutHeader || !reflect.DeepEqual(again.FileTable, l.FileTable) {
			t.Fatalf("%+v became %+v, %v", l, again, err)
		}
	})
}

func FuzzParseInvite(f *testing.F) {
	f.Fuzz(func(t *testing.T, s string) {
		i, err := ParseInvite(s)
		if err != nil {
			if !errors.Is(err, ErrInvite) || i != (Invite{}) {
				t.Fatalf("%v, %v", i, err)
			}
			return
		}
		if again, err := ParseInvite(i.String()); err != nil || again != i {
			t.Fatalf("%v became %v, %v", i, again, err)
		}
	})
}
