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
	"path/filepath"
	"sync"

	"simplebit/edgeagent/storage"
	"simplebit/edgeagent/swarm"
	"simplebit/wire/control"
	"simplebit/wire/peer"
)

// torrents is the set of torrents held. Its methods may be called from any
// goroutine.
type torrents struct {
	state   *state
	dir     string
	pool    *storage.Pool
	swarm   swarm.Config // what all torrents have in common
	log     *slog.Logger
	changed signal // some torrent has something new to report

	ctx  context.Context
	runs sync.WaitGroup
	mu   sync.Mutex
	byID map[infoHash]*torrent
}

// load starts what the state folder holds. All ends with ctx.
func (s *torrents) load(ctx context.Context) error {
	s.ctx = ctx
	if err := os.MkdirAll(s.dir, 0o755); err != nil {
		return fmt.Errorf("download folder: %w: choose another with --dir", err)
	}
	held, err := s.state.assignments()
	if err != nil {
		s.log.Error("damaged assignments are asked for again", "err", err)
	}
	for id, a := range held {
		s.start(id, a)
	}
	return nil
}

// wait waits until all torrents have stopped, after the context of load ended.
func (s *torrents) wait() { s.runs.Wait() }

func (s *torrents) start(id infoHash, a assignment) {
	ctx, stop := context.WithCancel(s.ctx)
	t := &torrent{
		id: id, dir: s.state.torrentDir(id), set: s, wish: a,
		log:   s.log.With("torrent", hex.EncodeToString(id[:4])),
		state: control.StatePaused, stop: stop, wake: make(signal, 1), ended: make(chan struct{}),
	}
	s.mu.Lock()
	s.byID[id] = t
	s.mu.Unlock()
	s.runs.Go(func() { t.run(ctx) })
}

func (s *torrents) get(id infoHash) *torrent {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.byID[id]
}

func (s *torrents) all() []*torrent {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]*torrent, 0, len(s.byID))
	for _, t := range s.byID {
		all = append(all, t)
	}
	return all
}

// assign stores the wish and obeys it; an old one is ignored.
func (s *torrents) assign(m control.Assign) error {
	t := s.get(m.ID)
	if t == nil {
		a := assignment{Generation: m.Generation, Paused: m.Paused, Verify: m.Verify, Verified: m.Verify}
		if err := s.state.saveAssignment(m.ID, a); err != nil {
			return fmt.Errorf("assignment cannot be stored: %w", err)
		}
		s.start(m.ID, a)
		return nil
	}
	return t.assign(m)
}

// drop stops a torrent and forgets it; with deleteData its files go too.
func (s *torrents) drop(id infoHash, deleteData bool) error {
	t := s.get(id)
	if t == nil {
		return nil
	}
	t.stop()
	<-t.ended
	var err error
	if deleteData {
		err = t.deleteData()
	}
	if err == nil {
		err = os.RemoveAll(t.dir)
	}
	if err != nil {
		t.enter(t.currentWish(), control.StateFailed, "the torrent could not be removed: "+err.Error())
		return err
	}
	s.mu.Lock()
	delete(s.byID, id)
	s.mu.Unlock()
	return nil
}

// candidates gives addresses to a running torrent; others ask again later.
func (s *torrents) candidates(m control.Candidates) {
	t := s.get(m.ID)
	if t == nil {
		return
	}
	sw := t.running()
	if sw == nil {
		return
	}
	addrs := make([]netip.AddrPort, 0, len(m.Peers))
	for _, c := range m.Peers {
		if c.Kind == control.CandidateReachable || c.Kind == control.CandidateUnverified {
			addrs = append(addrs, c.Addr)
		}
	}
	sw.AddCandidates(addrs)
}

// layout stores a torrent's layout as it comes off its stream.
func (s *torrents) layout(r io.Reader) error {
	f, err := os.CreateTemp(s.state.dir, "layout-*.new")
	if err != nil {
		return err
	}
	l, err := control.CopyLayout(f, r)
	t := s.get(l.ID)
	if err == nil && t == nil {
		err = errors.New("layout of a torrent that is not assigned")
	}
	if err != nil {
		f.Close()
		os.Remove(f.Name())
		return err
	}
	if err := install(f, filepath.Join(t.dir, "layout"), f.Sync()); err != nil {
		return err
	}
	t.wake.set()
	return nil
}

// answer is the handshake for a peer that asks for a torrent, if it runs.
func (s *torrents) answer(id infoHash) (peer.Handshake, bool) {
	if t := s.get(id); t != nil {
		if sw := t.running(); sw != nil {
			return sw.Handshake(), true
		}
	}
	return peer.Handshake{}, false
}
