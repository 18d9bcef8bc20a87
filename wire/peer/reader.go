package peer

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

const (
	// headerBuffer holds the small messages. It is small so that most of a block goes from the connection straight to
	// its place, and so that hundreds of idle peers cost little.
	headerBuffer = 4 << 10
	// growStep is what a large message may cost before its first byte has come.
	growStep = 32 << 10
)

// ErrBlock is the error of [Reader.ReadBlock] and [Reader.DiscardBlock] where no block is waiting or the buffer given is
// too small: a mistake of the caller, after which the connection is still in step.
var ErrBlock = errors.New("no block to read, or no room for it")

// Reader reads the messages of one connection after its handshake. It never reads more from the connection than it is
// asked to wait for plus 4 KiB. One goroutine may use it; deadlines are the business of whoever owns the connection.
// Any error but [ErrBlock] is final.
type Reader struct {
	src        io.Reader
	err        error
	large      []byte // the body of a message that does not fit into buf; given back with the next call
	block      int    // bytes of the current piece message not read yet
	there      int    // bytes of it that are in their place already
	start, end int    // what is unread in buf
	buf        []byte // small, or for a time larger, see spill
	small      [headerBuffer]byte
	ahead      ahead
}

// NewReader returns a Reader of the messages that come from src. Where src is a [VectorReader], a block costs one system call
// at most, and several that come together share one.
func NewReader(src io.Reader) *Reader {
	r := &Reader{src: src}
	r.buf = r.small[:]
	r.ahead.src, _ = src.(VectorReader)
	return r
}

// Next returns the next message. Payload is valid until the next call of any method. Of a piece message it returns Index,
// Begin and Length only: the data is next on the connection and goes to [Reader.ReadBlock] or [Reader.DiscardBlock];
// what was left of it is dropped. Messages of unknown types are returned for the caller to ignore.
//
// The error is io.EOF where the connection ended between two messages and io.ErrUnexpectedEOF within one, wraps [ErrLength]
// or [ErrTooLarge] where the peer broke the protocol, and is otherwise that of the connection.
func (r *Reader) Next() (Message, error) {
	r.large = nil
	if r.block > 0 {
		if err := r.DiscardBlock(); err != nil {
			return Message{}, err
		}
	}
	if m, ok := r.nextAhead(); ok {
		return m, nil
	}
	if r.err != nil {
		return Message{}, r.err
	}
	m, err := r.next()
	if err != nil {
		r.err = err
	}
	return m, err
}

func (r *Reader) next() (Message, error) {
	if err := r.fill(4); err != nil {
		return Message{}, err
	}
	n := binary.BigEndian.Uint32(r.buf[r.start:])
	if n == 0 {
		r.start += 4
		return Message{KeepAlive: true}, nil
	}
	if err := r.fill(5); err != nil {
		return Message{}, err
	}
	t := Type(r.buf[r.start+4])
	if err := checkLength(t, n); err != nil {
		return Message{}, err
	}
	if t == TypePiece {
		if err := r.fill(4 + pieceHeaderLen); err != nil {
			return Message{}, err
		}
		head := r.buf[r.start:]
		r.start += 4 + pieceHeaderLen
		r.block, r.there = int(n)-pieceHeaderLen, 0
		return pieceHead(head, r.block), nil
	}
	frame, err := r.frame(int(n))
	if err != nil {
		return Message{}, err
	}
	return Parse(frame)
}

// pieceHead is the message of a piece that has so many bytes of data.
func pieceHead(head []byte, length int) Message {
	return Message{
		Type:   TypePiece,
		Index:  binary.BigEndian.Uint32(head[5:]),
		Begin:  binary.BigEndian.Uint32(head[9:]),
		Length: uint32(length),
	}
}

// frame returns the n bytes after the length prefix, from buf where they fit.
func (r *Reader) frame(n int) ([]byte, error) {
	if 4+n <= len(r.buf) {
		if err := r.fill(4 + n); err != nil {
			return nil, err
		}
		frame := r.buf[r.start+4 : r.start+4+n]
		r.start += 4 + n
		return frame, nil
	}
	r.start += 4
	b := make([]byte, 0, min(n, growStep))
	for len(b) < n {
		if len(b) == cap(b) {
			grown := make([]byte, len(b), min(n, 2*cap(b)))
			copy(grown, b)
			b = grown
		}
		room := b[len(b):cap(b)]
		if err := r.full(room); err != nil {
			return nil, err
		}
		b = b[:cap(b)]
	}
	r.large = b
	return b, nil
}

// ReadBlock reads the data of the piece message that Next returned last into dst[:Length]. The data goes from the
// connection straight into dst but for the few KiB that came together with the message's head. The error is [ErrBlock]
// where there is no such data or dst is shorter, or that of the connection; a block cut short is io.ErrUnexpectedEOF.
//
// Next may be buffers of [BlockSize] for the blocks that may come right behind; more than [MaxAhead] are not used. The first
// kept of them have begun to be filled: each must be the dst of one of the next calls, in this order, with no next before
// the last of them. The others are the caller's again.
func (r *Reader) ReadBlock(dst []byte, next ...[]byte) (kept int, err error) {
	switch {
	case r.err != nil:
		return 0, r.err
	case r.block == 0:
		return 0, fmt.Errorf("%w: the last message was no piece or its data is read", ErrBlock)
	case len(dst) < r.block:
		return 0, fmt.Errorf("%w: %d bytes for a block of %d", ErrBlock, len(dst), r.block)
	}
	dst = dst[r.there:r.block]
	r.block = 0
	n := copy(dst, r.buf[r.start:r.end])
	r.start += n
	switch {
	case n == len(dst):
	case r.ahead.src != nil:
		kept, err = r.scatter(dst[n:], next[:min(len(next), MaxAhead)])
	default:
		_, err = io.ReadFull(r.src, dst[n:])
	}
	if err != nil {
		r.err = unexpected(err)
		return 0, r.err
	}
	return kept, nil
}

// DiscardBlock reads the data of the piece message that Next returned last and drops it. Its errors are those of
// ReadBlock.
func (r *Reader) DiscardBlock() error {
	switch {
	case r.err != nil:
		return r.err
	case r.block == 0:
		return fmt.Errorf("%w: the last message was no piece or its data is read", ErrBlock)
	}
	r.block, r.there = r.block-r.there, 0
	for r.block > 0 {
		if r.start == r.end {
			if err := r.fill(1); err != nil {
				r.err = unexpected(err)
				return r.err
			}
		}
		n := min(r.block, r.end-r.start)
		r.start += n
		r.block -= n
	}
	return nil
}

// fill waits until n ≤ len(buf) unread bytes are in buf. It is io.EOF where not one is.
func (r *Reader) fill(n int) error {
	have := r.end - r.start
	if have >= n {
		return nil
	}
	if have == 0 {
		r.buf, r.start, r.end = r.small[:], 0, 0
	}
	if r.start+n > len(r.buf) {
		copy(r.buf, r.buf[r.start:r.end])
		r.start, r.end = 0, have
	}
	got, err := io.ReadAtLeast(r.src, r.buf[r.end:], n-have)
	r.end += got
	if have > 0 {
		err = unexpected(err)
	}
	return err
}

// full fills dst from buf and then from the source.
func (r *Reader) full(dst []byte) error {
	n := copy(dst, r.buf[r.start:r.end])
	r.start += n
	if n == len(dst) {
		return nil
	}
	_, err := io.ReadFull(r.src, dst[n:])
	return unexpected(err)
}

// unexpected turns the clean end of a connection into an error where a message was not whole.
func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
