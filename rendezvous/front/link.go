package front

import (
	"bytes"
	"context"
	"errors"
	"net/netip"
	"time"

	"simplebit/wire/dial"
	"simplebit/wire/peer"
)

const (
	// metadataID is the extended message id under which peers are to send ut_metadata to us (BEP 10).
	metadataID = 3
	// maxChatter is how much a peer may send that is of no use for metadata, in bytes. The longest bitfield is 512 KiB,
	// and a seed of the largest torrents may announce its pieces one by one.
	maxChatter = 8 << 20
	// writeTimeout is how long one message to a peer may take to leave.
	writeTimeout = 20 * time.Second
)

var (
	errNoExtensions = errors.New("peer has no extension protocol, so no metadata")
	errChatter      = errors.New("peer sends a lot, but no metadata")
)

// hopeless reports whether err says that the peer at this address will never be of use to this fetch.
func hopeless(err error) bool {
	for _, e := range []error{
		dial.ErrAddress, dial.ErrInfoHash, dial.ErrSelf, errNoExtensions, errChatter,
		peer.ErrHandshake, peer.ErrLength, peer.ErrTooLarge, peer.ErrBencode,
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// link is one connection of a fetch, as its loop sees it.
type link struct {
	id     uint64
	addr   netip.AddrPort
	cancel context.CancelFunc
	asks   chan []byte // whole messages for the writer
}

// talk makes the connection, and reads from it until it fails or ctx ends.
func (l *loop) talk(ctx context.Context, k *link) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	c, err := l.cfg.Dialer.Dial(ctx, k.addr, peer.Handshake{
		// Without the fast extension a peer that says nothing about its pieces is within the protocol.
		Reserved: peer.Reserved(false, true),
		InfoHash: l.fetch.infoHash,
		PeerID:   l.cfg.PeerID,
	})
	if err != nil {
		return err
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.Close() })()
	if !c.Peer.Extended() {
		return errNoExtensions
	}
	l.post(ctx, event{id: k.id})
	l.links.Go(func() { l.write(ctx, c, k) })
	return l.read(ctx, peer.NewReader(c), k.id)
}

// write sends our extension handshake and then what the loop asks for. Where it fails it just ends: what the peer sent
// before is still to be read, and the reader finds out.
func (l *loop) write(ctx context.Context, c *dial.Conn, k *link) {
	hello := peer.Extensions{MetadataID: metadataID, Version: l.cfg.Software, YourIP: k.addr.Addr()}
	b := peer.Message{Type: peer.TypeExtended, ExtID: peer.ExtHandshake, Payload: hello.AppendMarshal(nil)}.Append(nil)
	for {
		if err := c.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
			return
		}
		if _, err := c.Write(b); err != nil {
			return
		}
		select {
		case <-ctx.Done():
			return
		case b = <-k.asks:
		}
	}
}

// read posts what matters for metadata and passes over the rest. It sets no deadline: the core drops peers that are of
// no use, in whatever way.
func (l *loop) read(ctx context.Context, r *peer.Reader, id uint64) error {
	var ext peer.Extensions
	chatter := 0
	for {
		m, err := r.Next()
		if err != nil {
			return err
		}
		if !m.KeepAlive && m.Type == peer.TypeExtended && m.ExtID == metadataID {
			msg, err := peer.ParseMetadataMessage(m.Payload)
			if err != nil {
				return err
			}
			msg.Data = bytes.Clone(msg.Data)
			l.post(ctx, event{id: id, message: &msg})
			continue
		}
		chatter += 5 + len(m.Payload)
		if m.Type == peer.TypePiece {
			chatter += int(m.Length)
		}
		if chatter > maxChatter {
			return errChatter
		}
		if !m.KeepAlive && m.Type == peer.TypeExtended && m.ExtID == peer.ExtHandshake {
			if ext, err = ext.Update(m.Payload); err != nil {
				return err
			}
			told := ext
			l.post(ctx, event{id: id, ext: &told})
		}
	}
}

// post brings an event to the loop, unless the loop has dropped the connection or returned.
func (l *loop) post(ctx context.Context, e event) {
	select {
	case l.events <- e:
	case <-ctx.Done():
	}
}
