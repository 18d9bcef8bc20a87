package job

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"simplebit/wire/control"
)

func TestAPaceBoundsWhatHappensInAnyTime(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 50 {
		var p pace
		var taken []time.Time
		now := time.Unix(1e9, 0)
		for range 500 {
			now = now.Add(time.Duration(random.ExpFloat64() * float64(200*time.Millisecond)))
			wait := p.wait(now)
			if ok := p.take(now); ok != (wait == 0) {
				t.Fatalf("taken is %v with a wait of %v", ok, wait)
			} else if ok {
				taken = append(taken, now)
			} else if later := p; !later.take(now.Add(wait)) {
				t.Fatalf("nothing may happen after a wait of %v", wait)
			}
		}
		for i, from := range taken {
			for n, to := range taken[i:] {
				if most := paceBurst + int(to.Sub(from)/pacePause); n+1 > most {
					t.Fatalf("%d happened in %v, want %d at most", n+1, to.Sub(from), most)
				}
			}
		}
		now = now.Add(time.Hour)
		for n := range 2 * paceBurst {
			if p.take(now) != (n < paceBurst) {
				t.Fatalf("after an hour of rest the burst is not %d but ends at %d", paceBurst, n)
			}
		}
	}
}

// flips is what a hostile device reports, by turns.
var flips = map[string][]func(*control.Progress){
	"finished and not": {
		func(p *control.Progress) { p.State = control.StateFinished },
		func(p *control.Progress) { p.State = control.StateSeeding },
	},
	"lost and finished": {
		func(p *control.Progress) { p.State = control.StateDownloading },
		func(p *control.Progress) { p.State = control.StateFinished },
	},
	"later generations": {
		func(p *control.Progress) { p.Generation++; p.State = control.StatePaused },
		func(p *control.Progress) { p.Generation += 1 << 20; p.State = control.StateSeeding; p.Error = "?" },
	},
	"failures": {
		func(p *control.Progress) { p.State, p.Error = control.StateFailed, "disk full" },
		func(p *control.Progress) { p.State, p.Error = control.StateFailed, "disk empty" },
		func(p *control.Progress) { p.State, p.Error, p.Generation = control.StateFailed, "?", p.Generation+1 },
	},
	"all": {
		func(p *control.Progress) { p.State = control.StateFinished },
		func(p *control.Progress) { p.State = control.StateSeeding },
		func(p *control.Progress) { p.State = control.StateFailed },
		func(p *control.Progress) { p.State = control.StateFinished; p.Generation++ },
		func(p *control.Progress) { p.State = control.StateLayout; p.Generation-- },
	},
}

func TestADeviceThatTakesItsWordBackAllTheTimeHasLittleStored(t *testing.T) {
	for name, turns := range flips {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const times, seconds = 1000, 8
				w := newWorld(t)
				m := w.open()
				defer m.Close()
				v := w.withInfo(m)
				puts, _, changed, joined := w.wear()
				for i := range times {
					now, err := m.Get(v.ID)
					if err != nil {
						t.Fatal(err)
					}
					w.report(m, now, control.StateSeeding, func(p *control.Progress) { p.Have = 16; turns[i%len(turns)](p) })
					time.Sleep(seconds * time.Second / times)
				}
				time.Sleep(2 * pacePause)
				synctest.Wait()
				const most = paceBurst + seconds + 2 // one completion, one failure
				allPuts, _, allChanged, allJoined := w.wear()
				if n := allPuts - puts; n == 0 || n > most || allChanged-changed > most || allJoined-joined > most {
					t.Errorf("%d reports in %d s: stored %d times, the device was told %d times, the swarm joined %d times", times, seconds, n, allChanged-changed, allJoined-joined)
				}
				now, err := m.Get(v.ID)
				if r := w.stored(v.ID); err != nil || r.Generation != now.Generation || r.Finished != now.Finished || r.Paused != now.Paused || !r.Completed && !r.Paused && name != "later generations" {
					t.Errorf("stored is %+v, the job is %+v, %v", r, now.Record, err)
				}
				time.Sleep(time.Hour)
				if puts, _, _, _ := w.wear(); puts != allPuts {
					t.Errorf("in an hour of silence the record was stored %d times", puts-allPuts)
				}
			})
		})
	}
}

// tire has the device report until another report has to wait.
func (w *world) tire(m *Manager, v View) {
	for range paceBurst {
		w.report(m, v, control.StateFinished, nil)
		w.report(m, v, control.StateSeeding, nil)
	}
	synctest.Wait()
}

func TestTheLastOfManyReportsIsStored(t *testing.T) {
	for state, finished := range map[control.State]bool{control.StateFinished: true, control.StateSeeding: false} {
		for name, c := range map[string]func(*Manager){
			"after a pause":             func(*Manager) { time.Sleep(pacePause) },
			"when the surrogate ends":   (*Manager).Close,
			"though the device is gone": func(m *Manager) { m.Connected(attic); time.Sleep(pacePause) },
		} {
			t.Run(fmt.Sprint(name, ", ", state), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w := newWorld(t)
					m := w.open()
					defer m.Close()
					v := w.withInfo(m)
					w.tire(m, v)
					puts, _, _, _ := w.wear()
					for range 10 {
						for _, other := range []control.State{control.StateSeeding, control.StateFinished} {
							w.report(m, v, other, nil)
						}
					}
					w.report(m, v, state, nil)
					w.report(m, v, control.StateChecking, nil) // says nothing of what lasts
					synctest.Wait()
					if now, _, _, _ := w.wear(); now != puts {
						t.Error("it was stored without a pause")
					}
					c(m)
					synctest.Wait()
					if r := w.stored(v.ID); r.finished() != finished || !r.Completed || r.Generation != v.Generation {
						t.Errorf("stored is %+v", r)
					}
				})
			})
		}
	}
}

