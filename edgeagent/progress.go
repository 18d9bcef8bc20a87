package edgeagent

import (
	"simplebit/edgeagent/swarm"
	"simplebit/wire/control"
)

// counters are payload bytes.
type counters struct{ downloaded, uploaded int64 }

// progress is what is reported of the torrent.
func (t *torrent) progress() control.Progress {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.measure()
	p := control.Progress{
		ID: t.id, Generation: t.obeys, State: t.state, Error: t.fault,
		Size: t.figures.size, Have: t.figures.have, Checked: t.checked,
		Downloaded: t.wish.Downloaded, Uploaded: t.wish.Uploaded,
	}
	if t.figures.choice {
		p.Selected, p.SelectedHave = t.figures.wanted, t.figures.wantedHave
	}
	if t.sw == nil {
		return p
	}
	p.DownRate, p.UpRate = now.DownRate, now.UpRate
	p.Partial = t.content.disk.Partial()
	if now.Seeding && t.figures.whole() { // what is on the disk may be ahead of what the swarm has counted
		p.State = control.StateSeeding
	}
	for _, q := range now.Peers {
		p.Peers = append(p.Peers, control.Peer(q))
	}
	return p
}

// measure brings the counters and figures of a running torrent up to date and returns the snapshot that they come from. What is on
// the disk may be ahead of it. It needs mu.
func (t *torrent) measure() (now swarm.Status) {
	if t.sw == nil {
		return now
	}
	now = t.sw.Status()
	t.fold(now)
	// Counting takes a while; pieces come less often than reports.
	if now.Have != t.counted {
		t.figures, t.counted = t.content.figures(), now.Have
	}
	return now
}

// fold adds what the swarm has moved to the wish's counters. It needs mu.
func (t *torrent) fold(now swarm.Status) {
	t.wish.Downloaded += now.Downloaded - t.folded.downloaded
	t.wish.Uploaded += now.Uploaded - t.folded.uploaded
	t.folded = counters{now.Downloaded, now.Uploaded}
}
