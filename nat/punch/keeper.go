package punch

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"time"
)

// A path that is kept is asked every KeepInterval or a little earlier, which also keeps the mappings of NATs, and as soon as
// data has stopped for some seconds. It is lost when nothing was heard on it for MaxSilence, and when there was no answer for
// MaxConsent whatever else came (RFC 7675 section 5.1).
const (
	KeepInterval = 10 * time.Second
	MaxSilence   = 15 * time.Second
	MaxConsent   = 30 * time.Second

	quiet     = 3 * time.Second         // without data that came before, and the path is asked
	keepAgain = 2500 * time.Millisecond // where an answer is missing
	keepLast  = time.Second             // likewise, when nothing was heard for KeepInterval
	keepFrom  = maxSent                 // numbers of the requests of keepers begin here
	keepOpen  = 16                      // as many of the last requests can still be answered

	answersEach  = 250 * time.Millisecond // an answer to the peer comes back
	answersBurst = 5 * time.Second        // all of them
)

// Keeper proves that a path still leads to the peer, and answers the peer's proofs. What else is heard there says that the
// path is not silent, but could be anybody's: only answers to questions of its own say for long that the peer wants what it is
// sent. The path never moves; what comes from elsewhere is ignored. It is not for concurrent use. The times that it is told
// never go back.
type Keeper struct {
	codec       codec
	controlling bool
	path        Path
	random      *rand.Rand
	nonce       [nonceSize]byte

	count    uint32 // of the next request
	answered uint32 // requests before this one count no longer
	asked    time.Time
	next     time.Time // when it is asked, if data does not stop before
	polled   time.Time
	consent  time.Time // the last answer
	heard    time.Time // the last answer or data
	waiting  bool      // for an answer
	full     time.Time
	reply    []byte
}

// Keeper returns what keeps the path, nil unless the outcome is Connected. The machine is not needed any more then.
func (m *Machine) Keeper(now time.Time) *Keeper {
	if m.outcome != Connected {
		return nil
	}
	seed := binary.BigEndian.Uint64(m.nonce[:])
	k := &Keeper{
		codec: m.codec, controlling: m.plan.Controlling, path: m.path, nonce: m.nonce, random: rand.New(rand.NewPCG(seed, 0)),
		count: keepFrom, answered: keepFrom, asked: now, polled: now, consent: now, heard: now, full: now,
	}
	for _, r := range m.replies {
		if r.socket == m.path.Socket && r.to == m.path.Remote {
			k.reply = r.data
		}
	}
	k.next = now.Add(k.interval())
	return k
}

// interval is 8 to 10 s, so that keepers do not keep in step.
func (k *Keeper) interval() time.Duration {
	return KeepInterval - time.Duration(k.random.Int64N(int64(KeepInterval/5)))
}

// Path returns what is kept.
func (k *Keeper) Path() Path { return k.path }

// Heard takes that the peer was last heard on the path at that time otherwise than by Receive: by data of a connection. What came
// after the path was lost does not count. Who is told so by something else asks that before Poll and Lost whenever Wake has come.
func (k *Keeper) Heard(at time.Time) {
	if at.After(k.heard) && !k.Lost(at) {
		k.heard = at
	}
}

// Lost reports whether the path is to be closed: nothing was heard on it for MaxSilence, or there was no answer for MaxConsent.
func (k *Keeper) Lost(now time.Time) bool { return !now.Before(k.end()) }

// Why says in a few words why a lost path is lost.
func (k *Keeper) Why() string {
	if k.end().Equal(k.heard.Add(MaxSilence)) {
		return "nothing was heard on it for " + MaxSilence.String()
	}
	return "data came, and no answer for " + MaxConsent.String()
}

func (k *Keeper) end() time.Time { return earlier(k.heard.Add(MaxSilence), k.consent.Add(MaxConsent)) }

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// due is when the path is asked.
func (k *Keeper) due() time.Time {
	if at := k.heard.Add(quiet); k.heard.After(k.consent) && k.asked.Before(at) {
		return earlier(at, k.next)
	}
	return k.next
}

// Poll appends what is to be sent now to out: one answer and one request at most. It sends nothing over a lost path.
func (k *Keeper) Poll(now time.Time, out []Datagram) []Datagram {
	k.polled = now
	if k.reply != nil {
		out = append(out, Datagram{Socket: k.path.Socket, To: k.path.Remote, Data: k.reply})
		k.reply = nil
	}
	if now.Before(k.due()) || k.Lost(now) {
		return out
	}
	data := k.codec.marshal(message{id: newID(k.nonce, k.count)}, probeSize)
	k.count++
	k.waiting, k.asked = true, now
	again := keepAgain
	if now.Sub(k.heard) >= KeepInterval {
		again = keepLast
	}
	k.next = now.Add(again)
	return append(out, Datagram{Socket: k.path.Socket, To: k.path.Remote, Data: data})
}

// Wake is when Heard, Poll and Lost must be called although nothing came. Data must be known of before its end can be.
func (k *Keeper) Wake() time.Time {
	if k.reply != nil {
		return k.polled
	}
	return earlier(earlier(k.due(), k.end()), k.polled.Add(quiet))
}

// Receive takes a datagram that came to one of the sockets, and reports whether it says that the path works.
func (k *Keeper) Receive(now time.Time, socket int, from netip.AddrPort, b []byte) bool {
	if socket != k.path.Socket || unmap(from) != k.path.Remote || k.Lost(now) {
		return false
	}
	x, ok := k.codec.parse(b)
	if !ok {
		return false
	}
	if !x.answer {
		k.question(now, x, len(b))
		return false
	}
	n := number(x.id)
	if x.id != newID(k.nonce, n) || n < k.answered || n >= k.count || k.count-n > keepOpen {
		return false
	}
	k.answered = n + 1
	k.consent, k.heard = now, now
	if k.waiting {
		k.waiting = false
		k.next = now.Add(k.interval())
	}
	return true
}

// question answers one of the peer's, which may still be confirming the path. A recorded one can be sent again by
// anybody, so there is a limit.
func (k *Keeper) question(now time.Time, x message, size int) {
	if k.full.Before(now) {
		k.full = now
	}
	if k.full.Sub(now) > answersBurst-answersEach {
		return
	}
	k.full = k.full.Add(answersEach)
	k.reply = k.codec.marshal(message{id: x.id, answer: true, nominate: k.controlling}, size)
}
