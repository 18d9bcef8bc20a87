package torrent

import (
	"maps"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"simplebit/rendezvous/front"
	"simplebit/rendezvous/job"
	"simplebit/wire/control"
	"simplebit/wire/dial"
)

const (
	// badFor is how long an address is not sent to a device again that found it unusable, badForLiar one that sent
	// corrupt data.
	badFor     = 30 * time.Minute
	badForLiar = 24 * time.Hour
	maxBad     = 2000 // such addresses remembered for a device
)

// member is a job's part in a torrent (job.Member). The torrent's loop owns the fields behind session.
type member struct {
	torrent *torrent
	p       job.Participation
	session atomic.Pointer[session] // in which it is announced
	gone    atomic.Bool             // it has left

	own      *session // of a private torrent
	infoSize int
	open     bool // the device takes candidates
	hungry   bool
	endpoint netip.AddrPort
	bad      map[netip.AddrPort]refusal // addresses not to be sent
}

// Known takes that the info dictionary is in the store (job.Member).
func (m *member) Known(infoSize int, private bool) {
	m.torrent.post(func() { m.torrent.known(m, infoSize, private) })
}

// Hungry takes whether the device is short of peers (job.Member).
func (m *member) Hungry(hungry bool) {
	t := m.torrent
	t.post(func() {
		if hungry {
			if s := m.session.Load(); s != nil {
				s.Poke()
			}
			if t.search != nil {
				t.search.Poke()
			}
		}
		m.hungry = hungry
		t.feed()
	})
}

// Offer sends the device all addresses that are reachable, and from now on those that follow (job.Member), also those that it
// could not use before it began anew: it has forgotten them, and may need them. It takes peers of the torrent now, so
// front looks whether they can reach it.
func (m *member) Offer() {
	t := m.torrent
	t.post(func() {
		m.open = true
		maps.DeleteFunc(m.bad, func(_ netip.AddrPort, r refusal) bool { return !r.lied })
		m.introduce()
		if t.presence != nil {
			m.send(time.Now(), verified(t.presence.Reachable()))
		}
	})
}

// Endpoint takes where the device accepts peers (job.Member).
func (m *member) Endpoint(at netip.AddrPort) {
	t := m.torrent
	t.post(func() {
		if before := m.endpoint; at != before {
			m.endpoint = at
			t.withdraw(before)
			m.introduce()
		}
	})
}

// introduce makes the device a peer like others.
func (m *member) introduce() {
	if t := m.torrent; t.presence != nil && m.open && m.endpoint.IsValid() {
		t.presence.Add([]netip.AddrPort{m.endpoint}, front.SourceDevice)
	}
}

// Completed takes that the device has downloaded everything (job.Member).
func (m *member) Completed() {
	t := m.torrent
	t.post(func() {
		if s := m.session.Load(); s != nil {
			s.finished = true
			t.complete(s)
		}
	})
}

// Unusable takes which addresses were of no use to the device (job.Member). One device's word counts for itself alone: whether
// an address can be reached depends on its network, and it may be wrong or hostile itself. Two that say of one address that
// corrupt data came from it are believed for all.
func (m *member) Unusable(peers []control.UnusablePeer) {
	t := m.torrent
	t.post(func() {
		now := time.Now()
		for _, p := range peers {
			lied := p.Reason == control.UnusableLied
			m.refuse(p.Addr, now, lied)
			if t.presence == nil || t.device(p.Addr) {
				continue
			}
			if proven := lied && t.accuse(p.Addr, m); proven || len(t.list) == 1 {
				t.presence.Unusable(p.Addr, proven)
			}
		}
	})
}

// accuse notes that a device was lied to, and reports whether another has said so before.
func (t *torrent) accuse(at netip.AddrPort, by *member) bool {
	first, known := t.accused[at]
	if !known && len(t.accused) < maxBad {
		t.accused[at] = by
	}
	return known && first != by
}

// refusal says until when an address is not to be sent.
type refusal struct {
	until time.Time
	lied  bool // it sent corrupt data
}

// refuse remembers that an address is not to be sent to the device.
func (m *member) refuse(at netip.AddrPort, now time.Time, lied bool) {
	if len(m.bad) >= maxBad {
		maps.DeleteFunc(m.bad, func(_ netip.AddrPort, r refusal) bool { return now.After(r.until) })
	}
	wait := badFor
	if lied {
		wait = badForLiar
	}
	if len(m.bad) < maxBad {
		m.bad[at] = refusal{now.Add(wait), lied || m.bad[at].lied}
	}
}

// send gives the device the candidates that are new to it or worth another try.
func (m *member) send(now time.Time, all []control.Candidate) {
	var list []control.Candidate
	for _, c := range all {
		if c.Addr != m.endpoint && now.After(m.bad[c.Addr].until) {
			list = append(list, c)
		}
	}
	for chunk := range slices.Chunk(list, control.MaxCandidates) {
		m.p.Candidates(chunk)
	}
}

// verified is what devices are told of peers that front has shaken hands with.
func verified(found []front.Peer) []control.Candidate {
	list := make([]control.Candidate, len(found))
	for i, p := range found {
		list[i] = control.Candidate{Addr: p.Addr, Kind: control.CandidateReachable, Encrypted: p.Way.Encrypted}
		switch p.Way.Transport {
		case dial.TCP:
			list[i].Transport = control.TransportTCP
		case dial.UTP:
			list[i].Transport = control.TransportUTP
		}
	}
	return list
}

// Status shows how the search for peers goes (job.Member). Of the trackers only the job's own: others may hold keys in their
// addresses.
func (m *member) Status() (s job.SwarmStatus) {
	if session := m.session.Load(); session != nil {
		for _, st := range session.Status() {
			if !slices.ContainsFunc(m.p.Tiers, func(tier []string) bool { return slices.Contains(tier, st.URL) }) {
				continue
			}
			s.Trackers = append(s.Trackers, job.TrackerStatus{
				URL: st.URL, Error: st.Error, Warning: st.Warning, Next: st.Next,
				Seeders: st.Seeders, Leechers: st.Leechers, Downloads: st.Downloads, Peers: st.Peers,
			})
		}
	}
	shown := m.torrent.shown.Load()
	if shown.search != nil {
		d := shown.search.Status()
		s.DHT = job.DHTStatus{Enabled: true, Nodes: d.Nodes, Peers: d.Peers, Next: d.Next, Error: d.Error}
	}
	if shown.presence != nil {
		f := shown.presence.Status()
		s.Metadata = job.MetadataStatus(f.Metadata)
		s.Known, s.Reachable = f.Known, f.Reachable
	}
	return s
}

// Leave ends the job's part (job.Member). Calling it again does nothing.
func (m *member) Leave() {
	if m.gone.CompareAndSwap(false, true) {
		m.torrent.Manager.leave(m.torrent, m)
	}
}
