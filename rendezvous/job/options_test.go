package job

import (
	"context"
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"simplebit/wire/control"
)

func TestOptionsAreToldToTheDevice(t *testing.T) {
	w := newWorld(t)
	m := w.open()
	v, err := m.Add(context.Background(), New{Magnet: magnet, Target: "device:attic", Options: OptionsChange{
		Down: new(int64(2 << 20)), Ratio: new(1.4999),
	}})
	if err != nil {
		t.Fatal(err)
	}
	w.member().Learned(torrentInfo)
	v = w.get(m, v.ID, "metadata is there", func(v View) bool { return v.Size == 16 })
	want := control.Assign{ID: infoHash, Generation: v.Generation, DownLimit: 2 << 20, SeedRatio: 1500}
	if got := m.Desired(attic)[infoHash].Assign; !reflect.DeepEqual(got, want) {
		t.Errorf("the device should hold %+v, want %+v", got, want)
	}
	later, err := m.SetOptions(context.Background(), v.ID, OptionsChange{
		Down: new(int64(0)), Up: new(int64(MinRate)), MaxPeers: new(30), Sequential: new(true), SeedTime: new(48 * time.Hour),
	})
	if err != nil || later.Generation <= v.Generation {
		t.Fatalf("changed: %+v, %v", later, err)
	}
	want = control.Assign{ID: infoHash, Generation: later.Generation, UpLimit: MinRate, MaxPeers: 30, Sequential: true, SeedRatio: 1500, SeedTime: 172800}
	if got := m.Desired(attic)[infoHash].Assign; !reflect.DeepEqual(got, want) {
		t.Errorf("the device should hold %+v, want %+v", got, want)
	}
	same, err := m.SetOptions(context.Background(), v.ID, OptionsChange{MaxPeers: new(30)})
	if err != nil || same.Generation != later.Generation {
		t.Errorf("a change that changes nothing makes generation %d of %d: %v", same.Generation, later.Generation, err)
	}
	m.Close()
	if got := w.open().Desired(attic)[infoHash].Assign; !reflect.DeepEqual(got, want) {
		t.Errorf("after a restart the device should hold %+v, want %+v", got, want)
	}
}

func TestOptionsOutOfBoundsChangeNothing(t *testing.T) {
	w := newWorld(t)
	m := w.open()
	v := w.withInfo(m)
	for _, row := range []struct {
		change OptionsChange
		want   string
	}{
		{OptionsChange{Down: new(int64(1023))}, "the limit down is 1023 bytes per second: want 1024 to 1099511627776, or 0 for none"},
		{OptionsChange{Up: new(int64(-1))}, "the limit up is -1 bytes per second"},
		{OptionsChange{Up: new(int64(MaxRate + 1))}, "the limit up is 1099511627777"},
		{OptionsChange{MaxPeers: new(-1)}, "-1 peers: want 1 to 1000"},
		{OptionsChange{MaxPeers: new(1001)}, "1001 peers"},
		{OptionsChange{Ratio: new(-0.5)}, "the ratio -0.5"},
		{OptionsChange{Ratio: new(0.0001)}, "the ratio 0.0001: want 0.001 to 1000000, or 0"},
		{OptionsChange{Ratio: new(math.NaN())}, "the ratio NaN"},
		{OptionsChange{Ratio: new(math.Inf(1))}, "the ratio +Inf"},
		{OptionsChange{SeedTime: new(-time.Second)}, "the time to seed -1s"},
		{OptionsChange{SeedTime: new(MaxSeedTime + time.Second)}, "want up to 87600h0m0s"},
		{OptionsChange{SeedTime: new(1500 * time.Millisecond)}, "want whole seconds"},
	} {
		_, err := m.SetOptions(context.Background(), v.ID, row.change)
		if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), row.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%v, want %q", err, row.want)
		}
		if _, err = m.Add(context.Background(), New{Magnet: magnet, Target: "device:attic", Options: row.change}); !errors.Is(err, ErrInvalid) {
			t.Errorf("a new job with them: %v", err)
		}
	}
	if got, _ := m.Get(v.ID); !reflect.DeepEqual(got.Options, Options{}) || got.Generation != v.Generation {
		t.Errorf("the options are %+v", got.Options)
	}
	if _, err := m.SetOptions(context.Background(), "nosuch", OptionsChange{}); !errors.Is(err, ErrNotFound) {
		t.Errorf("options of an unknown job: %v", err)
	}
}

func TestAFinishedJobGoesOnWhenItsGoalsAreRaised(t *testing.T) {
	w := newWorld(t)
	m := w.open()
	v := w.withInfo(m)
	v, err := m.SetOptions(context.Background(), v.ID, OptionsChange{Ratio: new(2.0)})
	if err != nil {
		t.Fatal(err)
	}
	w.report(m, v, control.StateFinished, func(p *control.Progress) { p.Have, p.Uploaded = 16, 33 })
	v = w.get(m, v.ID, "finished", func(v View) bool { return v.State == StateFinished })
	if v.Message != "finished: seeded to ratio 2.0" || !w.member().now().left {
		t.Errorf("it is %q, and has left: %v", v.Message, w.member().now().left)
	}
	if v, err = m.SetOptions(context.Background(), v.ID, OptionsChange{Ratio: new(3.0)}); err != nil || v.State != StateWaiting {
		t.Errorf("with a higher goal it is %s, %v", v.State, err)
	}
	w.report(m, v, control.StateSeeding, func(p *control.Progress) { p.Have, p.Uploaded = 16, 33 })
	v = w.get(m, v.ID, "seeding", func(v View) bool { return v.State == StateSeeding })
	if v.Message != "complete, seeding to 0 peers until ratio 3.0 (2.06 now)" || w.member().now().left {
		t.Errorf("it is %q, and has left: %v", v.Message, w.member().now().left)
	}
}

// A device may lose its files, or be given a new disk.
func TestAFinishedJobWhoseDeviceDownloadsAgainIsInTheSwarm(t *testing.T) {
	w := newWorld(t)
	m := w.open()
	v := w.withInfo(m)
	w.report(m, v, control.StateFinished, nil)
	w.get(m, v.ID, "finished", func(v View) bool { return v.State == StateFinished })
	w.report(m, v, control.StateDownloading, nil)
	w.get(m, v.ID, "downloading", func(v View) bool { return v.State == StateDownloading })
	if w.member().now().left {
		t.Error("it downloads outside of the swarm")
	}
}
