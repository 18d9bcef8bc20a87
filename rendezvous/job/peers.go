package job

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"time"

	"simplebit/rendezvous/metainfo"
	"simplebit/wire/control"
)

// activity is what a job does while it wants peers.
type activity struct {
	base      *Stats // the device\'s figures when announcing began; nil until it has reported
	stop      context.CancelFunc
	announcer Announcer
	fetch     chan netip.AddrPort // addresses for the metadata fetch
}

// start begins announcing and, without an info dictionary, fetching.
func (j *job) start() {
	ctx, stop := context.WithCancel(j.ctx)
	a := &activity{stop: stop, fetch: make(chan netip.AddrPort, metadataQueue)}
	j.busy = a
	j.rebase()
	a.announcer = j.cfg.Trackers.Start(ctx, Announce{
		InfoHash: j.rec.InfoHash,
		Tiers:    j.rec.Tiers,
		Stats:    j.stats,
		Peers:    func(found []netip.AddrPort) { j.post(func() { j.found(found) }) },
	})
	peers, id := j.rec.Peers, j.rec.InfoHash
	j.runs.Go(func() { j.resolvePeers(ctx, peers) })
	if j.info == nil {
		j.runs.Go(func() { j.fetchMetadata(ctx, id, a.fetch) })
	}
}

// resolvePeers turns the magnet's host:port peers into addresses.
func (j *job) resolvePeers(ctx context.Context, peers []string) {
	for _, p := range peers {
		host, port, err := net.SplitHostPort(p)
		if err != nil {
			continue
		}
		number, err := net.LookupPort("tcp", port)
		if err != nil {
			continue
		}
		addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		if err != nil {
			j.log.Info("the magnet's peer cannot be resolved", "peer", p, "err", err)
			continue
		}
		found := make([]netip.AddrPort, 0, len(addrs))
		for _, a := range addrs {
			found = append(found, netip.AddrPortFrom(a.Unmap(), uint16(number)))
		}
		j.post(func() { j.found(found) })
	}
}

// fetchMetadata asks peers for the info dictionary until it is there, or another
// job of the same torrent has it.
func (j *job) fetchMetadata(ctx context.Context, id InfoHash, peers <-chan netip.AddrPort) {
	for {
		info, err := j.cfg.Infos.Get(ctx, id.String())
		if err == nil {
			_, err = metainfo.ParseInfo(info, id)
		}
		if err != nil {
			info, err = j.cfg.Metadata.FetchMetadata(ctx, id, peers)
		}
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			j.post(func() { j.learned(info) })
			return
		}
		j.log.Info("metadata not fetched, trying again", "err", err)
		select {
		case <-time.After(fetchRetry):
			j.post(j.offerAll)
		case <-ctx.Done():
			return
		}
	}
}

// learned takes the fetched info dictionary.
func (j *job) learned(info []byte) {
	if j.info != nil || j.rec.Removed {
		return
	}
	t, err := metainfo.ParseInfo(info, j.rec.InfoHash)
	if err == nil {
		err = j.cfg.Infos.Put(j.ctx, j.rec.InfoHash.String(), info)
	}
	if err == nil {
		j.info = summarise(t)
		err = j.change(j.ctx, func(r *Record) { r.Name = t.Name })
	}
	if err != nil {
		j.fail("the torrent's description cannot be used: " + err.Error())
		return
	}
	j.log.Info("metadata is there", "name", t.Name, "files", len(t.Files), "bytes", t.Size())
}

// found takes addresses of peers and passes the new ones on.
func (j *job) found(addrs []netip.AddrPort) {
	if j.busy == nil {
		return
	}
	var fresh []netip.AddrPort
	for _, a := range addrs {
		if j.cfg.Dialable(a) && j.known.add(a) {
			fresh = append(fresh, a)
		}
	}
	j.offer(fresh)
}

// offer gives addresses to whoever needs them now: the metadata fetch, or the device.
func (j *job) offer(addrs []netip.AddrPort) {
	if j.busy == nil {
		return
	}
	if j.info == nil {
		for _, a := range addrs {
			select {
			case j.busy.fetch <- a:
			default:
				return // the fetch has enough; it is offered all again if it fails
			}
		}
		return
	}
	for chunk := range slices.Chunk(addrs, batch) {
		c := control.Candidates{ID: j.rec.InfoHash}
		for _, a := range chunk {
			c.Peers = append(c.Peers, control.Candidate{Addr: a, Kind: control.CandidateUnverified})
		}
		j.cfg.Devices.Candidates(j.rec.DeviceID, c)
	}
}

func (j *job) offerAll() {
	j.offered = time.Now()
	j.offer(j.known.all())
}

// feed looks for more peers while there are few. It is called every feedEvery: a
// device to which nothing happens reports nothing.
func (j *job) feed(now time.Time) {
	short := j.info == nil || j.progress.State == control.StateDownloading && len(j.progress.Peers) < fewPeers
	if j.busy == nil || !short {
		return
	}
	j.busy.announcer.Poke()
	if j.info != nil && now.Sub(j.offered) >= offerAgain {
		j.offerAll()
	}
}
