package swarm

import (
	"bytes"
	"context"

	"simplebit/edgeagent/storage"
	"simplebit/wire/peer"
)

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
			b, err := pool.Get(ctx)
			if err != nil {
				return err
			}
			if err := r.ReadBlock(b.Bytes()); err != nil {
				b.Release()
				return err
			}
			b.N = int(m.Length)
			events <- event{from: p, kind: gotBlock, msg: m, block: b}
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
