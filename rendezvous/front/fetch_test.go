package front

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"simplebit/wire/dial"
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

// world simulates peers around a core under virtual time. There is no budget of handshakes.
type world struct {
	t       *testing.T
	rnd     *rand.Rand
	c       *core
	f       *fetch
	max     int
	info    []byte
	learned []byte
	habits  map[netip.AddrPort]habit
	dialed  map[netip.AddrPort]time.Time
	at      map[uint64]netip.AddrPort // of connections kept and not known to be closed
	asked   map[askStep]time.Time     // and not answered
	queue   []timed
}

func newWorld(t *testing.T, rnd *rand.Rand, info []byte, hash [20]byte, links int) *world {
	c := newCore(Torrent{InfoHash: hash}, links, func(netip.AddrPort) bool { return true }, rnd)
	return &world{
		t: t, rnd: rnd, c: c, f: c.fetch, max: links, info: info,
		habits: map[netip.AddrPort]habit{}, dialed: map[netip.AddrPort]time.Time{}, at: map[uint64]netip.AddrPort{},
		asked: map[askStep]time.Time{},
	}
}

type timed struct {
	at time.Time
	do func(now time.Time)
}

func (w *world) later(at time.Time, do func(now time.Time)) { w.queue = append(w.queue, timed{at, do}) }

// run runs until the fetch has its result or the time is over.
func (w *world) run(limit time.Duration) time.Duration {
	now, end := epoch, epoch.Add(limit)
	for now.Before(end) {
		steps, handshakes, wake := w.c.poll(now)
		if w.learned = steps.learned; w.learned != nil {
			break
		}
		w.carryOut(now, steps)
		for range handshakes {
			w.dial(now)
		}
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
	if len(w.at) > w.max {
		w.t.Fatalf("after %v there are %d connections, want at most %d", now.Sub(epoch), len(w.at), w.max)
	}
	total := int64(0)
	for _, a := range w.f.parts {
		total += a.size
	}
	if total > maxAssembled {
		w.t.Fatalf("after %v the assemblies may take %d bytes, want at most %d", now.Sub(epoch), total, maxAssembled)
	}
	for _, c := range w.f.conns {
		if len(c.asked) > 0 && c.in == nil && c.ext.MetadataSize == 0 {
			w.t.Fatalf("after %v a connection waits for pieces of no size", now.Sub(epoch))
		}
	}
}

func (w *world) dial(now time.Time) {
	id, at, _, ok := w.c.dial(now)
	addr := at.Addr
	if !ok {
		w.t.Fatalf("after %v a handshake is wanted with nobody", now.Sub(epoch))
	}
	if last, ok := w.dialed[addr]; ok && now.Sub(last) < redialAfter {
		w.t.Fatalf("%v is dialled again after %v", addr, now.Sub(last))
	}
	w.dialed[addr] = now
	h := w.habits[addr]
	if h.dead {
		w.later(now.Add(10*time.Second), func(now time.Time) { w.c.failed(now, id, errors.New("no answer")) })
		return
	}
	w.later(now.Add(100*time.Millisecond), func(now time.Time) {
		if !w.c.connected(now, id, peer.Handshake{Reserved: peer.Reserved(true, true)}, dial.Way{}) {
			return
		}
		w.at[id] = addr
		w.later(now.Add(time.Duration(w.rnd.IntN(900))*time.Millisecond), func(now time.Time) {
			w.c.extended(now, id, peer.Extensions{MetadataID: theirID, MetadataSize: h.size})
		})
	})
}

func (w *world) carryOut(now time.Time, s steps) {
	for _, d := range s.drops {
		if _, open := w.at[d.id]; open {
			w.later(now.Add(time.Millisecond), func(now time.Time) { w.hangUp(now, d.id) })
		}
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
	w.c.gone(now, id, errors.New("connection closed"))
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
		w.c.message(now, a.id, m)
	})
}

