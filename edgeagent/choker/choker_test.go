package choker

import (
	"math/rand/v2"
	"testing"
	"time"
)

func TestNobodyStarvesAtASeed(t *testing.T) {
	const peers, slots = 21, 4
	s := newSwarm()
	s.q.Seeding, s.q.Slots = true, slots
	served := make([]time.Duration, peers+1)
	longest := make([]time.Duration, peers+1)
	for id := range uint32(peers) {
		s.peer(id + 1).Took = 100 << 10
	}
	for range 360 {
		waits := map[uint32]time.Duration{}
		for _, p := range s.peers {
			if !p.Unchoked {
				waits[p.ID] = s.q.Now.Sub(p.Since)
			}
		}
		s.choose(true)
		for _, p := range s.peers {
			if p.Unchoked {
				served[p.ID] += Interval
				longest[p.ID] = max(longest[p.ID], waits[p.ID])
			}
		}
		s.q.Now = s.q.Now.Add(Interval)
	}
	fair := time.Hour * slots / peers
	for id := 1; id <= peers; id++ {
		if served[id] < fair*8/10 || longest[id] > 4*time.Minute {
			t.Errorf("peer %d was served %v of a fair %v and once waited %v", id, served[id], fair, longest[id])
		}
	}
}

func TestASeedServesFastTakersMoreAndSlowOnesStill(t *testing.T) {
	s := newSwarm()
	s.q.Seeding, s.q.Slots = true, 2
	served := map[uint32]int{}
	for id := range uint32(8) {
		s.peer(id + 1).Took = 10 << 10
	}
	s.peer(1).Took, s.peer(2).Took = 1000<<10, 1000<<10
	for range 720 {
		s.choose(true)
		for _, p := range s.peers {
			if p.Unchoked {
				served[p.ID]++
			}
		}
		s.q.Now = s.q.Now.Add(Interval)
	}
	for id := uint32(3); id <= 8; id++ {
		if served[id]*3 > served[1]*2 || served[id]*5 < served[1] {
			t.Errorf("slow peer %d had %d rounds, a fast one %d", id, served[id], served[1])
		}
	}
}

// BEP 3: "new connections are three times as likely to start as the current optimistic unchoke as anywhere else in the
// rotation".
func TestNewPeersGetTheOptimisticSlotThreeTimesAsOften(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	fresh := 0
	const tries = 10_000
	for range tries {
		peers := []Peer{
			{ID: 1, Joined: start, Since: start}, {ID: 2, Joined: start.Add(-time.Hour), Since: start},
			{ID: 3, Joined: start.Add(-time.Hour), Since: start}, {ID: 4, Joined: start.Add(-time.Hour), Since: start},
		}
		if got := Choose(Question{Now: start, Slots: 1, Round: true, Rand: rng}, peers); got[0].ID == 1 {
			fresh++
		}
	}
	if fresh < tries*45/100 || fresh > tries*55/100 {
		t.Errorf("the new one of four peers got the slot %d times of %d, want half of them", fresh, tries)
	}
}

// TestAnyQuestionHasAnAnswer asks at random and checks what must hold always.
func TestAnyQuestionHasAnAnswer(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for range 20_000 {
		q := Question{Now: start, Slots: rng.IntN(8) - 1, Seeding: rng.IntN(2) == 0, Round: rng.IntN(2) == 0, Rand: rng}
		peers := make([]Peer, rng.IntN(12))
		held := map[uint32]bool{}
		for i := range peers {
			unchoked := rng.IntN(2) == 0
			peers[i] = Peer{
				ID: uint32(i + 1), Unchoked: unchoked, Optimistic: unchoked && rng.IntN(2) == 0, Served: unchoked || rng.IntN(2) == 0,
				Since:  start.Add(-time.Duration(rng.IntN(60)) * time.Second),
				Joined: start.Add(-time.Duration(rng.IntN(200)) * time.Second),
				Gave:   rng.Int64N(3) * 1000, Took: rng.Int64N(3) * 1000, Snubbed: rng.IntN(4) == 0,
			}
			held[peers[i].ID] = unchoked
		}
		holders := 0
		for _, h := range held {
			if h {
				holders++
			}
		}
		seen := map[uint32]bool{}
		kept := 0
		for _, c := range Choose(q, peers) {
			if seen[c.ID] || c.ID == 0 || int(c.ID) > len(held) {
				t.Fatalf("%+v: %d was chosen twice or is nobody", q, c.ID)
			}
			seen[c.ID] = true
			if held[c.ID] {
				kept++
			}
		}
		if want := max(0, min(q.Slots, len(held))); len(seen) != want {
			t.Fatalf("%+v: %d chosen of %d, want %d", q, len(seen), len(held), want)
		}
		if want := max(0, min(q.Slots, holders)); !q.Round && kept != want {
			t.Fatalf("%+v: %d of %d kept their slots between two rounds, want %d", q, kept, holders, want)
		}
	}
}

func TestSlotsStayWithinTheirBounds(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	var s Slots
	for range 100_000 {
		l := Load{Rate: rng.Int64N(10 << 20), Limit: rng.Int64N(3) * 30 << 10, Idle: rng.Float64() * float64(rng.IntN(2)), Used: s.Count() - rng.IntN(2), Waiting: rng.IntN(3)}
		s = s.Next(l)
		if n := s.Count(); n < leastSlots || n > mostSlots || l.Limit > 0 && int64(n) > max(leastSlots, l.Limit/leastLimited) {
			t.Fatalf("%d slots after %+v", n, l)
		}
	}
}
