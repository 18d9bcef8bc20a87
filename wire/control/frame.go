package control

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
)

// keptBuffer is how large a reader's frame buffer may stay between frames: few frames are larger, and a surrogate
// has thousands of readers.
const keptBuffer = 4 << 10

// WriteMessage writes m as one frame in one Write call. The error is ErrUnsendable (then nothing was written) or w's.
func WriteMessage(w io.Writer, m Message) error {
	frame, err := appendFrame(nil, m)
	if err != nil {
		return err
	}
	_, err = w.Write(frame)
	return err
}

// appendFrame appends the length and the map of m to b.
func appendFrame(b []byte, m Message) ([]byte, error) {
	body, err := AppendMessage(nil, m)
	if err != nil {
		return b, err
	}
	b = binary.AppendUvarint(b, uint64(len(body)))
	return append(b, body...), nil
}

// Reader reads frames from a stream, for one goroutine. It holds at most one frame (MaxFrame) and a read buffer of a few
// KiB, so it may have read more from the stream than it has returned.
type Reader struct {
	r    *bufio.Reader
	buf  []byte
	read int64 // bytes of the stream in the frames returned or skipped so far
}

// NewReader returns a Reader of r. Deadlines are the caller's, on r.
func NewReader(r io.Reader) *Reader {
	return &Reader{r: bufio.NewReaderSize(r, keptBuffer)}
}

// Next returns the next message; it skips messages of unknown types. The error is io.EOF at the end between two frames,
// io.ErrUnexpectedEOF within one, ErrFrameTooLarge, ErrMalformed, or the stream's. After an error the stream is lost.
func (r *Reader) Next() (Message, error) {
	for {
		frame, err := r.frame()
		if err != nil {
			return nil, err
		}
		m, err := ParseMessage(frame)
		if !errors.Is(err, ErrUnknownType) {
			return m, err
		}
	}
}

// frame reads one frame's map; it is valid until the next call.
func (r *Reader) frame() ([]byte, error) {
	n, err := r.length()
	if err != nil {
		return nil, err
	}
	if cap(r.buf) < n || cap(r.buf) > keptBuffer {
		r.buf = make([]byte, max(n, keptBuffer))
	}
	frame := r.buf[:n]
	if _, err := io.ReadFull(r.r, frame); err != nil {
		return nil, noEOF(err)
	}
	r.read += int64(n)
	return frame, nil
}

func (r *Reader) length() (int, error) {
	n, size, err := readLength(r.r)
	r.read += int64(size)
	return n, err
}

// readLength reads a frame's length, which takes so many bytes: LEB128 in its shortest form, 1 to MaxFrame, hence at most three.
func readLength(r io.ByteReader) (n, size int, err error) {
	for {
		c, err := r.ReadByte()
		if err != nil {
			if size > 0 {
				err = noEOF(err)
			}
			return 0, size, err
		}
		n |= int(c&0x7f) << (7 * size)
		size++
		switch {
		case n > MaxFrame, size == 3 && c >= 0x80:
			return 0, size, ErrFrameTooLarge
		case c >= 0x80:
			continue
		case c == 0 && size > 1:
			return 0, size, malformed("a frame's length is not in its shortest form")
		case n == 0:
			return 0, size, malformed("empty frame")
		}
		return n, size, nil
	}
}

func noEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
