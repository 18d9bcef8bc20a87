package peer

import (
	"bytes"
	"errors"
	"reflect"
	"strings"
	"testing"
)

func TestMetadataMessagesAreReadAndWrittenAsInBEP9(t *testing.T) {
	for _, c := range []struct {
		wire string
		want MetadataMessage
	}{
		{"d8:msg_typei0e5:piecei0ee", MetadataMessage{Type: MetadataRequest}},
		{"d8:msg_typei1e5:piecei0e10:total_sizei3425eexxxxxxxx", MetadataMessage{Type: MetadataData, TotalSize: 3425, Data: []byte("xxxxxxxx")}},
		{"d8:msg_typei2e5:piecei7ee", MetadataMessage{Type: MetadataReject, Piece: 7}},
		{"d8:msg_typei1e5:piecei4294967295e10:total_sizei1eed", MetadataMessage{Type: MetadataData, Piece: 1<<32 - 1, TotalSize: 1, Data: []byte("d")}},
		{"d8:msg_typei9e5:piecei1ee", MetadataMessage{Type: 9, Piece: 1}},
	} {
		got, err := ParseMetadataMessage([]byte(c.wire))
		if err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%q is read as %+v, %v; want %+v", c.wire, got, err, c.want)
		}
		if out := string(c.want.AppendMarshal(nil)); out != c.wire {
			t.Errorf("%+v is written as %q, want %q", c.want, out, c.wire)
		}
	}
}

func TestEveryTruncatedMetadataMessageFails(t *testing.T) {
	const wire = "d8:msg_typei1e5:piecei0e10:total_sizei3425ee"
	for n := range wire {
		if _, err := ParseMetadataMessage([]byte(wire[:n])); !errors.Is(err, ErrBencode) {
			t.Errorf("cut to %q: error %v, want ErrBencode", wire[:n], err)
		}
	}
}

func TestMetadataMessageWithoutKindOrPieceFails(t *testing.T) {
	for _, wire := range []string{
		"de", "d8:msg_typei0ee", "d5:piecei0ee", "d8:msg_typei256e5:piecei0ee", "d8:msg_typei-1e5:piecei0ee",
		"d8:msg_typei0e5:piecei-1ee", "d8:msg_typei0e5:piecei4294967296ee", "d8:msg_type1:05:piecei0ee",
	} {
		if _, err := ParseMetadataMessage([]byte(wire)); !errors.Is(err, ErrBencode) {
			t.Errorf("%q: error %v, want ErrBencode", wire, err)
		}
	}
}

func TestMetadataPieceAbove16KiBIsRefused(t *testing.T) {
	head := "d8:msg_typei1e5:piecei0e10:total_sizei99999ee"
	if m, err := ParseMetadataMessage([]byte(head + strings.Repeat("x", MetadataPieceSize))); err != nil || len(m.Data) != MetadataPieceSize {
		t.Errorf("16 KiB: %d bytes, %v", len(m.Data), err)
	}
	if _, err := ParseMetadataMessage([]byte(head + strings.Repeat("x", MetadataPieceSize+1))); !errors.Is(err, ErrTooLarge) {
		t.Errorf("16 KiB and a byte: error %v, want ErrTooLarge", err)
	}
}

func TestDataBehindARejectIsIgnored(t *testing.T) {
	m, err := ParseMetadataMessage([]byte("d8:msg_typei2e5:piecei0e10:total_sizei5eehello"))
	if err != nil || m.Data != nil || m.TotalSize != 0 {
		t.Errorf("%+v, %v", m, err)
	}
}

func FuzzMetadataMessage(f *testing.F) {
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := ParseMetadataMessage(b)
		if err != nil {
			return
		}
		out := m.AppendMarshal(nil)
		again, err := ParseMetadataMessage(out)
		if err != nil || again.Type != m.Type || again.Piece != m.Piece || again.TotalSize != m.TotalSize || !bytes.Equal(again.Data, m.Data) {
			t.Errorf("%+v was written as %q and came back as %+v, %v", m, out, again, err)
		}
	})
}
