package torrent

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"simplebit/rendezvous/dht"
	"simplebit/rendezvous/front"
	"simplebit/rendezvous/job"
	"simplebit/rendezvous/tracker"
	"simplebit/wire/control"
)

// torrent is one torrent that jobs take part in. Its loop owns the fields behind mailbox.
type torrent struct {
	*Manager
	infoHash [20]byte
	log      *slog.Logger
	members  int             // joined and not left; guarded by Manager.mu
	ctx      context.Context // until the last member has left
	end      context.CancelFunc
	ended    chan struct{}
	shown    atomic.Pointer[shown]
	*mailbox

	over     bool // the last member has left
	private  bool
	infoSize int // 0 while unknown
	list     []*member
	ledger   *ledger
	session  *session // with the trackers, of all members; nil for a private torrent
	search   Searcher // nil without DHT
	presence Presence
	accused  map[netip.AddrPort]*member // of having lied, and the first to say so
}

// shown is what Status reads.
type shown struct {
	search   Searcher
	presence Presence
}

// session is a running tracker session.
type session struct {
	Announcer
	stop     context.CancelFunc
	finished bool // a device has downloaded everything meanwhile
	told     bool // and the trackers have been told that all have
}

func newTorrent(m *Manager, p job.Participation) *torrent {
	t := &torrent{
		Manager: m, infoHash: p.InfoHash, log: m.cfg.Log.With("torrent", fmt.Sprintf("%x", p.InfoHash[:4])),
		ended: make(chan struct{}), mailbox: newMailbox(),
		private: p.Private, infoSize: p.InfoSize, ledger: &ledger{}, accused: map[netip.AddrPort]*member{},
	}
	t.ctx, t.end = context.WithCancel(context.Background())
	t.shown.Store(&shown{})
	return t
}

// run is the loop, from the first member to the last.
func (t *torrent) run() {
	defer close(t.ended)
	t.enter()
	for !t.over {
		<-t.wake
		for _, f := range t.take() {
			f()
		}
	}
	t.end()
	if t.search != nil {
		t.search.Stop()
	}
	if t.presence != nil {
		t.presence.Leave()
	}
}

// enter makes the surrogate present in the swarm. Where that fails, members come and go and find no peers.
func (t *torrent) enter() {
	presence, err := t.cfg.Enter(front.Torrent{
		InfoHash: t.infoHash, Private: t.private, InfoSize: t.infoSize, Info: t.info,
		Reachable:  func(found []front.Peer) { t.post(func() { t.reachable(found) }) },
		Unverified: func(at netip.AddrPort) { t.post(func() { t.unverified(at) }) },
		Learned:    func(info []byte) { t.post(func() { t.learned(info) }) },
	})
	if err != nil {
		t.log.Error("not present in the swarm", "err", err)
		return
	}
	t.presence = presence
	t.show()
}

func (t *torrent) show() { t.shown.Store(&shown{t.search, t.presence}) }

// info reads the info dictionary by way of some member.
func (t *torrent) info(ctx context.Context) ([]byte, error) {
	members := t.ledger.members()
	if len(members) == 0 {
		return nil, fmt.Errorf("torrent %x: no job has it any longer", t.infoHash)
	}
	return members[0].p.Info(ctx)
}

// join takes a new member in.
func (t *torrent) join(m *member) {
	t.list = append(t.list, m)
	t.ledger.enter(m)
	m.infoSize = m.p.InfoSize
	if m.infoSize > 0 && t.infoSize == 0 {
		t.known(m, m.infoSize, m.p.Private)
	}
	if t.presence == nil {
		return
	}
	switch {
	case t.private:
		t.announceFor(m)
	case t.session == nil:
		t.session = t.announce(m.p.Tiers, t.ledger.total)
	default:
		t.session.AddTiers(m.p.Tiers)
	}
	if !t.private && t.search == nil && t.cfg.Search != nil {
		t.search = t.cfg.Search(dht.Search{InfoHash: t.infoHash, Peers: func(found []netip.AddrPort) { t.add(found, front.SourceDHT) }})
		t.show()
	}
	m.session.Store(cmp.Or(m.own, t.session))
	if len(m.p.Peers) > 0 {
		t.runs.Go(func() { t.resolvePeers(m.p.Peers) })
	}
}

// announce starts a tracker session.
func (t *torrent) announce(tiers [][]string, stats func() tracker.Stats) *session {
	ctx, stop := context.WithCancel(context.Background())
	return &session{stop: stop, Announcer: t.cfg.Announce(ctx, Announce{
		InfoHash: t.infoHash, Private: t.private, Tiers: tiers, Stats: stats,
		Peers: func(found []netip.AddrPort) { t.add(found, front.SourceTracker) },
	})}
}

// announceFor starts the member's own tracker session.
func (t *torrent) announceFor(m *member) {
	m.own = t.announce(m.p.Tiers, func() tracker.Stats { return tracker.Stats(m.p.Stats()) })
	m.session.Store(m.own)
}

