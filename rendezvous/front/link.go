package front

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"net/netip"
	"time"

	"simplebit/wire/dial"
	"simplebit/wire/peer"
)

const (
	// metadataID is the extended message id under which peers are to send ut_metadata to us (BEP 10).
	metadataID = 3
	// queue is how many messages may wait for a writer: all that a peer may ask for at a time, and some of ours.
	queue = servedAhead + 2*pipeline
	// maxChatter is how much a peer may send that is of no use to front, in bytes, and chatterRate what is added to that in a
	// second. The longest bitfield is 512 KiB, and a seed of the largest torrents may announce its pieces one by one.
	maxChatter  = 8 << 20
	chatterRate = 1 << 10
	// maxHellos is how many extension handshakes a peer may send.
	maxHellos = 100
	// maxPorts is how many PORT messages.
	maxPorts = 10
	// writeTimeout is how long one message to a peer may take to leave, and silence how long it may take to say anything: half
	// of that later than the keepalives that BEP 3 asks for. keepAlive is when we send one.
	writeTimeout = 20 * time.Second
	silence      = 3 * time.Minute
	keepAlive    = 100 * time.Second
	// servingChunk is how much metadata is paid for at a time, in bytes.
	servingChunk = peer.MetadataPieceSize
)

var (
	errNoExtensions = errors.New("peer has no extension protocol")
	errChatter      = errors.New("peer sends a lot that is of no use")
)

// hopeless reports whether err says that the peer at this address will never be of use.
func hopeless(err error) bool {
	for _, e := range []error{
		dial.ErrAddress, dial.ErrInfoHash, dial.ErrSelf, ErrForbidden, errChatter, peer.ErrHandshake, peer.ErrLength, peer.ErrTooLarge, peer.ErrBencode,
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// wire is a connection as its goroutines see it.
type wire struct {
	id     uint64
	conn   *dial.Conn
	remote netip.AddrPort
	ctx    context.Context
	cancel context.CancelFunc
	out    chan outgoing
}

// outgoing is a message for the writer: ready, or a piece of metadata that waits until the rate permits it.
type outgoing struct {
	message []byte
	info    []byte // to serve a piece of
	ask     askStep
}

func extended(id uint8, payload []byte) []byte {
	return peer.Message{Type: peer.TypeExtended, ExtID: id, Payload: payload}.Append(nil)
}

func metadataMessage(a askStep, kind peer.MetadataType) outgoing {
	return outgoing{message: extended(a.extID, peer.MetadataMessage{Type: kind, Piece: a.piece}.AppendMarshal(nil))}
}

// talk reads and writes until the connection fails or is dropped, and closes it.
func (p *Presence) talk(k *wire) {
	defer k.cancel()
	stop := context.AfterFunc(k.ctx, func() { k.conn.Close() })
	defer stop()
	written := make(chan struct{})
	go func() {
		defer close(written)
		p.write(k)
	}()
	err := p.read(k)
	k.cancel()
	k.conn.Close()
	<-written
	p.front.cfg.Log.Debug("connection closed", "infohash", p.name(), "peer", k.remote, "reason", err)
	p.do(func(now time.Time) {
		delete(p.wires, k.id)
		p.core.gone(now, k.id, err)
	})
}

// write sends what the loop asks for. Where it fails it just ends: what the peer sent before is still to be read, and the
// reader finds out.
func (p *Presence) write(k *wire) {
	idle := time.NewTimer(keepAlive)
	defer idle.Stop()
	for {
		idle.Reset(keepAlive)
		var o outgoing
		select {
		case <-k.ctx.Done():
			return
		case <-idle.C:
			o.message = peer.Message{KeepAlive: true}.Append(nil)
		case o = <-k.out:
		}
		if o.info != nil {
			piece := pieceOf(o.info, o.ask.piece)
			if p.front.serving.WaitN(k.ctx, len(piece.Data)) != nil {
				return
			}
			o.message = extended(o.ask.extID, piece.AppendMarshal(nil))
		}
		if err := k.conn.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
			return
		}
		if _, err := k.conn.Write(o.message); err != nil {
			return
		}
		if o.info != nil {
			p.post(k, func(time.Time) { p.core.served(k.id) })
		}
	}
}

// reading is what a reader has counted.
type reading struct {
	ext     peer.Extensions
	began   time.Time
	chatter int
	hellos  int
	ports   int
}

// read posts what matters and passes over the rest. The core drops peers that are of no use; the reader only those that say
// nothing at all, or too much.
func (p *Presence) read(k *wire) error {
	r, seen := peer.NewReader(k.conn), reading{began: time.Now()}
	for {
		if err := k.conn.SetReadDeadline(time.Now().Add(silence)); err != nil {
			return err
		}
		m, err := r.Next()
		if err != nil {
			return err
		}
		useful, err := p.heard(k, &seen, m)
		if err != nil {
			return err
		}
		if useful {
			continue
		}
		seen.chatter += 5 + len(m.Payload)
		if m.Type == peer.TypePiece && !m.KeepAlive {
			seen.chatter += int(m.Length)
		}
		if seen.chatter > maxChatter+chatterRate*int(time.Since(seen.began).Seconds()) {
			return errChatter
		}
	}
}

// heard posts what a message says, if that matters.
func (p *Presence) heard(k *wire, seen *reading, m peer.Message) (useful bool, err error) {
	switch {
	case m.KeepAlive:
	case m.Type == peer.TypeExtended && m.ExtID == metadataID:
		msg, err := peer.ParseMetadataMessage(m.Payload)
		if err != nil {
			return false, err
		}
		msg.Data = bytes.Clone(msg.Data)
		p.post(k, func(now time.Time) { p.core.message(now, k.id, msg) })
		return true, nil
	case m.Type == peer.TypeExtended && m.ExtID == pexID:
		x, err := peer.ParsePex(m.Payload)
		if err != nil {
			return false, err
		}
		p.post(k, func(now time.Time) { p.core.exchanged(now, k.id, x) })
	case m.Type == peer.TypeExtended && m.ExtID == peer.ExtHandshake:
		if seen.hellos++; seen.hellos > maxHellos {
			return false, errChatter
		}
		if seen.ext, err = seen.ext.Update(m.Payload); err != nil {
			return false, err
		}
		told := seen.ext
		p.post(k, func(now time.Time) { p.core.extended(now, k.id, told) })
	case m.Type == peer.TypePort:
		if seen.ports++; seen.ports > maxPorts {
			return false, errChatter
		}
		p.post(k, func(time.Time) { p.core.node(k.id, m.Port) })
	case m.Type == peer.TypeHaveAll || m.Type == peer.TypeBitfield && everyPiece(m.Payload):
		p.post(k, func(time.Time) { p.core.seeds(k.id) })
	}
	return false, nil
}

// everyPiece reports whether the bits of a BITFIELD message are those of a seed, whatever the number of pieces.
func everyPiece(bits []byte) bool {
	for i, b := range bits {
		// Spare bits at the end are zero: ones, and then zeros.
		if b != 0xff && (i != len(bits)-1 || b == 0 || ^b&(^b+1) != 0) {
			return false
		}
	}
	return len(bits) > 0
}

// post runs f on the loop, unless the connection has been dropped.
func (p *Presence) post(k *wire, f func(now time.Time)) {
	select {
	case p.acts <- f:
	case <-k.ctx.Done():
	}
}

func (p *Presence) name() string { return hex.EncodeToString(p.torrent.InfoHash[:]) }
