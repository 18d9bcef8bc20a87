package store

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"testing"
	"time"
)

// slots is how many records and blobs the child overwrites in turn, so that a kill can bring an old value back.
const slots = 7

// writeUntilKilled changes slot after slot and says so after each acknowledgement: "put SLOT VALUE", "deleted SLOT" or "blob
// SLOT VALUE", with "trying SLOT VALUE" before. Values grow over all processes.
func writeUntilKilled(dir string) error {
	ctx := context.Background()
	s, err := Open(ctx, Config{Dir: dir})
	if err != nil {
		return err
	}
	tb, err := OpenTable[record](ctx, s, "jobs")
	if err != nil {
		return err
	}
	bl, err := s.OpenBlobs(ctx, "meta")
	if err != nil {
		return err
	}
	for n := time.Now().UnixNano(); ; n++ {
		slot := rand.IntN(slots)
		key := fmt.Sprint("slot.", slot)
		switch rand.IntN(5) {
		case 0:
			fmt.Println("blob trying", slot, n)
			if err := bl.Put(ctx, key, content(rand.IntN(chunkSize+chunkSize/8), byte(n))); err != nil {
				return err
			}
			fmt.Println("blob put", slot, n)
		case 1:
			fmt.Println("record trying", slot, 0)
			if err := tb.Delete(ctx, key); err != nil {
				return err
			}
			fmt.Println("record put", slot, 0)
		default:
			fmt.Println("record trying", slot, n)
			if err := tb.Put(ctx, key, record{N: int(n), S: "x"}); err != nil {
				return err
			}
			fmt.Println("record put", slot, n)
		}
	}
}

// slotState is what a slot may hold: what was acknowledged last, or what was tried after it when the kill came.
type slotState struct{ acked, tried int }

func (s slotState) allows(n int) bool { return n == s.acked || s.tried >= 0 && n == s.tried }

func TestAcknowledgedWritesSurviveKills(t *testing.T) {
	t.Parallel()
	dir := t.TempDir() + "/store"
	state := map[string][]slotState{"record": make([]slotState, slots), "blob": make([]slotState, slots)}
	acked := 0
	for round := range 6 {
		cmd := child(t, "write", dir)
		stdout, err := cmd.StdoutPipe()
		check(t, err)
		check(t, cmd.Start())
		// Every third round is killed while it opens or creates the store, the others in the middle of writing.
		early := round%3 == 0
		if early {
			time.AfterFunc(time.Duration(rand.IntN(80))*time.Millisecond, func() { _ = cmd.Process.Kill() })
		}
		enough := 2 * (1 + rand.IntN(60))
		lines := bufio.NewScanner(stdout)
		for n := 0; lines.Scan(); n++ {
			if !early && n == enough {
				check(t, cmd.Process.Kill())
			}
			var kind, what string
			var slot, value int
			if _, err := fmt.Sscan(lines.Text(), &kind, &what, &slot, &value); err != nil {
				t.Fatalf("round %d: the child says %q", round, lines.Text())
			}
			if what == "trying" {
				state[kind][slot].tried = value
			} else {
				state[kind][slot] = slotState{acked: value, tried: -1}
				acked++
			}
		}
		_ = cmd.Wait() // killed

		s := open(t, dir)
		tb, bl := table(t, s, "jobs"), blobs(t, s, "meta")
		for slot := range slots {
			key := fmt.Sprint("slot.", slot)
			got, err := tb.Get(t.Context(), key)
			if want := &state["record"][slot]; err != nil && !errors.Is(err, ErrNotFound) || !want.allows(got.N) {
				t.Errorf("round %d: record %d is %d, %v, want %+v", round, slot, got.N, err, *want)
			} else {
				*want = slotState{acked: got.N, tried: -1}
			}
			b, err := bl.Get(t.Context(), key)
			want := &state["blob"][slot]
			found := -1
			for _, n := range []int{want.acked, want.tried} {
				if errors.Is(err, ErrNotFound) && n == 0 || err == nil && n > 0 && bytes.Equal(b, content(len(b), byte(n))) {
					found = n
				}
			}
			if found < 0 {
				t.Errorf("round %d: blob %d has %d other bytes, %v, want %+v", round, slot, len(b), err, *want)
			} else {
				*want = slotState{acked: found, tried: -1}
			}
		}
		// Half the rounds end like a crash too: what the check's own server wrote while it ran is left as it is.
		if round%2 == 0 {
			next := crash(t, dir)
			s.Close()
			check(t, os.RemoveAll(dir))
			dir = next
		} else {
			s.Close()
		}
	}
	t.Log(acked, "acknowledged writes")
}