// add gives addresses that somebody found to front. Any goroutine may call it.
func (t *torrent) add(found []netip.AddrPort, from front.Source) {
	t.post(func() {
		if t.presence != nil && !(t.private && from == front.SourceDHT) {
			t.presence.Add(found, from)
		}
	})
}

// resolvePeers looks up the peers that a magnet names.
func (t *torrent) resolvePeers(peers []string) {
	ctx, cancel := context.WithTimeout(t.ctx, resolveTimeout)
	defer cancel()
	for _, hostPort := range peers {
		found, err := t.cfg.Resolve(ctx, hostPort)
		if err != nil {
			t.log.Info("the magnet's peer cannot be resolved", "peer", hostPort, "err", err)
			continue
		}
		t.add(found, front.SourceMagnet)
	}
}

const (
	resolveTimeout = 30 * time.Second
	storeTimeout   = 30 * time.Second
)

func resolve(ctx context.Context, hostPort string) ([]netip.AddrPort, error) {
	host, port, err := net.SplitHostPort(hostPort)
	if err != nil {
		return nil, err
	}
	number, err := net.DefaultResolver.LookupPort(ctx, "tcp", port)
	if err != nil {
		return nil, err
	}
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	found := make([]netip.AddrPort, 0, len(addrs))
	for _, a := range addrs {
		found = append(found, netip.AddrPortFrom(a.Unmap(), uint16(number)))
	}
	return found, err
}

// left takes that a member is gone.
func (t *torrent) left(m *member) {
	t.list = slices.DeleteFunc(t.list, func(o *member) bool { return o == m })
	t.ledger.leave(m)
	t.withdraw(m.endpoint)
	maps.DeleteFunc(t.accused, func(_ netip.AddrPort, by *member) bool { return by == m })
	if m.own != nil {
		m.own.stop()
	}
	switch {
	case t.session == nil:
	case len(t.list) == 0:
		t.session.stop()
	default:
		t.complete(t.session) // it may have been the last that downloads
	}
	t.feed()
}

// withdraw takes back an address at which none of the devices takes peers any longer.
func (t *torrent) withdraw(at netip.AddrPort) {
	if t.presence != nil && at.IsValid() && !t.device(at) {
		t.presence.Withdraw(at)
	}
}

// device reports whether a device of ours takes peers at the address.
func (t *torrent) device(at netip.AddrPort) bool {
	return slices.ContainsFunc(t.list, func(m *member) bool { return m.endpoint == at })
}

// complete tells the trackers of a session, once, that all who share it have everything now (BEP 3).
func (t *torrent) complete(s *session) {
	if s.finished && !s.told && (s != t.session || t.ledger.total().Left == 0) {
		s.told = true
		s.Completed()
	}
}

// learned gives the info dictionary that front has fetched to those who lack it.
func (t *torrent) learned(info []byte) {
	for _, m := range t.list {
		if m.infoSize == 0 {
			m.p.Learned(info)
		}
	}
}

// known takes that a member's store has the info dictionary now.
func (t *torrent) known(m *member, infoSize int, private bool) {
	m.infoSize = infoSize
	if t.infoSize != 0 {
		return
	}
	t.infoSize = infoSize
	if t.presence != nil {
		t.presence.Known(infoSize, private)
	}
	if slices.ContainsFunc(t.list, func(o *member) bool { return o.infoSize == 0 }) {
		t.runs.Go(func() { t.share(m) })
	}
	if private && !t.private {
		t.log.Info("the torrent is private: it leaves the DHT and peer exchange")
		t.private = true
		t.hide()
	}
}

// share gives what one job knows already, from a torrent file, to those that wait for it.
func (t *torrent) share(from *member) {
	ctx, cancel := context.WithTimeout(t.ctx, storeTimeout)
	defer cancel()
	info, err := from.p.Info(ctx)
	if err != nil {
		t.log.Error("info dictionary not read", "err", err)
		return
	}
	t.post(func() { t.learned(info) })
}

// hide ends what a private torrent must not have.
func (t *torrent) hide() {
	if t.search != nil {
		t.search.Stop()
		t.search = nil
		t.show()
	}
	if t.session == nil {
		return
	}
	t.session.stop()
	t.session = nil
	for _, m := range t.list {
		if m.session.Load() != nil {
			t.announceFor(m)
		}
	}
}

// reachable passes on addresses at which front has found a peer.
func (t *torrent) reachable(found []front.Peer) {
	now := time.Now()
	for _, m := range t.list {
		if m.open {
			m.send(now, verified(found))
		}
	}
}

// unverified passes an address on that may be dead, where any is better than none.
func (t *torrent) unverified(at netip.AddrPort) {
	now := time.Now()
	for _, m := range t.list {
		if m.open && m.hungry {
			m.send(now, []control.Candidate{{Addr: at, Kind: control.CandidateUnverified}})
		}
	}
}

// feed tells front whether some device is short of peers.
func (t *torrent) feed() {
	if t.presence != nil {
		t.presence.Hungry(slices.ContainsFunc(t.list, func(m *member) bool { return m.hungry }))
	}
}
