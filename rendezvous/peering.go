package rendezvous

import (
	"context"
	"errors"
	"log/slog"
	"sync"

	"simplebit/rendezvous/dht"
	"simplebit/rendezvous/front"
	"simplebit/rendezvous/store"
	"simplebit/rendezvous/torrent"
	"simplebit/rendezvous/tracker"
	"simplebit/wire/dial"
	"simplebit/wire/peer"
)

// peering is the surrogate in the swarms: front, the DHT node, the tracker sessions, and the torrents that share them.
type peering struct {
	front    *front.Front
	node     *dht.Node // nil without DHT
	torrents *torrent.Manager
	trackers *trackers
	port     *peerPort
	log      *slog.Logger
}

// newPeering wires what takes part in swarms.
func newPeering(ctx context.Context, cfg Config, port *peerPort, g guard, db *store.Store) (*peering, error) {
	p := &peering{port: port, log: cfg.Log, trackers: &trackers{
		client: tracker.NewClient(tracker.Config{Control: g.control, UserAgent: cfg.Software}),
		peerID: peer.NewID(), port: port.number, log: cfg.Log, sessions: map[[20]byte][]*announcing{},
	}}
	shown := front.Config{
		Dialer: port.dialer(g, dial.Dialer{Encryption: cfg.Encryption}), PeerID: p.trackers.peerID, Software: cfg.Software,
		Port: port.number, Dialable: g.candidate, Log: cfg.Log,
	}
	joint := torrent.Config{Announce: p.trackers.announce, Log: cfg.Log}
	if !cfg.NoDHT {
		table, err := store.OpenTable[dhtTable](ctx, db, "dht")
		if err != nil {
			return nil, err
		}
		saved := savedNodes{table}
		p.node, err = dht.Open(ctx, dht.Config{
			V4: port.dht(port.v4), V6: port.dht(port.v6), Port: port.number, Bootstrap: cfg.DHTBootstrap, Load: saved.load, Save: saved.save,
			Public: publicAddrs(cfg.Public), Dialable: g.candidate, Log: cfg.Log,
		})
		if err != nil {
			return nil, err
		}
		shown.DHTPort, shown.DHTNode = port.number, p.node.AddNode
		joint.Search = func(s dht.Search) torrent.Searcher { return p.node.Search(s) }
	}
	p.front = front.New(shown)
	joint.Enter = func(t front.Torrent) (torrent.Presence, error) { return p.front.Enter(t) }
	p.torrents = torrent.New(joint)
	return p, nil
}

// run takes peers and DHT queries until ctx ends.
func (p *peering) run(ctx context.Context) error {
	var node sync.WaitGroup
	if p.node != nil {
		node.Go(func() {
			if err := p.node.Run(ctx); err != nil {
				p.log.Warn("the DHT node", "err", err)
			}
		})
	}
	defer node.Wait()
	return p.port.run(ctx, p.front.Serve)
}

// close waits until all torrents have ended and the trackers have been told, which takes no longer than a few seconds.
func (p *peering) close() {
	p.torrents.Close()
	p.trackers.running.Wait()
}

// dhtTable is the neighbours of the DHT node, as package dht encodes them.
type dhtTable struct{ Nodes []byte }

// savedNodes keeps the one table there is.
type savedNodes struct{ table *store.Table[dhtTable] }

const dhtKey = "nodes"

func (s savedNodes) load(ctx context.Context) ([]byte, error) {
	t, err := s.table.Get(ctx, dhtKey)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	return t.Nodes, err
}

func (s savedNodes) save(ctx context.Context, nodes []byte) error {
	return s.table.Put(ctx, dhtKey, dhtTable{nodes})
}