func TestWhatAPersonWishesIsStoredBeforeItIsAcknowledgedWhateverTheDeviceReports(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		m := w.open()
		defer m.Close()
		v := w.withInfo(m)
		w.tire(m, v)
		w.report(m, v, control.StateFinished, nil)
		paused, err := m.Pause(context.Background(), v.ID)
		if r := w.stored(v.ID); err != nil || !r.Paused || r.Generation != paused.Generation {
			t.Errorf("stored is %+v, %v", r, err)
		}
		resumed, err := m.Resume(context.Background(), v.ID)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * pacePause)
		synctest.Wait()
		if r := w.stored(v.ID); r.Paused || r.Finished != 0 || r.Generation != resumed.Generation {
			t.Errorf("a report of an earlier wish made it %+v", r)
		}
		w.tire(m, resumed)
		w.report(m, resumed, control.StateFinished, nil)
		if err := m.Remove(context.Background(), v.ID, false); err != nil {
			t.Fatal(err)
		}
		m.Gone(attic, infoHash)
		time.Sleep(2 * pacePause)
		m.Close()
		if len(w.records) != 0 {
			t.Errorf("what was dropped is stored: %+v", w.records)
		}
	})
}

// A surrogate that is killed has stored some of the reports; a device tells what it
// holds in each session.
func TestAKilledSurrogateLearnsFromTheDeviceWhatItHadNotStored(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	states := []control.State{control.StateFinished, control.StateSeeding, control.StateDownloading, control.StateChecking, control.StateLayout}
	for range 100 {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			m := w.open()
			v := w.withInfo(m)
			want := false // it has finished
			report := func(state control.State) {
				switch state {
				case control.StateFinished:
					want = true
				case control.StateSeeding, control.StateDownloading:
					want = false
				}
				w.report(m, v, state, func(p *control.Progress) { p.Have = 16 })
			}
			check := func(when string) {
				t.Helper()
				synctest.Wait()
				got, err := m.Get(v.ID)
				if r := w.stored(v.ID); err != nil || got.finished() != want || r.finished() != want || r.Generation != v.Generation {
					t.Fatalf("%s: finished is %v, stored %+v, the job is %+v, %v", when, want, r, got.Record, err)
				}
			}
			for range 6 {
				for range random.IntN(30) {
					report(states[random.IntN(len(states))])
					time.Sleep(time.Duration(random.IntN(300)) * time.Millisecond)
				}
				switch random.IntN(3) {
				case 0:
					time.Sleep(pacePause)
					check("after a pause")
				case 1:
					synctest.Wait()
					m.Close()
					m = w.open()
					check("after an orderly restart")
				case 2:
					synctest.Wait()
					stored := maps.Clone(w.records)
					m.Close()
					w.records = stored
					m = w.open()
					report(states[random.IntN(3)])
					check("after the device has come back to a killed surrogate")
				}
			}
			m.Close()
		})
	}
}

func TestADeviceThatIsAheadIsOvertakenAfterAPauseAndAfterARestart(t *testing.T) {
	for name, again := range map[string]bool{"after a pause": false, "after a restart": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				m := w.open()
				v := w.withInfo(m)
				w.tire(m, v)
				const ahead = 1 << 40
				report := func() {
					w.report(m, v, control.StatePaused, func(p *control.Progress) { p.Generation += ahead })
					synctest.Wait()
				}
				report()
				if again {
					m.Close()
					m = w.open()
					report()
				} else {
					time.Sleep(pacePause)
				}
				synctest.Wait()
				got, err := m.Get(v.ID)
				if r := w.stored(v.ID); err != nil || got.Generation != v.Generation+ahead+1 || r.Generation != got.Generation {
					t.Errorf("stored is %+v, the job is %+v, %v", r, got.Record, err)
				}
				m.Close()
			})
		})
	}
}

func TestADeviceThatHoldsNothingAllTheTimeDoesNotHaveAStoreThatFailsTryAllTheTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		m := w.open()
		defer m.Close()
		v := w.withInfo(m)
		if err := m.Remove(context.Background(), v.ID, true); err != nil {
			t.Fatal(err)
		}
		w.locked(func() { w.stuck = errors.New("store: no answer") })
		for range 1000 {
			m.Gone(attic, infoHash)
			time.Sleep(8 * time.Millisecond)
		}
		const most = 2 * (paceBurst + 8) // the description, then the record
		if _, deletes, _, _ := w.wear(); deletes == 0 || deletes > most {
			t.Errorf("it tried %d times, want %d at most", deletes, most)
		}
		w.locked(func() { w.stuck = nil })
		time.Sleep(pacePause)
		m.Gone(attic, infoHash)
		if _, err := m.Get(v.ID); !errors.Is(err, ErrNotFound) {
			t.Errorf("the job is still there: %v", err)
		}
	})
}