// babble is anything that a peer may say, at a time when it makes no sense.
func (w *world) babble(now time.Time, a askStep) {
	size := int64(len(w.info))
	for range 1 + w.rnd.IntN(3) {
		switch piece := a.piece + uint32(w.rnd.IntN(3)) - 1; w.rnd.IntN(4) {
		case 0:
			claims := []int64{0, 1, size - 1, size, size, size, size + peer.MetadataPieceSize}
			w.c.extended(now, a.id, peer.Extensions{MetadataID: theirID, MetadataSize: claims[w.rnd.IntN(len(claims))]})
		case 1:
			w.c.message(now, a.id, peer.MetadataMessage{Type: peer.MetadataReject, Piece: piece})
		case 2:
			w.c.message(now, a.id, data(noise[:size], piece))
		case 3:
			w.c.message(now, a.id, peer.MetadataMessage{Type: peer.MetadataType(w.rnd.IntN(4)), Piece: piece})
		}
	}
}

// "One honest peer is enough", whatever the others do and whenever they come.
func TestOneHonestPeerIsEnough(t *testing.T) {
	for seed := range uint64(150) {
		rnd := rand.New(rand.NewPCG(seed, 7))
		info, hash := metadata(1 + rnd.IntN(12*peer.MetadataPieceSize))
		size := int64(len(info))
		w := newWorld(t, rnd, info, hash, 1+rnd.IntN(20))
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
			w.later(epoch.Add(time.Duration(i)*time.Second/4), func(now time.Time) { w.c.add(now, []netip.AddrPort{a}, SourceTracker, 1) })
		}
		took := w.run(3 * time.Hour)
		if !bytes.Equal(w.learned, info) {
			t.Errorf("seed %d: nothing after %v with %d bad peers and %d places", seed, took, n, w.max)
		}
		if took > 10*time.Minute && w.max > 4 {
			t.Errorf("seed %d: took %v with %d bad peers and %d places", seed, took, n, w.max)
		}
	}
}

func TestHonestPeersFinishInSecondsAmongThemselves(t *testing.T) {
	info, hash := metadata(40 * peer.MetadataPieceSize)
	w := newWorld(t, rand.New(rand.NewPCG(1, 1)), info, hash, 20)
	for i := range 10 {
		w.habits[addr(i)] = habit{size: int64(len(info)), delay: 100 * time.Millisecond}
		w.c.add(epoch, []netip.AddrPort{addr(i)}, SourceTracker, 1)
	}
	if took := w.run(time.Minute); took > 2*time.Second {
		t.Errorf("took %v, want at most 2s", took)
	}
}

// up brings in a connection to addr(i), whose peer claims size bytes.
func up(f *fetch, now time.Time, i int, size int64) *conn {
	id := uint64(i + 1)
	f.join(now, id, &entry{addr: addr(i)}, false)
	f.extended(id, peer.Extensions{MetadataID: theirID, MetadataSize: size})
	f.poll(now, false)
	return f.find(id)
}

func TestLargeClaimsMakeRoomForSmallerOnes(t *testing.T) {
	f := newFetch([20]byte{})
	big := []*conn{up(f, epoch, 0, MaxMetadata), up(f, epoch, 1, MaxMetadata-1), up(f, epoch, 2, MaxMetadata-2)}
	if len(f.parts) != 2 || big[0].in != nil || big[1].in == nil || big[2].in == nil {
		t.Errorf("%d of three claims of about 32 MiB are worked on, want the two smaller ones", len(f.parts))
	}
	small := up(f, epoch, 3, 1000)
	if small.in == nil {
		t.Error("a claim of 1000 bytes has to wait")
	}
	f.gone(big[2].id)
	f.poll(epoch, false)
	if big[1].in == nil {
		t.Error("the place of a claim that nobody makes any more is not given to the next")
	}
}

