package edgeagent

import "simplebit/wire/control"

// counters are payload bytes.
type counters struct{ downloaded, uploaded int64 }

// progress is what is reported of the torrent.
func (t *torrent) progress() control.Progress {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.fold()
	t.count()
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
	now := t.sw.Status()
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

// count brings the figures of a running torrent up to date. It needs mu.
func (t *torrent) count() {
	if t.sw == nil {
		return
	}
	// Counting takes a while; pieces come less often than reports.
	if have := t.sw.Status().Have; have != t.counted {
		t.figures, t.counted = t.content.figures(), have
	}
}

// fold adds what the swarm has moved to the wish's counters. It needs mu.
func (t *torrent) fold() {
	if t.sw == nil {
		return
	}
	now := t.sw.Status()
	t.wish.Downloaded += now.Downloaded - t.folded.downloaded
	t.wish.Uploaded += now.Uploaded - t.folded.uploaded
	t.folded = counters{now.Downloaded, now.Uploaded}
}
