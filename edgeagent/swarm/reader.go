package swarm

import (
	"bytes"
	"context"
	"slices"

	"simplebit/edgeagent/storage"
	"simplebit/wire/peer"
)

// An arrival is a block that has come, with its place as the PIECE message gave it.
type arrival struct {
	index, begin uint32
	block        *storage.Block
}

// arrivals are blocks that have come one after another.
type arrivals struct{ list []arrival }

// A reader is what a connection's reader works with.
type reader struct {
	pool  *storage.Pool
	rates rates
	// deliver has the torrent take the peer's arrivals. It may wait for the disk.
	deliver func(*peerConn)
	// kept are the blocks that come next on the connection: they have been begun.
	kept  []*storage.Block
	ahead [peer.MaxAhead][]byte
}

// read turns what comes on the connection into events until it fails or is closed. Its last event is readerEnded.
func (p *peerConn) read(ctx context.Context, with *reader, events chan<- event) {
	err := p.readMessages(ctx, with, events)
	events <- event{from: p, kind: readerEnded, err: err}
}

func (p *peerConn) readMessages(ctx context.Context, with *reader, events chan<- event) error {
	r := peer.NewReader(vectored(p.conn.Conn))
	defer func() {
		for _, b := range with.kept {
			b.Release()
		}
	}()
	for {
		m, err := r.Next()
		if err != nil {
			return err
		}
		if m.Type == peer.TypePiece && !m.KeepAlive {
			if err := p.readBlock(ctx, r, m, with); err != nil {
				return err
			}
			continue
		}
		// The payload is the reader's; what the loop does not look at is not worth a copy.
		if m.Type == peer.TypeBitfield || m.Type == peer.TypeExtended && m.ExtID == peer.ExtHandshake {
			m.Payload = bytes.Clone(m.Payload)
		} else {
			m.Payload = nil
		}
		events <- event{from: p, kind: gotMessage, msg: m}
	}
}

// readBlock reads a block and adds it to the arrivals. They are delivered when there are as many as the loop wants at once.
func (p *peerConn) readBlock(ctx context.Context, r *peer.Reader, m peer.Message, with *reader) error {
	var b *storage.Block
	var err error
	if len(with.kept) > 0 {
		b = with.kept[0]
		with.kept = slices.Delete(with.kept, 0, 1)
	} else if b, err = p.makeRoom(ctx, int(m.Length), with); err != nil {
		return err
	}
	ahead := p.readAhead(with)
	kept, err := r.ReadBlock(b.Bytes(), ahead...)
	for range ahead[kept:] {
		last := len(with.kept) - 1
		with.kept[last].Release()
		with.kept = with.kept[:last]
	}
	if err != nil {
		b.Release()
		return err
	}
	b.N = int(m.Length)
	in := p.in.fill()
	in.list = append(in.list, arrival{m.Index, m.Begin, b})
	enough := len(in.list) >= int(p.wake.Load())
	p.in.offer(in)
	if enough {
		p.deliver(with)
	}
	return nil
}

// readAhead returns room for blocks that may come behind the next, if the peer sends so fast that there will be some.
func (p *peerConn) readAhead(with *reader) [][]byte {
	if len(with.kept) > 0 || with.rates.limited() {
		return nil
	}
	for range min(peer.MaxAhead, int(p.wake.Load())/4) {
		b := with.pool.TryGet()
		if b == nil {
			break
		}
		with.ahead[len(with.kept)] = b.Bytes()
		with.kept = append(with.kept, b)
	}
	return with.ahead[:len(with.kept)]
}

// deliver hands over the arrivals. For as long as that takes the peer is not to be blamed.
func (p *peerConn) deliver(with *reader) {
	p.held.Store(true)
	with.deliver(p)
	p.held.Store(false)
}

// makeRoom waits until a block of n bytes may be taken off the connection, and returns where it goes. Meanwhile the rest
// waits in the sockets, which slows the sender down.
func (p *peerConn) makeRoom(ctx context.Context, n int, with *reader) (*storage.Block, error) {
	limited := with.rates.limited()
	if !limited {
		if b := with.pool.TryGet(); b != nil {
			return b, nil
		}
	}
	// What is missing from the pool may be waiting here, and the loop needs it whatever it waits for.
	p.deliver(with)
	p.held.Store(true)
	defer p.held.Store(false)
	if limited {
		if err := with.rates.wait(ctx, p.closed, n); err != nil {
			return nil, err
		}
	}
	return with.pool.Get(ctx)
}
