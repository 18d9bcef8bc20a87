package swarm

import (
	"bytes"
	"context"

	"simplebit/edgeagent/storage"
	"simplebit/wire/peer"
)

// An arrival is a block that has come, with its place as the PIECE message gave it.
type arrival struct {
	index, begin uint32
	block        *storage.Block
}

// arrivals are blocks that have come one after another.
type arrivals struct {
	list      []arrival
	announced bool // the loop was told to look
}

// read turns what comes on the connection into events until it fails or is closed. Its last event is readerEnded.
func (p *peerConn) read(ctx context.Context, pool *storage.Pool, events chan<- event) {
	err := p.readMessages(ctx, pool, events)
	events <- event{from: p, kind: readerEnded, err: err}
}

func (p *peerConn) readMessages(ctx context.Context, pool *storage.Pool, events chan<- event) error {
	r := peer.NewReader(p.conn.Conn)
	for {
		m, err := r.Next()
		if err != nil {
			return err
		}
		if m.Type == peer.TypePiece && !m.KeepAlive {
			if err := p.readBlock(ctx, r, m, pool, events); err != nil {
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

// readBlock reads a block and adds it to the arrivals. The loop is told when there are as many as it wants at once.
func (p *peerConn) readBlock(ctx context.Context, r *peer.Reader, m peer.Message, pool *storage.Pool, events chan<- event) error {
	b := pool.TryGet()
	if b == nil {
		// Some of what is missing from the pool may be waiting here.
		events <- event{from: p, kind: gotBlocks}
		var err error
		if b, err = pool.Get(ctx); err != nil {
			return err
		}
	}
	if err := r.ReadBlock(b.Bytes()); err != nil {
		b.Release()
		return err
	}
	b.N = int(m.Length)
	in := p.in.fill()
	in.list = append(in.list, arrival{m.Index, m.Begin, b})
	announce := !in.announced && len(in.list) >= int(p.wake.Load())
	in.announced = in.announced || announce
	p.in.offer(in)
	if announce {
		events <- event{from: p, kind: gotBlocks}
	}
	return nil
}
