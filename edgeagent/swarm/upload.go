package swarm

import (
	"slices"
	"time"

	"simplebit/wire/peer"
)

const (
	// longestRequest is the length in bytes above which a request breaks the protocol in the eyes of all clients.
	longestRequest = 128 << 10
	// What a writer has in hand is a second's worth within these bounds, in bytes: a choke or cancel cannot stop it.
	leastHanded = 2 * peer.BlockSize
	mostHanded  = 2 * maxGather * peer.BlockSize
)

// A serving is what a peer has asked of us.
type serving struct {
	requests []request // not handed to the writer yet
	handed   int       // bytes of requests that are with the writer
	// grant is leave to hand over the next requests. It outlives them when they are cancelled: a peer that asks and cancels
	// must not get one leave after the other.
	grant *grant
}

// rejectAll answers the requests of a peer that has just been choked. Those that the writer has begun with are served.
func (p *peerConn) rejectAll() {
	b := p.sending()
	for _, r := range b.uploads {
		p.serve.handed -= int(r.length)
	}
	for _, r := range slices.Concat(b.uploads, p.serve.requests) {
		p.reject(r)
	}
	b.uploads, p.serve.requests = b.uploads[:0], p.serve.requests[:0]
}

// reject tells the peer that a request will not be served, if it speaks the fast extension (BEP 6); else silence says so.
func (p *peerConn) reject(r request) {
	if p.remote.fast {
		p.queue(peer.Message{Type: peer.TypeReject, Index: r.index, Begin: r.begin, Length: r.length})
	}
}

// requested handles REQUEST. What no honest peer sends ends the connection, what can be due to bad luck is rejected.
func (t *Torrent) requested(p *peerConn, r request) error {
	if int64(r.index) >= int64(t.pieces) || r.length == 0 || r.length > longestRequest ||
		int64(r.begin)+int64(r.length) > int64(t.sizeOf(int(r.index))) {
		return violates("peer asked for bytes %d+%d of piece %d, which do not exist", r.begin, r.length, r.index)
	}
	if r.length > peer.BlockSize && !p.remote.fast {
		// BEP 3: "close connections which request an amount greater than that".
		return violates("peer asked for a block of %d bytes", r.length)
	}
	if !p.remote.fast && len(p.serve.requests) >= muteQueue {
		return violates("peer asked for %d blocks and more", muteQueue)
	}
	full := p.remote.fast && len(p.serve.requests) >= ourQueue
	if !p.slot.held || full || r.length > peer.BlockSize || !t.have.Has(int(r.index)) {
		p.reject(r)
	} else {
		p.serve.requests = append(p.serve.requests, r)
	}
	t.touch(p)
	return nil
}

// cancelled handles CANCEL. With the fast extension every request is answered, this one by a reject (BEP 6).
func (t *Torrent) cancelled(p *peerConn, r request) {
	i := slices.Index(p.serve.requests, r)
	if i < 0 {
		return
	}
	p.serve.requests = slices.Delete(p.serve.requests, i, i+1)
	p.reject(r)
	t.touch(p)
}

// feed hands the writer requests to serve.
func (t *Torrent) feed(now time.Time, p *peerConn) {
	v := &p.serve
	if len(v.requests) == 0 {
		return
	}
	most := int(min(max(p.tally.up.rate(now), leastHanded), mostHanded))
	if v.handed > most/2 {
		return
	}
	most -= v.handed
	if t.up().limited() {
		most = t.granted(now, v)
	}
	n, bytes := 0, 0
	for n < len(v.requests) && bytes+int(v.requests[n].length) <= most {
		bytes += int(v.requests[n].length)
		n++
	}
	if n == 0 {
		return
	}
	v.handed += bytes
	b := p.sending()
	b.uploads = append(b.uploads, v.requests[:n]...)
	v.requests = slices.Delete(v.requests, 0, n)
}

// granted returns how many bytes may be handed over now within the limits, enough for the next request, or 0.
func (t *Torrent) granted(now time.Time, v *serving) int {
	if v.grant != nil && t.up().void(v.grant) {
		v.grant.giveUp()
		v.grant = nil
	}
	for range 2 {
		if v.grant == nil {
			v.grant = t.up().ask(now, v.wish(t.up().step()))
		}
		g := v.grant
		if g == nil {
			return mostHanded // there is no limit any more
		}
		if g.due.After(now) {
			t.alarm(g.due)
			return 0
		}
		v.grant = nil
		if g.bytes >= int(v.requests[0].length) {
			return g.bytes
		}
	}
	return 0
}

// wish is how many bytes of requests to ask leave for, at most the given number.
func (v *serving) wish(most int) int {
	bytes := 0
	for _, r := range v.requests {
		if bytes+int(r.length) > most {
			break
		}
		bytes += int(r.length)
	}
	return bytes
}

func (t *Torrent) up() rates { return rates{&t.c.Shared.up, &t.limits.up} }

// wrote counts payload that the writer has sent.
func (t *Torrent) wrote(now time.Time, p *peerConn, n int) {
	p.serve.handed -= n
	p.tally.send(now, n)
	t.total.uploaded += int64(n)
	t.total.up.add(now, n)
	t.touch(p)
}
