package peer

import "encoding/binary"

// MaxAhead is how many blocks [Reader.ReadBlock] reads ahead at most: more buffers in one system call cost an allocation.
const MaxAhead = 3

// blockHead is the length in bytes of what goes before the data of a piece message.
const blockHead = 4 + pieceHeaderLen

// A VectorReader is a connection that reads into several buffers at once, as readv does: n bytes, which fill the first buffers
// before the next are begun. The end of the connection is io.EOF, and n is 0 only with an error.
type VectorReader interface {
	ReadVector(bufs [][]byte) (n int, err error)
}

// An ahead is what is read together with a block: peers send blocks one after another, and all but the last of the torrent
// are of one size, so it is known where in the stream their data will be. Where something else comes, it is put back.
type ahead struct {
	src   VectorReader
	heads [MaxAhead][blockHead]byte
	there [MaxAhead]int // bytes of the blocks behind the heads
	n, at int           // blocks that are there, in part at least, and of these those that were returned
	bufs  [2 + 2*MaxAhead][]byte
}

// nextAhead returns the next of the blocks that have been read ahead.
func (r *Reader) nextAhead() (Message, bool) {
	a := &r.ahead
	if a.at == a.n {
		return Message{}, false
	}
	r.block, r.there = BlockSize, a.there[a.at]
	head := a.heads[a.at][:]
	a.at++
	return pieceHead(head, BlockSize), true
}

// scatter fills dst from the connection, and next and small with what is there besides. Nothing may be unread in buf.
func (r *Reader) scatter(dst []byte, next [][]byte) (kept int, err error) {
	a := &r.ahead
	a.n, a.at = 0, 0
	bufs := append(a.bufs[:0], dst)
	for i, b := range next {
		bufs = append(bufs, a.heads[i][:], b[:BlockSize])
	}
	bufs = append(bufs, r.small[:])
	n := 0
	for {
		if n, err = a.src.ReadVector(bufs); err != nil {
			return 0, err
		}
		if n >= len(bufs[0]) {
			break
		}
		bufs[0] = bufs[0][n:]
	}
	n -= len(bufs[0])
	r.buf, r.start, r.end = r.small[:], 0, 0
	for n > 0 && a.n < len(next) {
		head := a.heads[a.n][:]
		if n < len(head) || !isBlock(head) {
			r.spill(bufs[1+2*a.n:], n)
			return a.n, nil
		}
		n -= len(head)
		a.there[a.n] = min(n, BlockSize)
		n -= a.there[a.n]
		a.n++
	}
	r.end = n
	return a.n, nil
}

// isBlock reports whether the head of a message is that of a whole block.
func isBlock(head []byte) bool {
	return binary.BigEndian.Uint32(head) == pieceHeaderLen+BlockSize && Type(head[4]) == TypePiece
}

// spill puts n bytes of the stream that are in the wrong place into buf.
func (r *Reader) spill(bufs [][]byte, n int) {
	if n > len(r.small) {
		r.buf = make([]byte, n)
	}
	// The last of bufs is small itself. It is empty unless there is too much for it.
	for _, b := range bufs {
		r.end += copy(r.buf[r.end:n], b)
	}
}
