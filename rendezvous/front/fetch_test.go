package front

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"simplebit/wire/peer"
)

// noise is what liars send.
var noise = make([]byte, MaxMetadata)

var epoch = time.Unix(1_800_000_000, 0)

// habit is how a simulated peer behaves.
type habit struct {
	name    string
	dead    bool          // cannot be reached
	size    int64         // claimed
	lies    bool          // sends noise
	silent  float64       // probability of no answer
	rejects float64       // probability of a reject
	leaves  float64       // probability of hanging up instead of answering
	erratic float64       // probability of saying something else first
	delay   time.Duration // before each answer
}

// world simulates peers around a core under virtual time.
type world struct {
	t      *testing.T
	rnd    *rand.Rand
	f      *fetch
	info   []byte
	habits map[netip.AddrPort]habit
	dialed map[netip.AddrPort]time.Time
	at     map[uint64]netip.AddrPort // of connections not known to be closed
	asked  map[askStep]time.Time     // and not answered
	queue  []timed
}

type timed struct {
	at time.Time
	do func(now time.Time)
}

func (w *world) later(at time.Time, do func(now time.Time)) { w.queue = append(w.queue, timed{at, do}) }

// run runs until the fetch has its result or the time is over.
func (w *world) run(limit time.Duration) time.Duration {
	now, end := epoch, epoch.Add(limit)
	for w.f.info == nil && now.Before(end) {
		steps, wake := w.f.poll(now)
		w.carryOut(now, steps)
		w.check(now)
		if !wake.After(now) {
			w.t.Fatalf("poll at %v wants to be called again at %v", now.Sub(epoch), wake.Sub(epoch))
		}
		next := -1
		for i, q := range w.queue {
			if q.at.Before(wake) && (next < 0 || q.at.Before(w.queue[next].at)) {
				next = i
			}
		}
		if next < 0 {
			now = wake
			continue
		}
		q := w.queue[next]
		w.queue = slices.Delete(w.queue, next, next+1)
		if q.at.After(now) {
			now = q.at
		}
		q.do(now)
	}
	return now.Sub(epoch)
}

func (w *world) check(now time.Time) {
	if len(w.at) > w.f.max {
		w.t.Fatalf("after %v there are %d connections, want at most %d", now.Sub(epoch), len(w.at), w.f.max)
	}
	total := int64(0)
	for _, a := range w.f.parts {
		total += a.size
	}
	if total > budget {
		w.t.Fatalf("after %v the assemblies may take %d bytes, want at most %d", now.Sub(epoch), total, budget)
	}
	for _, c := range w.f.conns {
		if len(c.asked) > 0 && c.in == nil && c.ext.MetadataSize == 0 {
			w.t.Fatalf("after %v a connection waits for pieces of no size", now.Sub(epoch))
		}
	}
}

func (w *world) carryOut(now time.Time, s steps) {
	for _, d := range s.drops {
		if _, open := w.at[d.id]; open {
			w.later(now.Add(time.Millisecond), func(now time.Time) { w.hangUp(now, d.id) })
		}
	}
	for _, d := range s.dials {
		if last, ok := w.dialed[d.addr]; ok && now.Sub(last) < redialAfter {
			w.t.Fatalf("%v is dialled again after %v", d.addr, now.Sub(last))
		}
		w.dialed[d.addr] = now
		w.at[d.id] = d.addr
		h := w.habits[d.addr]
		if h.dead {
			w.later(now.Add(10*time.Second), func(now time.Time) { w.hangUp(now, d.id) })
			continue
		}
		w.later(now.Add(100*time.Millisecond), func(now time.Time) { w.f.connected(now, d.id) })
		w.later(now.Add(time.Duration(100+w.rnd.IntN(900))*time.Millisecond), func(now time.Time) {
			w.f.extended(now, d.id, peer.Extensions{MetadataID: theirID, MetadataSize: h.size})
		})
	}
	for _, a := range s.asks {
		if a.extID != theirID {
			w.t.Fatalf("asked under id %d", a.extID)
		}
		if at, ok := w.asked[a]; ok && now.Sub(at) < askTimeout && w.habits[w.at[a.id]].erratic == 0 {
			w.t.Fatalf("%+v is repeated after %v", a, now.Sub(at))
		}
		w.asked[a] = now
		w.answer(now, a)
	}
}

func (w *world) hangUp(now time.Time, id uint64) {
	delete(w.at, id)
	w.f.gone(now, id, errors.New("connection closed"))
}

