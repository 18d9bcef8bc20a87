package rendezvous

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"

	"simplebit/rendezvous/torrent"
	"simplebit/rendezvous/tracker"
	"simplebit/wire/peer"
)

// trackers starts tracker sessions.
type trackers struct {
	client *tracker.Client
	peerID [20]byte
	port   uint16
	log    *slog.Logger

	running  sync.WaitGroup // the sessions outlive their torrents: they tell the trackers that it is over
	mu       sync.Mutex
	sessions map[[20]byte][]*announcing // by torrent
}

// announcing is a tracker session until it has told its trackers that it is over.
type announcing struct {
	ctx  context.Context
	done chan struct{}
}

// announce runs a tracker session until ctx ends. A private torrent may have several, each of which is a peer of its own to
// the tracker. Trackers that tell peers apart by address would take the farewell of one for that of the next, so this one
// waits for those of the torrent that are ending.
func (t *trackers) announce(ctx context.Context, a torrent.Announce) torrent.Announcer {
	id := t.peerID
	if a.Private {
		id = peer.NewID()
	}
	s := tracker.NewSession(tracker.SessionConfig{
		Client: t.client, InfoHash: a.InfoHash, PeerID: id, Port: t.port, Tiers: a.Tiers, Stats: a.Stats, Peers: a.Peers,
		Downloads: true, Log: t.log.With("torrent", fmt.Sprintf("%x", a.InfoHash[:4])),
	})
	this, before := t.enter(ctx, a.InfoHash)
	t.running.Go(func() {
		defer t.leave(a.InfoHash, this)
		for _, b := range before {
			<-b.done
		}
		s.Run(ctx)
	})
	return s
}

// enter notes a session and returns those of the same torrent that are ending.
func (t *trackers) enter(ctx context.Context, id [20]byte) (this *announcing, ending []*announcing) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, s := range t.sessions[id] {
		if s.ctx.Err() != nil {
			ending = append(ending, s)
		}
	}
	this = &announcing{ctx, make(chan struct{})}
	t.sessions[id] = append(t.sessions[id], this)
	return this, ending
}

func (t *trackers) leave(id [20]byte, this *announcing) {
	t.mu.Lock()
	defer t.mu.Unlock()
	close(this.done)
	t.sessions[id] = slices.DeleteFunc(t.sessions[id], func(s *announcing) bool { return s == this })
	if len(t.sessions[id]) == 0 {
		delete(t.sessions, id)
	}
}
