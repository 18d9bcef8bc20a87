package choker

import (
	"slices"
	"testing"
	"time"
)

var start = time.Unix(1_000_000_000, 0)

// ago makes a peer whose slot or wait began so many seconds before start.
func ago(id uint32, unchoked bool, seconds int) Peer {
	return Peer{ID: id, Unchoked: unchoked, Since: start.Add(time.Duration(-seconds) * time.Second)}
}

func TestSlotsGoTo(t *testing.T) {
	const slot, waits = true, false
	for _, tt := range []struct {
		name    string
		peers   []Peer
		slots   int
		seeding bool
		want    []uint32
	}{
		{"nobody when nobody is interested", nil, 4, false, nil},
		{"nobody when there are no slots", []Peer{ago(1, slot, 5), ago(2, waits, 5)}, 0, true, nil},
		{"everybody when there is room", []Peer{ago(1, slot, 99), ago(2, waits, 1)}, 4, true, []uint32{1, 2}},
		{"those who have one, before any who wait", []Peer{ago(1, waits, 500), ago(2, slot, 1), ago(3, slot, 900)}, 2, false, []uint32{2, 3}},
		{"whoever waits longest, when one is free", []Peer{ago(1, waits, 5), ago(2, waits, 7), ago(3, slot, 1), ago(4, waits, 6)}, 2, false, []uint32{2, 3}},
		{"the smaller name among equal waits", []Peer{ago(9, waits, 5), ago(4, waits, 5), ago(7, waits, 5)}, 2, false, []uint32{4, 7}},
		{"those who wait, once a seed's turn is over", []Peer{ago(1, slot, 30), ago(2, slot, 29), ago(3, waits, 1)}, 2, true, []uint32{2, 3}},
		{"the same after their turn, when nobody waits", []Peer{ago(1, slot, 31), ago(2, slot, 90)}, 2, true, []uint32{1, 2}},
		{"one who waits, from whom held it longest", []Peer{ago(1, slot, 31), ago(2, slot, 90), ago(3, waits, 1)}, 2, true, []uint32{1, 3}},
		{"the newest slots when there are fewer slots now", []Peer{ago(1, slot, 3), ago(2, slot, 1), ago(3, slot, 2)}, 2, false, []uint32{2, 3}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := Choose(start, tt.peers, tt.slots, tt.seeding)
			slices.Sort(got)
			if !slices.Equal(got, tt.want) {
				t.Errorf("chose %v, want %v", got, tt.want)
			}
		})
	}
}

func TestNobodyStarvesAtASeed(t *testing.T) {
	const peers, slots = 21, 4
	state := make([]Peer, peers)
	for i := range state {
		state[i] = Peer{ID: uint32(i), Since: start}
	}
	served := make([]time.Duration, peers)
	longest := make([]time.Duration, peers)
	for now := start; now.Before(start.Add(time.Hour)); now = now.Add(10 * time.Second) {
		chosen := Choose(now, slices.Clone(state), slots, true)
		for i := range state {
			p := &state[i]
			if in := slices.Contains(chosen, p.ID); in != p.Unchoked {
				if in {
					longest[i] = max(longest[i], now.Sub(p.Since))
				}
				p.Unchoked, p.Since = in, now
			}
			if p.Unchoked {
				served[i] += 10 * time.Second
			}
		}
	}
	fair := time.Hour * slots / peers
	for i := range state {
		if served[i] < fair*8/10 || longest[i] > 4*time.Minute {
			t.Errorf("peer %d was served %v of a fair %v and once waited %v", i, served[i], fair, longest[i])
		}
	}
}