func (w *world) answer(now time.Time, a askStep) {
	h := w.habits[w.at[a.id]]
	if w.rnd.Float64() < h.erratic {
		w.babble(now, a)
	}
	m := data(w.info, a.piece)
	if h.lies {
		m = data(noise[:h.size], a.piece)
	}
	then := now.Add(h.delay + time.Duration(w.rnd.IntN(50))*time.Millisecond)
	switch dice := w.rnd.Float64(); {
	case dice < h.leaves:
		w.later(then, func(now time.Time) { w.hangUp(now, a.id) })
		return
	case dice < h.leaves+h.silent:
		return
	case dice < h.leaves+h.silent+h.rejects:
		m = peer.MetadataMessage{Type: peer.MetadataReject, Piece: a.piece}
	}
	w.later(then, func(now time.Time) {
		delete(w.asked, a)
		w.f.message(now, a.id, m)
	})
}

// babble is anything that a peer may say, at a time when it makes no sense.
func (w *world) babble(now time.Time, a askStep) {
	size := int64(len(w.info))
	for range 1 + w.rnd.IntN(3) {
		switch piece := a.piece + uint32(w.rnd.IntN(3)) - 1; w.rnd.IntN(4) {
		case 0:
			claims := []int64{0, 1, size - 1, size, size, size, size + peer.MetadataPieceSize}
			w.f.extended(now, a.id, peer.Extensions{MetadataID: theirID, MetadataSize: claims[w.rnd.IntN(len(claims))]})
		case 1:
			w.f.message(now, a.id, peer.MetadataMessage{Type: peer.MetadataReject, Piece: piece})
		case 2:
			w.f.message(now, a.id, data(noise[:size], piece))
		case 3:
			w.f.message(now, a.id, peer.MetadataMessage{Type: peer.MetadataType(w.rnd.IntN(4)), Piece: piece})
		}
	}
}

// "One honest peer is enough", whatever the others do and whenever they come.
func TestOneHonestPeerIsEnough(t *testing.T) {
	for seed := range uint64(150) {
		rnd := rand.New(rand.NewPCG(seed, 7))
		info, hash := metadata(1 + rnd.IntN(12*peer.MetadataPieceSize))
		size := int64(len(info))
		w := &world{
			t: t, rnd: rnd, f: newFetch(hash, 1+rnd.IntN(20)), info: info,
			habits: map[netip.AddrPort]habit{}, dialed: map[netip.AddrPort]time.Time{}, at: map[uint64]netip.AddrPort{},
			asked: map[askStep]time.Time{},
		}
		bad := []habit{
			{name: "dead", dead: true},
			{name: "silent", size: size, silent: 1},
			{name: "liar", size: size, lies: true},
			{name: "liar who is fast at times", size: size, lies: true, delay: time.Duration(rnd.IntN(9000)) * time.Millisecond},
			{name: "liar about the size", size: 1 + rnd.Int64N(2*size), lies: true},
			{name: "liar about the size on a grand scale", size: MaxMetadata, lies: true, delay: 20 * time.Second},
			{name: "claims too much", size: MaxMetadata + 1},
			{name: "rejects", size: size, rejects: 1},
			{name: "leaves", size: size, leaves: 1},
			{name: "liar who leaves", size: size, lies: true, leaves: 0.3},
			{name: "erratic", size: size, lies: true, erratic: 0.5, leaves: 0.1},
			{name: "erratic, but no liar", size: size, erratic: 0.3, leaves: 0.05},
			{name: "has nothing", size: 0},
		}
		var order []netip.AddrPort
		n := rnd.IntN(40)
		for i := range n {
			w.habits[addr(i)] = bad[rnd.IntN(len(bad))]
			order = append(order, addr(i))
		}
		w.habits[addr(n)] = habit{name: "honest", size: size, silent: 0.1, rejects: 0.1, leaves: 0.02, delay: 100 * time.Millisecond}
		order = append(order, addr(n))
		rnd.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
		for i, a := range order {
			w.later(epoch.Add(time.Duration(i)*time.Second/4), func(time.Time) { w.f.candidate(a) })
		}
		took := w.run(3 * time.Hour)
		if !bytes.Equal(w.f.info, info) {
			t.Errorf("seed %d: nothing after %v with %d bad peers and %d places", seed, took, n, w.f.max)
		}
		if took > 10*time.Minute && w.f.max > 4 {
			t.Errorf("seed %d: took %v with %d bad peers and %d places", seed, took, n, w.f.max)
		}
	}
}

