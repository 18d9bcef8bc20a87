package edgeagent

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"sync"
	"time"

	"simplebit/edgeagent/storage"
	"simplebit/edgeagent/swarm"
	"simplebit/wire/control"
	"simplebit/wire/dial"
	"simplebit/wire/mse"
	"simplebit/wire/peer"
)

// maxTorrents bounds the torrents held. Even a paused one costs a few KiB.
const maxTorrents = 1000

// maxHead bounds what of a layout stream is kept in memory: its header.
const maxHead = 2 * control.MaxFrame

var (
	errTooMany  = fmt.Errorf("the device holds %d torrents, the most that it takes: remove some first", maxTorrents)
	errUnwanted = errors.New("layout of a torrent that needs none")
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
	tables  tables
	roots   roots

	unusable  unusable
	tick      time.Duration // how often a running torrent is looked after
	saveEvery time.Duration // how often its counters are stored

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
	if held == nil {
		return fmt.Errorf("state folder: %w: choose another with --state", err)
	}
	if err != nil {
		s.log.Error("damaged assignments rest until the surrogate tells them again", "err", err)
	}
	for id, a := range held {
		if a.Root == "" {
			continue
		}
		if err := s.roots.claim(a.Root, id); err != nil {
			s.log.Error("two torrents have one name", "err", err)
		}
	}
	for id, a := range held {
		s.start(id, a, control.StatePaused, "")
	}
	return nil
}

// wait waits until all torrents have stopped, after the context of load ended.
func (s *torrents) wait() { s.runs.Wait() }

