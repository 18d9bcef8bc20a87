package front

import (
	"fmt"
	"time"

	"simplebit/wire/peer"
)

// cachedFor is how long a dictionary is kept in memory after it was asked for last.
const cachedFor = time.Minute

// cache is the info dictionary of a torrent while it is being served.
type cache struct {
	info    []byte
	size    int64 // accounted for in Front.cached
	loading bool
	pending []askStep // wait until it is loaded
	used    time.Time
}

// serve answers requests for pieces of the info dictionary, which is loaded first if need be.
func (p *Presence) serve(now time.Time, asks []askStep) {
	if len(asks) == 0 {
		return
	}
	c := &p.cache
	c.used = now
	c.pending = append(c.pending, asks...)
	switch {
	case c.info != nil:
		p.answer()
	case c.loading:
	case p.torrent.Info == nil:
		p.refuse("there is nothing to load it from")
	default:
		size := int64(p.core.infoSize)
		if p.front.cached.Add(size) > maxCached {
			p.front.cached.Add(-size)
			p.refuse("too much metadata is being served")
			return
		}
		c.loading, c.size = true, size
		p.tasks.Go(p.load)
	}
}

// load loads the dictionary.
func (p *Presence) load() {
	info, err := p.torrent.Info(p.ctx)
	if err == nil && len(info) == 0 {
		err = fmt.Errorf("it is empty")
	}
	p.do(func(now time.Time) {
		p.cache.loading = false
		if err != nil {
			p.cache.drop(p.front)
			p.refuse(err.Error())
			return
		}
		p.cache.info = info
		p.answer()
	})
}

// answer sends what peers wait for.
func (p *Presence) answer() {
	for _, a := range p.cache.pending {
		if int(a.piece)*peer.MetadataPieceSize >= len(p.cache.info) || !p.send(a.id, outgoing{info: p.cache.info, ask: a}) {
			p.core.served(a.id)
			p.send(a.id, metadataMessage(a, peer.MetadataReject))
		}
	}
	p.cache.pending = nil
}

// refuse rejects what peers wait for.
func (p *Presence) refuse(why string) {
	p.front.reasons.info("metadata not served", "infohash", p.name(), "reason", why)
	for _, a := range p.cache.pending {
		p.core.served(a.id)
		p.send(a.id, metadataMessage(a, peer.MetadataReject))
	}
	p.cache.pending = nil
}

// expire lets go of a dictionary that nobody asks for any more, and returns when to come back.
func (c *cache) expire(now time.Time, f *Front) time.Time {
	end := c.used.Add(cachedFor)
	switch {
	case c.info == nil:
		return now.Add(time.Hour)
	case end.After(now):
		return end
	}
	c.drop(f)
	return now.Add(time.Hour)
}

func (c *cache) drop(f *Front) {
	f.cached.Add(-c.size)
	c.info, c.size = nil, 0
}

// pieceOf returns piece i of a dictionary that has it.
func pieceOf(info []byte, i uint32) peer.MetadataMessage {
	start := int(i) * peer.MetadataPieceSize
	end := min(start+peer.MetadataPieceSize, len(info))
	return peer.MetadataMessage{Type: peer.MetadataData, Piece: i, TotalSize: int64(len(info)), Data: info[start:end]}
}
