package job

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"simplebit/rendezvous/metainfo"
	"simplebit/wire/control"
)

const (
	batch         = 100              // candidates in one message
	fewPeers      = 4                // below this a downloading device is given more
	feedEvery     = 10 * time.Second // between two looks at whether more peers are needed
	offerAgain    = time.Minute      // between two offers of all that is known to a device that has few peers
	fetchRetry    = 15 * time.Second // between two metadata fetches that failed
	metadataQueue = 200              // addresses waiting for a metadata fetch

	// maxGeneration is far beyond what any clock gives: a device that reports more lies.
	maxGeneration = 1 << 62
)

// job is one job's loop. Only functions that run on the loop (see post) touch
// its fields; view may be read from anywhere.
type job struct {
	cfg   *Config
	log   *slog.Logger
	runs  *sync.WaitGroup // of the manager
	ctx   context.Context // ends with the job
	end   context.CancelFunc
	ended chan struct{} // the loop has
	inbox chan func()
	view  atomic.Pointer[View]

	rec      Record
	info     *summary // nil until the info dictionary is known
	progress control.Progress
	fetched  bool // the device was seen downloading
	known    *known
	offered  time.Time // when all that is known was last offered
	busy     *activity // announcing and fetching; nil while paused or removed
}

// summary is what a job keeps in memory of its torrent: the piece hashes may be
// megabytes, and the store has them.
type summary struct {
	size    int64 // bytes without padding
	private bool
}

func summarise(t *metainfo.Torrent) *summary {
	if t == nil {
		return nil
	}
	return &summary{t.Size(), t.Private}
}

// activity is what a job does while it wants peers.
type activity struct {
	base      *Stats // the device\'s figures when announcing began; nil until it has reported
	stop      context.CancelFunc
	announcer Announcer
	fetch     chan netip.AddrPort // addresses for the metadata fetch
}

// run is the loop.
func (j *job) run() {
	defer close(j.ended)
	tick := time.NewTicker(feedEvery)
	defer tick.Stop()
	for j.ctx.Err() == nil {
		select {
		case now := <-tick.C:
			j.feed(now)
		case f := <-j.inbox:
			if f(); j.ctx.Err() == nil {
				j.update()
			}
		case <-j.ctx.Done():
		}
	}
	if j.busy != nil {
		j.busy.stop()
	}
}

// post runs f on the loop, later; it does nothing when the job has ended.
func (j *job) post(f func()) {
	select {
	case j.inbox <- f:
	case <-j.ctx.Done():
	}
}

// do runs f on the loop and waits for it.
func (j *job) do(ctx context.Context, f func() error) error {
	result := make(chan error, 1)
	select {
	case j.inbox <- func() { result <- f() }:
	case <-j.ended:
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-result:
		return err
	case <-j.ended:
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-result:
		return err // f itself has ended the job
	default:
		return errorf(ErrNotFound, fmt.Sprintf("job %s has ended", j.view.Load().ID))
	}
}

// change stores a changed record and only then acts on it. The device is told
// by its generation, which also follows the clock: a store that is restored from
// a backup must not use a generation twice.
func (j *job) change(ctx context.Context, f func(*Record)) error {
	next := j.rec
	f(&next)
	next.Generation = max(next.Generation+1, generationAt(time.Now()))
	if err := j.cfg.Store.Put(ctx, next.ID, next); err != nil {
		return err
	}
	j.rec = next
	j.update()
	j.cfg.Devices.Changed(j.rec.DeviceID)
	return nil
}

// update starts or ends announcing and fetching as the record asks, and
// publishes the view.
func (j *job) update() {
	wanted := !j.rec.Paused && !j.rec.Removed
	switch {
	case wanted && j.busy == nil:
		j.start()
	case !wanted && j.busy != nil:
		j.busy.stop()
		j.busy = nil
	}
	j.publish()
}

// publish shows the job as it is.
func (j *job) publish() {
	v := &View{Record: j.rec, On: j.cfg.Devices.Lookup(j.rec.DeviceID), Progress: j.progress, Known: j.known.count()}
	if j.info != nil {
		v.hasInfo, v.Private, v.Size = true, j.info.private, j.info.size
	}
	if j.busy != nil {
		v.announcer, v.base = j.busy.announcer, j.busy.base
	}
	j.view.Store(v)
}