func TestHonestPeersFinishInSecondsAmongThemselves(t *testing.T) {
	info, hash := metadata(40 * peer.MetadataPieceSize)
	w := &world{
		t: t, rnd: rand.New(rand.NewPCG(1, 1)), f: newFetch(hash, 20), info: info,
		habits: map[netip.AddrPort]habit{}, dialed: map[netip.AddrPort]time.Time{}, at: map[uint64]netip.AddrPort{},
		asked: map[askStep]time.Time{},
	}
	for i := range 10 {
		w.habits[addr(i)] = habit{size: int64(len(info)), delay: 100 * time.Millisecond}
		w.f.candidate(addr(i))
	}
	if took := w.run(time.Minute); took > 2*time.Second {
		t.Errorf("took %v, want at most 2s", took)
	}
}

// up brings a connection to addr(i) to the point where its peer claims size bytes.
func up(f *fetch, now time.Time, i int, size int64) *conn {
	f.candidate(addr(i))
	f.poll(now)
	c := f.connOf(f.book.byAddr[addr(i)])
	f.connected(now, c.id)
	f.extended(now, c.id, peer.Extensions{MetadataID: theirID, MetadataSize: size})
	f.poll(now)
	return c
}

func TestLargeClaimsMakeRoomForSmallerOnes(t *testing.T) {
	f := newFetch([20]byte{}, 20)
	big := []*conn{up(f, epoch, 0, MaxMetadata), up(f, epoch, 1, MaxMetadata-1), up(f, epoch, 2, MaxMetadata-2)}
	if len(f.parts) != 2 || big[0].in != nil || big[1].in == nil || big[2].in == nil {
		t.Errorf("%d of three claims of about 32 MiB are worked on, want the two smaller ones", len(f.parts))
	}
	small := up(f, epoch, 3, 1000)
	if small.in == nil {
		t.Error("a claim of 1000 bytes has to wait")
	}
	f.gone(epoch, big[2].id, errors.New("gone"))
	f.poll(epoch)
	if big[1].in == nil {
		t.Error("the place of a claim that nobody makes any more is not given to the next")
	}
}

func TestPiecesKeepTheirPlaceWhenTheirPeerIsTriedAlone(t *testing.T) {
	info, hash := metadata(2 * peer.MetadataPieceSize)
	f := newFetch(hash, 20)
	good, bad := up(f, epoch, 0, int64(len(info))), up(f, epoch, 1, int64(len(info)))
	f.message(epoch, good.id, data(info, 0))
	f.message(epoch, bad.id, data(noise[:len(info)], 1))
	if f.info != nil || good.in == bad.in || good.in.have != 1 || bad.in.have != 1 {
		t.Fatalf("after a mismatch the peers have %d and %d pieces, want one each, of their own", good.in.have, bad.in.have)
	}
	now := epoch.Add(time.Second)
	steps, _ := f.poll(now)
	if !slices.ContainsFunc(steps.asks, func(a askStep) bool { return a.id == good.id && a.piece == 1 }) {
		t.Errorf("asked %v, want piece 1 of the first peer", steps.asks)
	}
	f.message(now, good.id, data(info, 1))
	if !bytes.Equal(f.info, info) {
		t.Error("the honest peer alone does not complete the metadata")
	}
}

func TestContributorThatComesBackWithAnotherSizeIsSuspectedToo(t *testing.T) {
	info, hash := metadata(2 * peer.MetadataPieceSize)
	for _, size := range []int64{0, 1, 1 << 20} {
		f := newFetch(hash, 20)
		one, two := up(f, epoch, 0, int64(len(info))), up(f, epoch, 1, int64(len(info)))
		f.message(epoch, one.id, data(noise[:len(info)], 0))
		f.extended(epoch, one.id, peer.Extensions{MetadataID: theirID, MetadataSize: size})
		f.message(epoch, two.id, data(info, 1))
		if !one.entry.suspect || !two.entry.suspect || two.in == nil || two.in.have != 1 {
			t.Errorf("size %d: suspected are %v and %v, want both, and what the second sent kept", size, one.entry.suspect, two.entry.suspect)
		}
		f.poll(epoch)
	}
}

