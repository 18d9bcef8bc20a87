package swarm

import (
	"net/netip"
	"time"
)

// Status is a snapshot of a torrent. Nothing in it changes afterwards.
type Status struct {
	Have                 int64 // bytes of verified pieces
	Downloaded, Uploaded int64 // bytes of payload since New
	Wasted               int64 // of what was downloaded and beyond: blocks not asked for, or of pieces with the wrong hash
	DownRate, UpRate     int64 // payload, bytes/s over the last seconds
	Complete             bool  // every piece is verified
	Seeding              bool  // nothing that is wanted is missing
	WantedLeft           int64 // bytes of the wanted pieces that are not verified
	Known                int   // addresses known at which a peer may be reached, connected or not
	Peers                []PeerStatus
}

// PeerStatus is a snapshot of one connected peer.
type PeerStatus struct {
	Addr      netip.AddrPort // of the connection; the zero value where the transport has none
	Client    string         // the peer's program, for people
	Transport string         // as in dial.Conn
	Path      string         // "relayed", "punched" where Config.Punched says so, "dialled" or "accepted"
	Down, Up  int64          // payload, bytes/s over the last seconds
}

// Status returns the newest snapshot. It is renewed twice a second while anything happens and at every change of state.
func (t *Torrent) Status() Status { return *t.status.Load() }

// publish makes the current state the newest snapshot.
func (t *Torrent) publish(now time.Time) {
	s := &Status{
		Have:       t.haveBytes,
		Downloaded: t.total.downloaded,
		Uploaded:   t.total.uploaded,
		Wasted:     t.total.wasted,
		DownRate:   t.total.down.rate(now),
		UpRate:     t.total.up.rate(now),
		Complete:   t.complete(),
		Seeding:    t.seeding(),
		WantedLeft: t.wantedLeft,
		Known:      len(t.book.list),
		Peers:      make([]PeerStatus, 0, len(t.peers)),
	}
	for _, p := range t.peers {
		s.Peers = append(s.Peers, PeerStatus{
			Addr:      p.addr,
			Client:    p.client,
			Transport: p.conn.Transport.String(),
			Path:      t.pathOf(p),
			Down:      p.tally.down.rate(now),
			Up:        p.tally.up.rate(now),
		})
	}
	t.status.Store(s)
	t.clock.published, t.changed = now, false
}

// pathOf is how a connection came about. A path through NATs is known to be one only when both ends know it, which may be after
// the connection was accepted.
func (t *Torrent) pathOf(p *peerConn) string {
	switch {
	case p.conn.Relayed:
		return "relayed"
	case t.c.Punched != nil && t.c.Punched(p.conn):
		return "punched"
	case p.conn.Outgoing:
		return "dialled"
	}
	return "accepted"
}