// current is the published view with the figures that others keep.
func (j *job) current(now time.Time) View {
	v := *j.view.Load()
	v.On = j.cfg.Devices.Lookup(v.DeviceID)
	v.Metadata = j.cfg.Metadata.MetadataStatus(v.InfoHash)
	if v.announcer != nil {
		v.Trackers = v.announcer.Status()
	}
	v.State, v.Message = describe(now, &v)
	return v
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

// fail pauses the job with the reason.
func (j *job) fail(reason string) {
	j.log.Warn("job paused by an error", "err", reason)
	if err := j.change(j.ctx, func(r *Record) { r.Paused, r.Fault = true, reason }); err != nil {
		j.log.Error("job not stored", "err", err)
	}
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

// observed takes the device's report.
func (j *job) observed(p control.Progress) {
	if p.Generation > maxGeneration {
		return
	}
	before := j.progress
	j.progress = p
	j.rebase()
	j.fetched = j.fetched || p.State == control.StateDownloading
	if p.Generation > j.rec.Generation {
		// The device has seen a later wish than the store: one restored from a backup.
		if err := j.change(j.ctx, func(r *Record) { r.Generation = p.Generation }); err != nil {
			j.log.Error("job not stored", "err", err)
		}
		return
	}
	active := p.State == control.StateDownloading || p.State == control.StateSeeding
	began := p.State != before.State || p.Generation != before.Generation
	if active && began {
		j.offerAll()
	}
	if p.State == control.StateFailed && p.Generation == j.rec.Generation && !j.rec.Paused {
		j.fail(cmp.Or(p.Error, "the device gave no reason"))
	}
	if p.State == control.StateSeeding && !j.rec.Completed {
		next := j.rec
		next.Completed = true
		if err := j.cfg.Store.Put(j.ctx, next.ID, next); err != nil {
			j.log.Error("job not stored", "err", err)
			return
		}
		j.rec = next
		if j.busy != nil && j.fetched {
			j.busy.announcer.Completed()
		}
		j.log.Info("complete", "bytes", p.Size)
	}
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

// connected takes that the device's session began or ended.
func (j *job) connected() {
	// State, rates and peers are of the moment: nobody vouches for them until the next report.
	j.progress.State, j.progress.DownRate, j.progress.UpRate, j.progress.Peers = 0, 0, 0, nil
}

// rebase notes what the device had moved when announcing began: a tracker counts
// from its last "started" event (BEP 3), the device over all time.
func (j *job) rebase() {
	p := j.progress
	if j.busy == nil || p.ID == [20]byte{} {
		return
	}
	if base := j.busy.base; base == nil {
		j.busy.base = &Stats{Uploaded: p.Uploaded, Downloaded: p.Downloaded}
	} else if p.Uploaded < base.Uploaded || p.Downloaded < base.Downloaded {
		// A device that was killed has forgotten some.
		j.busy.base = &Stats{Uploaded: min(base.Uploaded, p.Uploaded), Downloaded: min(base.Downloaded, p.Downloaded)}
	}
}

// stats are the figures for the trackers.
func (j *job) stats() Stats {
	v := j.view.Load()
	s := Stats{Left: -1}
	if v.base != nil {
		s.Uploaded, s.Downloaded = v.Progress.Uploaded-v.base.Uploaded, v.Progress.Downloaded-v.base.Downloaded
	}
	if v.hasInfo {
		s.Left = max(0, v.Size-v.Progress.Have)
	}
	return s
}

// resume clears what paused the job.
func (j *job) resume(ctx context.Context) error {
	if !j.rec.Paused {
		return nil
	}
	return j.change(ctx, func(r *Record) { r.Paused, r.Fault = false, "" })
}

func (j *job) pause(ctx context.Context) error {
	if j.rec.Paused {
		return nil
	}
	return j.change(ctx, func(r *Record) { r.Paused = true })
}

func (j *job) verify(ctx context.Context) error {
	if j.info == nil {
		return errorf(ErrConflict, "nothing to verify yet: the torrent's description is still being fetched")
	}
	return j.change(ctx, func(r *Record) { r.Verify++; r.Paused, r.Fault = false, "" })
}

// remove may be asked for again: a device that could not drop the torrent tries
// once more.
func (j *job) remove(ctx context.Context, deleteData bool) error {
	return j.change(ctx, func(r *Record) { r.Removed, r.DeleteData = true, r.DeleteData || deleteData })
}

// renew makes the loop of a removed job that of a new one for the same torrent on
// the same device.
func (j *job) renew(ctx context.Context, r Record, t *metainfo.Torrent) error {
	before := j.info
	if t != nil {
		j.info = summarise(t)
	}
	r.ID = j.rec.ID // the store replaces one by the other at once
	r.Generation = max(r.Generation, j.rec.Generation)
	err := j.change(ctx, func(rec *Record) { *rec = r })
	if err != nil {
		j.info = before
		return err
	}
	j.fetched = false
	return nil
}

// forget deletes the record and ends the loop, so that nothing stores it again.
func (j *job) forget(ctx context.Context) error {
	return j.do(ctx, func() error {
		if err := j.cfg.Store.Delete(ctx, j.rec.ID); err != nil {
			return err
		}
		j.end()
		return nil
	})
}

// generationAt is the first generation of a job that is made now.
func generationAt(now time.Time) uint64 { return uint64(now.UnixMilli()) }

// errorf wraps one of this package's errors in a sentence for a person.
func errorf(kind error, sentence string) error { return &userError{kind, sentence} }

type userError struct {
	kind     error
	sentence string
}

func (e *userError) Error() string { return e.sentence }
func (e *userError) Unwrap() error { return e.kind }