func TestPeerThatKeepsChangingItsSizeIsLeftAlone(t *testing.T) {
	f := newFetch([20]byte{}, 20)
	c := up(f, epoch, 0, 0)
	for size := int64(1); size < 100; size++ {
		f.extended(epoch, c.id, peer.Extensions{MetadataID: theirID, MetadataSize: size})
		f.poll(epoch)
	}
	if !c.entry.banned || len(f.conns) != 0 || len(f.parts) > 5 {
		t.Errorf("banned is %v, %d connections and %d assemblies are left", c.entry.banned, len(f.conns), len(f.parts))
	}
}

func TestRejectedPieceGoesAtOnceToAPeerThatIsBusy(t *testing.T) {
	info, hash := metadata(3 * peer.MetadataPieceSize)
	f := newFetch(hash, 20)
	rejects, busy := up(f, epoch, 0, int64(len(info))), up(f, epoch, 1, int64(len(info)))
	rejects.useful = epoch.Add(-2 * idle) // so that the other may take all
	f.message(epoch, busy.id, data(info, 1))
	f.poll(epoch) // asks it for piece 2
	f.message(epoch, rejects.id, peer.MetadataMessage{Type: peer.MetadataReject, Piece: 0})
	steps, _ := f.poll(epoch)
	if want := []askStep{{busy.id, theirID, 0}}; !slices.Equal(steps.asks, want) {
		t.Errorf("asked %v, want %v", steps.asks, want)
	}
}

func TestFullTurnEndsWhereOthersWait(t *testing.T) {
	f := newFetch([20]byte{}, 1)
	c := up(f, epoch, 0, 1<<20)
	now := epoch
	deliver := func() (dropped bool) {
		now = now.Add(10 * time.Second)
		for i := range c.asked {
			f.message(now, c.id, data(make([]byte, 1<<20), i))
			break
		}
		steps, _ := f.poll(now)
		return len(steps.drops) > 0
	}
	for now.Sub(epoch) < turn {
		if deliver() {
			t.Fatalf("dropped after %v while nobody waited", now.Sub(epoch))
		}
	}
	f.candidate(addr(1))
	if !deliver() {
		t.Error("kept for longer than its turn although another waits")
	}
	f.gone(now, c.id, errors.New("closed"))
	if steps, _ := f.poll(now); len(steps.dials) != 1 || steps.dials[0].addr != addr(1) {
		t.Errorf("dialled %v, want the one who waited", steps.dials)
	}
}

func TestEventsOfDroppedConnectionsAreIgnored(t *testing.T) {
	info, hash := metadata(1000)
	f := newFetch(hash, 20)
	c := up(f, epoch, 0, int64(len(info)))
	f.gone(epoch, c.id, peer.ErrLength)
	f.connected(epoch, c.id)
	f.extended(epoch, c.id, peer.Extensions{MetadataID: 1, MetadataSize: 5})
	f.message(epoch, c.id, data(info, 0))
	f.gone(epoch, c.id, peer.ErrLength)
	if f.info != nil || len(f.conns)+len(f.closing) != 0 {
		t.Errorf("%d bytes of metadata, %d connections", len(f.info), len(f.conns)+len(f.closing))
	}
}

func TestBookKeepsWhoLiedAndLetsGoOfWhoFailed(t *testing.T) {
	b := book{byAddr: map[netip.AddrPort]*entry{}}
	for i := range maxKnown {
		b.add(addr(i))
	}
	b.add(addr(maxKnown))
	if b.byAddr[addr(maxKnown)] != nil || b.len() != maxKnown {
		t.Error("a full book of addresses that were never tried took another")
	}
	b.byAddr[addr(5)].banned = true
	b.byAddr[addr(6)].suspect = true
	for i := 5; i < 9; i++ {
		e := b.byAddr[addr(i)]
		e.busy = true
		b.left(epoch, e)
		b.left(epoch, e)
	}
	b.left(epoch, b.byAddr[addr(8)])
	for _, kept := range []*entry{b.byAddr[addr(5)], b.byAddr[addr(6)]} {
		for range 5 {
			b.left(epoch, kept)
		}
	}
	b.add(addr(maxKnown))
	if b.byAddr[addr(maxKnown)] == nil || b.byAddr[addr(8)] != nil || b.len() != maxKnown || len(b.byAddr) != maxKnown {
		t.Error("the new address did not take the place of the one that failed most often")
	}
	for range 10 {
		b.left(epoch, b.byAddr[addr(7)])
	}
	if pause := b.byAddr[addr(7)].next.Sub(epoch); pause != 16*time.Minute {
		t.Errorf("after many failures the pause is %v, want 16m", pause)
	}
}
