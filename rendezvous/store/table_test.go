package store

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestRecordsOutliveTheProcess(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	tb := table(t, s, "jobs")
	want := map[string]record{}
	for i, k := range keys {
		want[k.key] = record{N: i, S: "first"}
		check(t, tb.Create(t.Context(), k.key, want[k.key]))
	}
	want["*"] = record{N: 42}
	check(t, tb.Put(t.Context(), "*", want["*"]))
	delete(want, "a.b")
	check(t, tb.Delete(t.Context(), "a.b"))
	s.Close()

	tb = table(t, open(t, dir), "jobs")
	got, err := tb.All(t.Context())
	check(t, err)
	if !maps.Equal(got, want) {
		t.Errorf("after re-opening: %v, want %v", got, want)
	}
	for key, v := range want {
		if got, err := tb.Get(t.Context(), key); err != nil || got != v {
			t.Errorf("%q: %v, %v, want %v", key, got, err, v)
		}
	}
	if _, err := tb.Get(t.Context(), "a.b"); !errors.Is(err, ErrNotFound) {
		t.Errorf("deleted record: %v", err)
	}
}

func TestTablesAreApart(t *testing.T) {
	s := open(t, t.TempDir())
	check(t, table(t, s, "jobs").Put(t.Context(), "x", record{N: 1}))
	if _, err := table(t, s, "devices").Get(t.Context(), "x"); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
	if _, err := blobs(t, s, "jobs").Get(t.Context(), "x"); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
}

func TestBadTableNamesAreRefused(t *testing.T) {
	s := open(t, t.TempDir())
	for _, name := range []string{"", "Jobs", "a.b", "a/b", "../a", "-", "1a", strings.Repeat("a", 33)} {
		if _, err := OpenTable[record](t.Context(), s, name); !errors.Is(err, ErrInvalid) {
			t.Errorf("table %q: %v", name, err)
		}
		if _, err := s.OpenBlobs(t.Context(), name); !errors.Is(err, ErrInvalid) {
			t.Errorf("blobs %q: %v", name, err)
		}
	}
}

func TestOneOfManyCreatorsWins(t *testing.T) {
	tb := table(t, open(t, t.TempDir()), "keys")
	for round := range 20 {
		key := fmt.Sprint("key-", round)
		var wg sync.WaitGroup
		errs := make([]error, 8)
		for i := range errs {
			wg.Go(func() { errs[i] = tb.Create(t.Context(), key, record{N: i}) })
		}
		wg.Wait()
		got, err := tb.Get(t.Context(), key)
		check(t, err)
		for i, err := range errs {
			if won := got.N == i; won && err != nil || !won && !errors.Is(err, ErrExists) {
				t.Fatalf("%d is stored, and %d was told %v", got.N, i, err)
			}
		}
	}
}

func TestDeletedRecordCanBeCreatedAgain(t *testing.T) {
	tb := table(t, open(t, t.TempDir()), "keys")
	for i := range 3 {
		check(t, tb.Create(t.Context(), "k", record{N: i}))
		if err := tb.Create(t.Context(), "k", record{}); !errors.Is(err, ErrExists) {
			t.Fatal(err)
		}
		check(t, tb.Delete(t.Context(), "k"))
		check(t, tb.Delete(t.Context(), "k"))
	}
}

