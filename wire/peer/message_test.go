package peer

import (
	"bytes"
	"encoding/hex"
	"errors"
	"reflect"
	"strings"
	"testing"
)

var messageTable = []struct {
	hex string // with the length prefix
	msg Message
}{
	{"00000000", Message{KeepAlive: true}},
	{"0000000100", Message{Type: TypeChoke}},
	{"0000000101", Message{Type: TypeUnchoke}},
	{"0000000102", Message{Type: TypeInterested}},
	{"0000000103", Message{Type: TypeNotInterested}},
	{"0000000504" + "00000102", Message{Type: TypeHave, Index: 0x102}},
	{"0000000305" + "ff80", Message{Type: TypeBitfield, Payload: []byte{0xff, 0x80}}},
	{"0000000d06" + "00000001" + "00004000" + "00004000", Message{Type: TypeRequest, Index: 1, Begin: 0x4000, Length: 0x4000}},
	{"0000000c07" + "00000001" + "00004000" + "010203", Message{Type: TypePiece, Index: 1, Begin: 0x4000, Length: 3, Payload: []byte{1, 2, 3}}},
	{"0000000d08" + "ffffffff" + "fffffffe" + "fffffffd", Message{Type: TypeCancel, Index: 1<<32 - 1, Begin: 1<<32 - 2, Length: 1<<32 - 3}},
	{"0000000309" + "1ae1", Message{Type: TypePort, Port: 6881}},
	{"000000050d" + "00000007", Message{Type: TypeSuggest, Index: 7}},
	{"000000010e", Message{Type: TypeHaveAll}},
	{"000000010f", Message{Type: TypeHaveNone}},
	{"0000000d10" + "00000001" + "00000000" + "00004000", Message{Type: TypeReject, Index: 1, Length: 0x4000}},
	{"0000000511" + "00000009", Message{Type: TypeAllowedFast, Index: 9}},
	{"0000000614" + "00" + "64313a6d"[:8], Message{Type: TypeExtended, Payload: []byte("d1:m")}},
	{"0000000214" + "03", Message{Type: TypeExtended, ExtID: 3, Payload: []byte{}}},
	{"0000000363" + "beef", Message{Type: 99, Payload: []byte{0xbe, 0xef}}},
}

func TestMessagesAreReadAndWrittenAsInTheBEPs(t *testing.T) {
	for _, c := range messageTable {
		b := unhex(t, c.hex)
		got, err := Parse(b[4:])
		if err != nil {
			t.Errorf("%s: %v", c.hex, err)
			continue
		}
		if got.Payload == nil && c.msg.Payload != nil || !reflect.DeepEqual(got, c.msg) {
			t.Errorf("%s is read as %+v, want %+v", c.hex, got, c.msg)
		}
		if out := hex.EncodeToString(c.msg.Append(nil)); out != c.hex {
			t.Errorf("%+v is written as %s, want %s", c.msg, out, c.hex)
		}
	}
}

func TestEveryTruncationOfAMessageOfFixedLengthFails(t *testing.T) {
	for _, c := range messageTable {
		switch c.msg.Type {
		case TypeBitfield, TypePiece, TypeExtended, 99:
			continue // they may have other lengths
		}
		frame := unhex(t, c.hex)[4:]
		for n := 1; n < len(frame); n++ {
			if _, err := Parse(frame[:n]); !errors.Is(err, ErrLength) {
				t.Errorf("%s cut to %d bytes: error %v, want ErrLength", c.msg.Type, n, err)
			}
		}
		if len(frame) == 0 {
			continue
		}
		if _, err := Parse(append(frame, 0)); !errors.Is(err, ErrLength) {
			t.Errorf("%s with a byte too many: error %v, want ErrLength", c.msg.Type, err)
		}
	}
}

func TestMessagesHaveTheirLimits(t *testing.T) {
	for _, c := range []struct {
		what string
		t    Type
		n    int // bytes after the type
		want error
	}{
		{"a block of 16 KiB", TypePiece, 8 + BlockSize, nil},
		{"a block of one byte more", TypePiece, 8 + BlockSize + 1, ErrTooLarge},
		{"a block without data", TypePiece, 8, ErrLength},
		{"a piece message without its offset", TypePiece, 7, ErrLength},
		{"4 Mi pieces", TypeBitfield, MaxBitfield, nil},
		{"more pieces", TypeBitfield, MaxBitfield + 1, ErrTooLarge},
		{"1 MiB of extension", TypeExtended, MaxExtended, nil},
		{"more extension", TypeExtended, MaxExtended + 1, ErrTooLarge},
		{"an extended message without id", TypeExtended, 0, ErrLength},
		{"64 KiB of the unknown", 200, MaxUnknown, nil},
		{"more of the unknown", 200, MaxUnknown + 1, ErrTooLarge},
	} {
		frame := make([]byte, 1+c.n)
		frame[0] = byte(c.t)
		if _, err := Parse(frame); !errors.Is(err, c.want) {
			t.Errorf("%s: error %v, want %v", c.what, err, c.want)
		}
		r := NewReader(bytes.NewReader(append([]byte{byte(len(frame) >> 24), byte(len(frame) >> 16), byte(len(frame) >> 8), byte(len(frame))}, frame...)))
		if _, err := r.Next(); !errors.Is(err, c.want) {
			t.Errorf("%s from a Reader: error %v, want %v", c.what, err, c.want)
		}
	}
}

func TestPieceHeaderAndDataMakeAPieceMessage(t *testing.T) {
	data := []byte("sixteen KiB or less")
	want := Message{Type: TypePiece, Index: 3, Begin: 1 << 14, Payload: data}.Append(nil)
	got := append(AppendPieceHeader(nil, 3, 1<<14, uint32(len(data))), data...)
	if !bytes.Equal(got, want) {
		t.Errorf("header and data are %x, want %x", got, want)
	}
}

func TestTypesHaveTheNamesOfTheBEPs(t *testing.T) {
	if s := TypeAllowedFast.String(); s != "allowed fast" {
		t.Errorf("type 17 is called %q", s)
	}
	if s := Type(10).String() + ", " + Type(77).String(); s != "type 10, type 77" {
		t.Errorf("unknown types are called %q", s)
	}
}

func FuzzMessage(f *testing.F) {
	f.Fuzz(func(t *testing.T, frame []byte) {
		m, err := Parse(frame)
		if err != nil {
			if strings.ContainsAny(err.Error(), "\n\x00") {
				t.Errorf("the error is more than a line: %q", err)
			}
			return
		}
		out := m.Append(nil)
		if !bytes.Equal(out[4:], frame) {
			t.Errorf("%x was written as %x", frame, out[4:])
		}
		again, err := Parse(out[4:])
		if err != nil || !reflect.DeepEqual(again, m) {
			t.Errorf("%+v came back as %+v, %v", m, again, err)
		}
	})
}
