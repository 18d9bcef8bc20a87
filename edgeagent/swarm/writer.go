package swarm

import (
	"context"
	"net"
	"sync/atomic"
	"time"

	"simplebit/edgeagent/storage"
	"simplebit/wire/peer"
)

const (
	// maxGather is how many blocks go into one system call.
	maxGather = 8
	// A write may take writeLimit, and one second more for each slowestRate bytes.
	writeLimit  = 60 * time.Second
	slowestRate = 1 << 10
	// keptControl is the capacity of a batch that is kept for the next use; only a large bitfield needs more.
	keptControl = 16 << 10
)

// A request is a block that a peer asked for.
type request struct{ index, begin, length uint32 }

// A batch is what goes to a peer together: first the messages in control, then a PIECE message for each request.
type batch struct {
	control []byte
	uploads []request
}

// A buffersWriter writes several buffers at once, as encrypted and uTP connections do. Of those without, net.Buffers can do
// so with TCP's.
type buffersWriter interface {
	WriteBuffers(b *net.Buffers) (int64, error)
}

// A writer sends batches on one connection.
type writer struct {
	conn     net.Conn
	storage  *storage.Torrent
	pool     *storage.Pool
	gather   *atomic.Int32 // how many blocks go into one system call, at most maxGather
	deadline time.Time
	heads    []byte
	blocks   []*storage.Block
	bufs     net.Buffers // of the current system call; consumed by it
	keep     net.Buffers // the same slice from its start, to be used again
}

// write sends what the loop offers until it closes the exchange or sending fails. Its last event is writerEnded.
func (p *peerConn) write(ctx context.Context, w *writer, events chan<- event) {
	var err error
	for b := range p.out.full {
		var n int
		n, err = w.send(ctx, b)
		b.control, b.uploads = b.control[:0], b.uploads[:0]
		if cap(b.control) > keptControl {
			b.control = nil
		}
		p.out.giveBack(b)
		if n > 0 {
			events <- event{from: p, kind: wroteBlocks, n: n}
		}
		if err != nil {
			break
		}
	}
	events <- event{from: p, kind: writerEnded, err: err}
}

// send returns how many bytes of payload were sent.
func (w *writer) send(ctx context.Context, b *batch) (int, error) {
	if len(b.uploads) == 0 {
		w.extend(len(b.control))
		_, err := w.conn.Write(b.control)
		return 0, err
	}
	sent, control := 0, b.control
	for todo := b.uploads; len(todo) > 0; {
		n, bytes, err := w.sendSome(ctx, control, todo)
		if err != nil {
			return sent, err
		}
		sent += bytes
		todo, control = todo[n:], nil
	}
	return sent, nil
}

// sendSome sends control and as many of the requested blocks as memory allows at the moment, at least one, in one system
// call. It returns their number and how many bytes they have.
func (w *writer) sendSome(ctx context.Context, control []byte, todo []request) (n, bytes int, err error) {
	defer func() {
		for i, b := range w.blocks {
			b.Release()
			w.blocks[i] = nil
		}
		w.blocks = w.blocks[:0]
	}()
	w.bufs, w.heads = w.keep[:0], w.heads[:0]
	if len(control) > 0 {
		w.bufs = append(w.bufs, control)
	}
	for _, r := range todo[:min(len(todo), int(w.gather.Load()), maxGather)] {
		var b *storage.Block
		if n == 0 {
			if b, err = w.pool.Get(ctx); err != nil {
				return 0, 0, err
			}
		} else if b = w.pool.TryGet(); b == nil {
			break
		}
		w.blocks = append(w.blocks, b)
		data := b.Bytes()[:r.length]
		if err := w.storage.ReadBlock(int(r.index), int(r.begin), data); err != nil {
			return 0, 0, err
		}
		at := len(w.heads)
		w.heads = peer.AppendPieceHeader(w.heads, r.index, r.begin, r.length)
		w.bufs = append(w.bufs, w.heads[at:], data)
		bytes += int(r.length)
		n++
	}
	w.keep = w.bufs
	w.extend(len(control) + len(w.heads) + bytes)
	return n, bytes, w.flush()
}

// flush writes bufs, and consumes them.
func (w *writer) flush() error {
	if v, ok := w.conn.(buffersWriter); ok {
		_, err := v.WriteBuffers(&w.bufs)
		return err
	}
	_, err := w.bufs.WriteTo(w.conn)
	return err
}

// extend moves the write deadline ahead for a write of n bytes. Setting it costs more than looking at the clock, so it is
// set further ahead than needed and seldom.
func (w *writer) extend(n int) {
	now := time.Now()
	need := now.Add(writeLimit + time.Duration(n/slowestRate)*time.Second)
	if need.After(w.deadline) {
		w.deadline = need.Add(writeLimit / 2)
		w.conn.SetWriteDeadline(w.deadline)
	}
}