func TestRacingUpdatesLoseNothing(t *testing.T) {
	tb := table(t, open(t, t.TempDir()), "counters")
	check(t, tb.Put(t.Context(), "c", record{}))
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 25 {
				if _, err := tb.Update(t.Context(), "c", func(r *record) error { r.N++; return nil }); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if got, err := tb.Get(t.Context(), "c"); err != nil || got.N != 200 {
		t.Errorf("200 increments made %v, %v", got, err)
	}
}

func TestUpdateThatRefusesOrChangesNothingWritesNothing(t *testing.T) {
	tb := table(t, open(t, t.TempDir()), "keys")
	check(t, tb.Put(t.Context(), "k", record{N: 7}))
	_, before, err := tb.get(t.Context(), "k")
	check(t, err)
	refusal := errors.New("no")
	if _, err := tb.Update(t.Context(), "k", func(r *record) error { r.N = 8; return refusal }); err != refusal {
		t.Error(err)
	}
	if got, err := tb.Update(t.Context(), "k", func(*record) error { return nil }); err != nil || got.N != 7 {
		t.Errorf("%v, %v", got, err)
	}
	_, after, err := tb.get(t.Context(), "k")
	check(t, err)
	if before.Revision() != after.Revision() {
		t.Error("the record was written")
	}
	if _, err := tb.Update(t.Context(), "none", func(*record) error { return nil }); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
}

func TestUpdateDoesNotReviveADeletedRecord(t *testing.T) {
	tb := table(t, open(t, t.TempDir()), "keys")
	check(t, tb.Put(t.Context(), "k", record{N: 1}))
	_, err := tb.Update(t.Context(), "k", func(r *record) error {
		r.N++
		return tb.Delete(t.Context(), "k")
	})
	if !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
}

func TestAllMissesNothingThatChangesMeanwhile(t *testing.T) {
	tb := table(t, open(t, t.TempDir()), "jobs")
	for i := range 50 {
		check(t, tb.Put(t.Context(), fmt.Sprint(i), record{}))
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error)
	go func() {
		var err error
		for i := 0; ctx.Err() == nil && err == nil; i++ {
			err = tb.Put(t.Context(), fmt.Sprint(i*7%50), record{N: i})
		}
		done <- err
	}()
	for range 20 {
		if all, err := tb.All(t.Context()); err != nil || len(all) != 50 {
			t.Errorf("%d of 50 records, %v", len(all), err)
		}
	}
	stop()
	check(t, <-done)
}

func TestRecordsAboveTheLimitAreRefused(t *testing.T) {
	tb := table(t, open(t, t.TempDir()), "jobs")
	largest := record{S: strings.Repeat("x", MaxRecord-len(`{"n":0,"s":""}`))}
	check(t, tb.Put(t.Context(), "k", largest))
	if got, err := tb.Get(t.Context(), "k"); err != nil || got != largest {
		t.Errorf("the largest record came back with %d bytes, %v", len(got.S), err)
	}
	if err := tb.Put(t.Context(), "k", record{S: largest.S + "x"}); !errors.Is(err, ErrTooLarge) {
		t.Error(err)
	}
	channels, err := OpenTable[chan int](t.Context(), tb.store, "channels")
	check(t, err)
	if err := channels.Put(t.Context(), "k", nil); !errors.Is(err, ErrInvalid) {
		t.Error(err)
	}
}

func TestRecordOfAnotherTypeIsDamage(t *testing.T) {
	s := open(t, t.TempDir())
	lists, err := OpenTable[[]string](t.Context(), s, "jobs")
	check(t, err)
	check(t, lists.Put(t.Context(), "k", []string{"x"}))
	tb := table(t, s, "jobs")
	_, err = tb.Get(t.Context(), "k")
	if !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), `"k" in table jobs`) {
		t.Error(err)
	}
	if _, err = tb.All(t.Context()); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), `"k"`) {
		t.Error(err)
	}
}

func TestOperationsEndWithTheirContext(t *testing.T) {
	s := open(t, t.TempDir())
	tb, bl := table(t, s, "jobs"), blobs(t, s, "meta")
	check(t, tb.Put(t.Context(), "k", record{}))
	check(t, bl.Put(t.Context(), "b", make([]byte, 10)))
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	late, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
	defer cancel()
	for want, ctx := range map[error]context.Context{context.Canceled: cancelled, context.DeadlineExceeded: late} {
		_, get := tb.Get(ctx, "k")
		_, all := tb.All(ctx)
		_, update := tb.Update(ctx, "k", func(r *record) error { r.N++; return nil })
		_, blob := bl.Get(ctx, "b")
		_, open := OpenTable[record](ctx, s, "others")
		_, openBlobs := s.OpenBlobs(ctx, "others")
		for what, err := range map[string]error{
			"Get": get, "All": all, "Update": update, "Put": tb.Put(ctx, "k", record{}), "Create": tb.Create(ctx, "l", record{}), "Delete": tb.Delete(ctx, "k"),
			"Blobs.Get": blob, "Blobs.Put": bl.Put(ctx, "b", nil), "Blobs.Delete": bl.Delete(ctx, "b"), "OpenTable": open, "OpenBlobs": openBlobs,
		} {
			if !errors.Is(err, want) {
				t.Errorf("%s: %v, want %v", what, err, want)
			}
		}
		if _, err := Open(ctx, Config{Dir: s.dir + "/other"}); !errors.Is(err, want) {
			t.Errorf("Open: %v, want %v", err, want)
		}
	}
}

func BenchmarkPut500Bytes(b *testing.B) {
	tb := table(b, open(b, b.TempDir()), "jobs")
	v := record{S: strings.Repeat("x", 485)}
	for i := 0; b.Loop(); i++ {
		check(b, tb.Put(b.Context(), fmt.Sprint(i), v))
	}
}