// start makes a torrent and its goroutine. The state is what is reported until
// the torrent is under way; one that failed waits for another wish.
func (s *torrents) start(id infoHash, a assignment, state control.State, fault string) {
	ctx, stop := context.WithCancel(s.ctx)
	t := &torrent{
		id: id, veiled: mse.ReqHash(id), dir: s.state.torrentDir(id), set: s, log: s.log.With("torrent", hex.EncodeToString(id[:4])),
		wish: a, obeys: a.Generation, state: state, fault: fault,
		stop: stop, wake: make(signal, 1), retune: make(signal, 1), broken: make(chan error, 1), ended: make(chan struct{}),
	}
	s.mu.Lock()
	s.byID[id] = t
	s.mu.Unlock()
	s.runs.Go(func() { t.run(ctx, state != control.StateFailed) })
	s.changed.set()
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

// progress is what is reported of all torrents.
func (s *torrents) progress() []control.Progress {
	all := s.all()
	reports := make([]control.Progress, len(all))
	for i, t := range all {
		reports[i] = t.progress()
	}
	return reports
}

// assign stores the wish and obeys it; an old one is ignored. The error is why a
// torrent is not held.
func (s *torrents) assign(m control.Assign) error {
	if t := s.get(m.ID); t != nil {
		t.assign(m)
		return nil
	}
	s.mu.Lock()
	held := len(s.byID)
	s.mu.Unlock()
	if held >= maxTorrents {
		return errTooMany
	}
	a := assignment{Verified: m.Verify}
	a.take(m)
	if err := s.state.saveAssignment(m.ID, a); err != nil {
		return fmt.Errorf("assignment cannot be stored: %w", err)
	}
	s.start(m.ID, a, control.StateLayout, "")
	return nil
}

// drop stops a torrent and forgets it; with deleteData its files go too. One
// that cannot be removed stays, failed, until the next wish.
func (s *torrents) drop(id infoHash, deleteData bool) error {
	t := s.get(id)
	if t == nil {
		return nil
	}
	t.stop()
	<-t.ended
	s.mu.Lock()
	delete(s.byID, id) // no layout can come now
	s.mu.Unlock()
	if err := t.remove(deleteData); err != nil {
		err = fmt.Errorf("the torrent cannot be removed: %w", err)
		s.start(id, t.currentWish(), control.StateFailed, err.Error())
		return err
	}
	return nil
}

// candidates gives addresses to a running torrent; others ask again later. Where UDP is not known to work here, uTP is not
// tried alone because it worked for the surrogate.
func (s *torrents) candidates(m control.Candidates, udp bool) {
	sw := s.moves(m.ID)
	if sw == nil {
		return
	}
	list := make([]swarm.Candidate, 0, len(m.Peers))
	for _, c := range m.Peers {
		if c.Kind == control.CandidateReachable || c.Kind == control.CandidateUnverified {
			list = append(list, swarm.Candidate{Addr: c.Addr, Reachable: c.Kind == control.CandidateReachable, Way: way(c, udp)})
		}
	}
	sw.AddCandidates(list)
}

// way is how the surrogate reached a candidate, as far as the device may reach it the same way.
func way(c control.Candidate, udp bool) dial.Way {
	w := dial.Way{Encrypted: c.Encrypted}
	switch {
	case c.Transport == control.TransportTCP:
		w.Transport = dial.TCP
	case c.Transport == control.TransportUTP && udp:
		w.Transport = dial.UTP
	}
	return w
}

// layout stores a torrent's layout as it comes off its stream. A layout that is
// bad, or that the disk does not take, is a fault of the torrent, which people see.
func (s *torrents) layout(r io.Reader) error {
	var head bytes.Buffer
	l, err := control.NewLayoutReader(io.TeeReader(io.LimitReader(r, maxHead), &head))
	if err != nil {
		return err
	}
	t := s.get(l.Header().ID)
	if t == nil || !t.needsLayout() {
		return errUnwanted
	}
	err = s.store(t, io.MultiReader(&head, r))
	if faulty(err) {
		t.fail(fmt.Errorf("the layout cannot be stored: %w", err))
	}
	return err
}

// store writes a layout to a file, checks it, and gives it to its torrent.
func (s *torrents) store(t *torrent, r io.Reader) error {
	f, err := os.CreateTemp(s.state.dir, "layout-*"+newSuffix)
	if err != nil {
		return err
	}
	if _, err = control.CopyLayout(f, r); err == nil {
		err = f.Sync()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil && (s.byID[t.id] != t || !t.needsLayout()) {
		err = errUnwanted // dropped meanwhile, or there is one
	}
	if err := install(f, t.layoutFile(), err); err != nil {
		return err
	}
	t.wake.set()
	return nil
}

// faulty reports whether a layout was not stored because of what it is, or of the
// disk. When only its stream was cut short, the surrogate sends it again.
func faulty(err error) bool {
	for _, bad := range []error{control.ErrLayout, control.ErrMalformed, control.ErrFrameTooLarge, io.ErrUnexpectedEOF} {
		if errors.Is(err, bad) {
			return true
		}
	}
	return errors.As(err, new(*fs.PathError)) || errors.As(err, new(*os.LinkError))
}

// moves is the data plane of a torrent; nil: it does not run.
func (s *torrents) moves(id infoHash) *swarm.Torrent {
	if t := s.get(id); t != nil {
		return t.running()
	}
	return nil
}

// peerAt reports whether a torrent has a peer at an address, other than over a relay.
func (s *torrents) peerAt(id infoHash, at netip.AddrPort) bool {
	sw := s.moves(id)
	return sw != nil && sw.DirectAt(at)
}

// find is the torrent that an encrypted connection names.
func (s *torrents) find(req2 [20]byte) (infoHash, bool) {
	for _, t := range s.all() {
		if t.veiled == req2 {
			return t.id, true
		}
	}
	return infoHash{}, false
}

// answer is the handshake for a peer that asks for a torrent, if it runs.
func (s *torrents) answer(id infoHash) (peer.Handshake, bool) {
	if sw := s.moves(id); sw != nil {
		return sw.Handshake(), true
	}
	return peer.Handshake{}, false
}

// accept hands a peer to the torrent it asks for.
func (s *torrents) accept(c *dial.Conn) {
	if sw := s.moves(c.Peer.InfoHash); sw != nil {
		sw.Accept(c)
		return
	}
	dial.Abort(c)
}
