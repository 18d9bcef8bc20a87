package control

import (
	"encoding/binary"
	"io"
)

// ReadHeader reads the frame with which a stream begins, and not a byte more: what follows may be no frames. It returns the
// frame's bytes too, for who reads the whole stream from its beginning. The errors are those of Reader.Next, and
// ErrUnknownType.
func ReadHeader(r io.Reader) (m Message, frame []byte, err error) {
	n, size, err := readLength(byteReader{r})
	if err != nil {
		return nil, nil, err
	}
	frame = binary.AppendUvarint(make([]byte, 0, size+n), uint64(n))[:size+n]
	if _, err := io.ReadFull(r, frame[size:]); err != nil {
		return nil, nil, noEOF(err)
	}
	m, err = ParseMessage(frame[size:])
	return m, frame, err
}

// byteReader reads byte by byte.
type byteReader struct{ io.Reader }

// ReadByte reads one.
func (r byteReader) ReadByte() (byte, error) {
	var b [1]byte
	_, err := io.ReadFull(r.Reader, b[:])
	return b[0], err
}
