package edgeagent

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"simplebit/edgeagent/swarm"
	"simplebit/wire/control"
	"simplebit/wire/dial"
	"simplebit/wire/link"
	"simplebit/wire/mse"
	"simplebit/wire/peer"
)

// maxRelayed is how many relayed connections the device has at a time. All of them may stand still, each with a window of data
// that nobody reads, and the session goes on; see quicConfig.
const maxRelayed = 4

var (
	errNotRelayed = fmt.Errorf("the device has %d relayed connections", maxRelayed)
	errNoTorrent  = errors.New("the torrent does not run")
	errKept       = errors.New("there is a path to the device")
	errConnected  = errors.New("the device is connected directly")
)

// relaying takes connections with peers that the surrogate relays. Any goroutine may call its methods.
type relaying struct {
	set  *torrents
	kept func(device string, id infoHash) bool // whether there is a path to the device of that name, for that torrent
	log  *slog.Logger

	mu    sync.Mutex
	conns []*relayed
}

// relayed is the stream of one connection.
type relayed struct {
	link.Stream
	control.Relay
	by    link.Transport
	since time.Time
	of    *relaying
	sw    *swarm.Torrent

	down, up atomic.Int64 // bytes
	begun    atomic.Bool  // the handshakes are done
	failure  atomic.Value // of a Read or Write, the first: string
}

// Read reads what the peer says.
func (c *relayed) Read(b []byte) (int, error) {
	n, err := c.Stream.Read(b)
	c.down.Add(int64(n))
	return n, c.failed(err)
}

// Write says something to the peer.
func (c *relayed) Write(b []byte) (int, error) {
	n, err := c.Stream.Write(b)
	c.up.Add(int64(n))
	return n, c.failed(err)
}

func (c *relayed) failed(err error) error {
	switch {
	case err == nil, errors.Is(err, os.ErrDeadlineExceeded):
	case err == io.EOF, errors.Is(err, link.ErrCancelled):
		c.failure.CompareAndSwap(nil, "the surrogate or the other device ended it")
	default:
		c.failure.CompareAndSwap(nil, err.Error())
	}
	return err
}

// Cancel ends the connection, which is how its user closes it.
func (c *relayed) Cancel() {
	why, failed := c.failure.Load().(string)
	c.Stream.Cancel()
	if !c.of.end(c) || !c.begun.Load() {
		return
	}
	switch {
	case c.of.kept(c.Peer, c.Torrent):
		why = errKept.Error()
	case c.sw.DirectAt(c.Addr):
		why = errConnected.Error()
	case !failed:
		why = "this device ended it"
	}
	c.of.logOf(c).Info("relayed connection ended", "why", why, "received", c.down.Load(), "sent", c.up.Load(),
		"after", time.Since(c.since).Round(time.Second).String())
}

func (r *relaying) logOf(c *relayed) *slog.Logger {
	return r.log.With("device", c.Peer, "addr", c.Addr, "torrent", hex.EncodeToString(c.Torrent[:]))
}

// take does our part of the handshake with a peer, and hands the connection to its torrent. A stream that is of no use is
// cancelled: then the surrogate passes nothing on.
func (r *relaying) take(ctx context.Context, m control.Relay, conn link.Conn, stream link.Stream) {
	c := &relayed{Stream: stream, Relay: m, by: conn.Transport(), since: time.Now(), of: r}
	err := r.begin(c)
	if err == nil {
		err = r.meet(ctx, c, conn.Local())
	}
	if err != nil {
		c.Cancel()
		r.logOf(c).Debug("relayed peer refused", "err", err)
	}
}

// begin notes a connection, or says why there is no use in it.
func (r *relaying) begin(c *relayed) error {
	sw := r.set.moves(c.Torrent)
	switch {
	case sw == nil:
		return errNoTorrent
	case r.kept(c.Peer, c.Torrent):
		return errKept
	case sw.DirectAt(c.Addr):
		return errConnected
	}
	c.sw = sw
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.conns) == maxRelayed {
		return errNotRelayed
	}
	r.conns = append(r.conns, c)
	return nil
}

// end reports whether the connection was one until now.
func (r *relaying) end(c *relayed) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := len(r.conns)
	r.conns = slices.DeleteFunc(r.conns, func(have *relayed) bool { return have == c })
	return len(r.conns) < n
}

// meet does the handshakes, in plaintext: what the two say is inside TLS already.
func (r *relaying) meet(ctx context.Context, c *relayed, local netip.AddrPort) error {
	conn, by := link.NetConn(c, local, c.Addr), dial.QUIC
	if c.by == link.TCP {
		by = dial.TCP
	}
	var met *dial.Conn
	var err error
	if c.Dials {
		ours, runs := r.set.answer(c.Torrent)
		if !runs {
			return errNoTorrent
		}
		met, err = dial.Over(ctx, conn, by, ours)
	} else {
		met, err = dial.Accept(ctx, conn, dial.Acceptor{
			Answer:     func(id infoHash) (peer.Handshake, bool) { return r.answer(c, id) },
			Admit:      func(theirs peer.Handshake) error { return r.admit(c, theirs) },
			Relayed:    by,
			Encryption: mse.Off,
		})
	}
	if err == nil {
		c.begun.Store(true)
		r.logOf(c).Info("relayed connection begins", "transport", c.by, "dials", c.Dials, "why", "there is no path to the device")
		r.set.accept(met)
	}
	return err
}

// answer is our handshake for the torrent that the surrogate named, and for no other.
func (r *relaying) answer(c *relayed, id infoHash) (peer.Handshake, bool) {
	if id != c.Torrent {
		return peer.Handshake{}, false
	}
	return r.set.answer(id)
}

// admit refuses a peer that is connected directly.
func (r *relaying) admit(c *relayed, theirs peer.Handshake) error {
	if sw := r.set.moves(c.Torrent); sw != nil && sw.Direct(theirs.PeerID, c.Addr) {
		return errConnected
	}
	return nil
}

// all is the connections that there are.
func (r *relaying) all() []*relayed {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.conns)
}