func TestPiecesKeepTheirPlaceWhenTheirPeerIsTriedAlone(t *testing.T) {
	info, hash := metadata(2 * peer.MetadataPieceSize)
	f := newFetch(hash)
	good, bad := up(f, epoch, 0, int64(len(info))), up(f, epoch, 1, int64(len(info)))
	f.message(epoch, good.id, data(info, 0))
	f.message(epoch, bad.id, data(noise[:len(info)], 1))
	if f.info != nil || good.in == bad.in || good.in.have != 1 || bad.in.have != 1 {
		t.Fatalf("after a mismatch the peers have %d and %d pieces, want one each, of their own", good.in.have, bad.in.have)
	}
	now := epoch.Add(time.Second)
	steps := f.poll(now, false)
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
		f := newFetch(hash)
		one, two := up(f, epoch, 0, int64(len(info))), up(f, epoch, 1, int64(len(info)))
		f.message(epoch, one.id, data(noise[:len(info)], 0))
		f.extended(one.id, peer.Extensions{MetadataID: theirID, MetadataSize: size})
		f.message(epoch, two.id, data(info, 1))
		if !one.entry.suspect || !two.entry.suspect || two.in == nil || two.in.have != 1 {
			t.Errorf("size %d: suspected are %v and %v, want both, and what the second sent kept", size, one.entry.suspect, two.entry.suspect)
		}
		f.poll(epoch, false)
	}
}

func TestPeerThatKeepsChangingItsSizeIsLeftAlone(t *testing.T) {
	f := newFetch([20]byte{})
	c := up(f, epoch, 0, 0)
	banned := false
	for size := int64(1); size < 100; size++ {
		f.extended(c.id, peer.Extensions{MetadataID: theirID, MetadataSize: size})
		for _, d := range f.poll(epoch, false).drops {
			banned = banned || d.forEver
		}
	}
	if !banned || len(f.conns) != 0 || len(f.parts) > 5 {
		t.Errorf("banned is %v, %d connections and %d assemblies are left", banned, len(f.conns), len(f.parts))
	}
}

func TestRejectedPieceGoesAtOnceToAPeerThatIsBusy(t *testing.T) {
	info, hash := metadata(3 * peer.MetadataPieceSize)
	f := newFetch(hash)
	rejects, busy := up(f, epoch, 0, int64(len(info))), up(f, epoch, 1, int64(len(info)))
	rejects.useful = epoch.Add(-2 * idle) // so that the other may take all
	f.message(epoch, busy.id, data(info, 1))
	f.poll(epoch, false) // asks it for piece 2
	f.message(epoch, rejects.id, peer.MetadataMessage{Type: peer.MetadataReject, Piece: 0})
	steps := f.poll(epoch, false)
	if want := []askStep{{busy.id, theirID, 0}}; !slices.Equal(steps.asks, want) {
		t.Errorf("asked %v, want %v", steps.asks, want)
	}
}

func TestFullTurnEndsWhereOthersWait(t *testing.T) {
	f := newFetch([20]byte{})
	c := up(f, epoch, 0, 1<<20)
	now := epoch
	deliver := func(waiting bool) (dropped bool) {
		now = now.Add(10 * time.Second)
		for i := range c.asked {
			f.message(now, c.id, data(make([]byte, 1<<20), i))
			break
		}
		return len(f.poll(now, waiting).drops) > 0
	}
	for now.Sub(epoch) < turn {
		if deliver(false) {
			t.Fatalf("dropped after %v while nobody waited", now.Sub(epoch))
		}
	}
	if !deliver(true) {
		t.Error("kept for longer than its turn although another waits")
	}
}

func TestEventsOfDroppedConnectionsAreIgnored(t *testing.T) {
	info, hash := metadata(1000)
	f := newFetch(hash)
	c := up(f, epoch, 0, int64(len(info)))
	f.gone(c.id)
	f.extended(c.id, peer.Extensions{MetadataID: 1, MetadataSize: 5})
	f.message(epoch, c.id, data(info, 0))
	f.gone(c.id)
	if f.info != nil || len(f.conns) != 0 {
		t.Errorf("%d bytes of metadata, %d connections", len(f.info), len(f.conns))
	}
}
