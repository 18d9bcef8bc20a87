package relay

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"simplebit/wire/control"
	"simplebit/wire/link"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const rate = 256 << 10

var torrent = [20]byte{1, 2, 3}

// world is Relays and the devices that it reaches.
type world struct {
	t *testing.T
	*Relays
	mu     sync.Mutex
	refuse map[control.DeviceID]error // devices that cannot be reached; nil in it: those that never answer
	opened map[control.DeviceID][]end
	ended  []error
}

// end is a stream at a device, and what it was told.
type end struct {
	*stream
	header control.Relay
}

func newWorld(t *testing.T, rate int64) *world {
	w := &world{t: t, refuse: map[control.DeviceID]error{}, opened: map[control.DeviceID][]end{}}
	w.Relays = New(Config{Rate: rate, Open: w.open, maxCounts: 8, Ended: func(_, _ control.DeviceID, _ [20]byte, err error) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.ended = append(w.ended, err)
	}})
	return w
}

func (w *world) open(ctx context.Context, d control.DeviceID, header control.Relay) (link.Stream, error) {
	w.mu.Lock()
	err, refused := w.refuse[d]
	w.mu.Unlock()
	if refused && err == nil {
		<-ctx.Done()
		err = ctx.Err()
	}
	if refused {
		return nil, err
	}
	ours, theirs := newStream()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.opened[d] = append(w.opened[d], end{theirs, header})
	return ours, nil
}

func side(name string) Side {
	return Side{control.DeviceID("id of " + name), name, netip.MustParseAddrPort("203.0.113.7:6882")}
}

// join starts a connection and returns its ends.
func (w *world) join(dialer, answerer string) (a, b end) {
	w.t.Helper()
	w.Start(side(dialer), side(answerer), torrent)
	synctest.Wait()
	return w.last(dialer), w.last(answerer)
}

func (w *world) last(name string) end {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	all := w.opened[side(name).Device]
	if len(all) == 0 {
		w.t.Fatalf("no stream to %s was opened", name)
	}
	return all[len(all)-1]
}

// ends returns why connections ended, so far.
func (w *world) ends() []error {
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]error(nil), w.ended...)
}

// endsWith checks that one connection has ended, so.
func (w *world) endsWith(want error) {
	w.t.Helper()
	if got := w.ends(); len(got) != 1 || !errors.Is(got[0], want) {
		w.t.Errorf("ended with %v, want %v", got, want)
	}
}

// inBubble runs f with devices that may move so many bytes a second.
func inBubble(t *testing.T, rate int64, f func(w *world)) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, rate)
		f(w)
		w.Close()
		if n := len(w.connections); n != 0 {
			t.Errorf("%d connections are left", n)
		}
	})
}

// say writes at one end and checks that it arrives at the other.
func say(t *testing.T, from, to end, text string) {
	t.Helper()
	if _, err := from.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(text))
	if _, err := io.ReadFull(to, got); err != nil || string(got) != text {
		t.Errorf("%q, %v arrived, want %q", got, err, text)
	}
}

func (w *world) counted(name string, down, up int64) {
	w.t.Helper()
	synctest.Wait()
	if d, u := w.Counts(side(name).Device, torrent); d != down || u != up {
		w.t.Errorf("%s: %d down, %d up, want %d and %d", name, d, u, down, up)
	}
}

func TestWhatADeviceSaysReachesTheOtherAndIsCounted(t *testing.T) {
	inBubble(t, rate, func(w *world) {
		a, b := w.join("attic", "barn")
		for e, want := range map[end]control.Relay{
			a: {Torrent: torrent, Device: side("barn").Device, Peer: "barn", Addr: side("").Addr, Dials: true},
			b: {Torrent: torrent, Device: side("attic").Device, Peer: "attic", Addr: side("").Addr},
		} {
			if e.header != want {
				t.Errorf("told %+v, want %+v", e.header, want)
			}
		}
		say(t, a, b, "greeting")
		w.counted("attic", 0, 8)
		say(t, b, a, "hello")
		say(t, a, b, "!")
		w.counted("attic", 5, 9)
		w.counted("barn", 9, 5)
		if n, other := w.Carried(side("barn").Device, side("attic").Device, torrent), w.Carried(side("barn").Device, side("attic").Device, [20]byte{9}); n != 14 || other != 0 {
			t.Errorf("%d and %d bytes were carried", n, other)
		}
		if got, want := w.Totals(), (Totals{Bytes: 14, Live: 1, Started: 1}); got != want {
			t.Errorf("in all %+v, want %+v", got, want)
		}
		a.CloseWrite()
		if _, err := b.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("the end arrives as %v", err)
		}
		say(t, b, a, "one more")
		b.CloseWrite()
		w.endsWith(nil)
		if a.cancelled() || b.cancelled() {
			t.Error("what was under way at the end is lost")
		}
		w.counted("attic", 13, 9)
		w.counted("barn", 9, 13)
	})
}

func TestARelayThatADeviceDoesNotNeedEndsAtOnce(t *testing.T) {
	inBubble(t, rate, func(w *world) {
		a, b := w.join("attic", "barn")
		a.Write(make([]byte, 68))
		synctest.Wait()
		b.Cancel()
		w.endsWith(nil)
		if !a.cancelled() {
			t.Error("the other device's stream is still there")
		}
		w.counted("attic", 0, 68) // they were carried
		w.counted("barn", 68, 0)
		if got, want := w.Totals(), (Totals{Bytes: 68, Started: 1}); got != want {
			t.Errorf("in all %+v, want %+v", got, want)
		}
	})
}

func TestADeviceThatVanishesEndsTheConnectionAtOnce(t *testing.T) {
	gone := errors.New("no recent network activity")
	for name, vanish := range map[string]func(a, b end){
		"while it is waited for": func(a, _ end) { a.out.sever(gone) },
		"while it is written to": func(a, b end) {
			go b.Write(make([]byte, 3*window))
			time.Sleep(time.Second)
			a.in.sever(gone)
			a.out.sever(gone)
		},
	} {
		inBubble(t, 1<<30, func(w *world) {
			a, b := w.join("attic", "barn")
			go func() { time.Sleep(time.Second); vanish(a, b) }()
			if _, err := b.Read(make([]byte, 1)); err != link.ErrCancelled {
				t.Errorf("%s: the other device reads %v", name, err)
			}
			w.endsWith(gone)
		})
	}
}

func TestADeviceThatNeverReadsHoldsOneBufferAndIsGivenUp(t *testing.T) {
	inBubble(t, rate, func(w *world) {
		a, b := w.join("attic", "barn")
		say(t, b, a, "hello")
		written := 0
		began := time.Now()
		for {
			n, err := a.Write(make([]byte, 1<<10))
			written += n
			if err != nil {
				break
			}
		}
		// What lies with the relay itself is a buffer; the rest is the two streams'.
		if most := 2*window + bufferSize; written > most || written < 2*window {
			t.Errorf("%d bytes were taken, want %d at most", written, most)
		}
		if took := time.Since(began); took < idleTime || took > idleTime+5*time.Second {
			t.Errorf("given up after %v", took)
		}
		if got := w.ends(); len(got) != 1 || !b.cancelled() {
			t.Errorf("ended with %v", got)
		}
	})
}

func TestSilenceEndsAConnectionAndKeepalivesDoNot(t *testing.T) {
	inBubble(t, rate, func(w *world) {
		a, b := w.join("attic", "barn")
		for range 5 {
			time.Sleep(idleTime - time.Second)
			say(t, a, b, "\x00\x00\x00\x00")
		}
		if got := w.ends(); len(got) != 0 {
			t.Fatalf("ended with %v", got)
		}
		began := time.Now()
		if _, err := b.Read(make([]byte, 1)); err != link.ErrCancelled || time.Since(began) != idleTime {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		w.endsWith(ErrIdle)
	})
}

func TestADeviceThatSaysNoMoreLeavesTheOtherSecondsForTheRest(t *testing.T) {
	inBubble(t, rate, func(w *world) {
		a, b := w.join("attic", "barn")
		say(t, b, a, "hello")
		a.CloseWrite()
		began := time.Now()
		for {
			if _, err := b.Write([]byte("and")); err != nil {
				break
			}
			a.Read(make([]byte, 3))
			time.Sleep(100 * time.Millisecond)
		}
		if took := time.Since(began); took < lingerTime || took > lingerTime+200*time.Millisecond {
			t.Errorf("the rest had %v", took)
		}
		w.endsWith(nil)
	})
}

func TestWhatCannotBeOpenedIsToldAndLeavesNothing(t *testing.T) {
	offline := errors.New("the device is not connected")
	for name, c := range map[string]struct {
		refuse map[string]error
		want   error
		took   time.Duration
	}{
		"one is offline":     {map[string]error{"barn": offline}, offline, 0},
		"both are offline":   {map[string]error{"attic": offline, "barn": offline}, offline, 0},
		"one never answers":  {map[string]error{"attic": nil}, context.DeadlineExceeded, openTime},
		"both never answer":  {map[string]error{"attic": nil, "barn": nil}, context.DeadlineExceeded, openTime},
		"one of each, first": {map[string]error{"attic": nil, "barn": offline}, offline, 0},
	} {
		inBubble(t, rate, func(w *world) {
			for name, err := range c.refuse {
				w.refuse[side(name).Device] = err
			}
			w.Start(side("attic"), side("barn"), torrent)
			time.Sleep(c.took)
			if got := w.ends(); len(got) != 1 || !errors.Is(got[0], c.want) {
				t.Errorf("%s: ended with %v, want %v", name, got, c.want)
			}
			for d, all := range w.opened {
				if !all[0].cancelled() {
					t.Errorf("%s: the stream to %s is still open", name, d)
				}
			}
			if got := w.Totals(); got != (Totals{}) {
				t.Errorf("%s: in all %+v", name, got)
			}
		})
	}
}

func TestLimitsAreKept(t *testing.T) {
	inBubble(t, rate, func(w *world) {
		for i := range MaxPerDevice {
			w.join("attic", fmt.Sprint("other", i))
		}
		w.Start(side("barn"), side("attic"), torrent)
		w.endsWith(ErrBusy)
		w.last("other0").Cancel()
		synctest.Wait()
		w.join("barn", "attic") // there is room again
		for i := MaxPerDevice; i < MaxTotal; i++ {
			w.join(fmt.Sprint("device", i), fmt.Sprint("other", i))
		}
		w.mu.Lock()
		w.ended = nil
		w.mu.Unlock()
		w.Start(side("den"), side("eaves"), torrent)
		w.endsWith(ErrBusy)
		if got := w.Totals(); got.Refused != 2 || got.Live != MaxTotal {
			t.Errorf("in all %+v", got)
		}
	})
}

func TestTwoDevicesAreJoinedOnceForATorrent(t *testing.T) {
	inBubble(t, rate, func(w *world) {
		w.join("attic", "barn")
		w.Start(side("barn"), side("attic"), torrent)
		w.endsWith(ErrTwice)
		w.Start(side("attic"), side("barn"), [20]byte{4})
		if synctest.Wait(); w.Totals().Live != 2 {
			t.Errorf("in all %+v", w.Totals())
		}
	})
}

func TestARateOfZeroRelaysNothing(t *testing.T) {
	inBubble(t, 0, func(w *world) {
		w.Start(side("attic"), side("barn"), torrent)
		w.endsWith(ErrOff)
		if len(w.opened) != 0 || w.Totals() != (Totals{Refused: 1}) {
			t.Errorf("in all %+v", w.Totals())
		}
	})
}

func TestATorrentThatIsNotHeldAnyMoreIsForgotten(t *testing.T) {
	inBubble(t, rate, func(w *world) {
		a, b := w.join("attic", "barn")
		say(t, a, b, "greeting")
		say(t, b, a, "hello")
		w.Forget(side("attic").Device, [20]byte{9})
		w.counted("attic", 5, 8)
		w.Forget(side("attic").Device, torrent)
		w.endsWith(ErrForgotten)
		w.counted("attic", 0, 0)
		w.counted("barn", 8, 5) // which holds it still
		if !a.cancelled() || !b.cancelled() {
			t.Error("the streams are still there")
		}
	})
}

func TestAConnectionIsStoppedForAnotherOnesSake(t *testing.T) {
	inBubble(t, rate, func(w *world) {
		a, b := w.join("attic", "barn")
		other, _ := w.join("attic", "cellar")
		say(t, a, b, "greeting")
		w.Stop(side("barn").Device, side("cellar").Device, torrent)
		w.Stop(side("attic").Device, side("barn").Device, [20]byte{9})
		if got := w.ends(); len(got) != 0 {
			t.Fatalf("ended with %v", got)
		}
		w.Stop(side("barn").Device, side("attic").Device, torrent)
		w.endsWith(ErrReplaced)
		w.counted("attic", 0, 8)
		if !a.cancelled() || !b.cancelled() || other.cancelled() {
			t.Error("another one ends, or not both streams")
		}
	})
}

func TestOnlySoManyCountsAreRemembered(t *testing.T) {
	inBubble(t, rate, func(w *world) { // eight
		for i := range 10 {
			a, b := w.join(fmt.Sprint("device", i), fmt.Sprint("other", i))
			say(t, a, b, "greeting")
			say(t, b, a, "hello")
			if i > 0 { // the first one stays
				a.Cancel()
			}
			synctest.Wait()
			time.Sleep(time.Second)
		}
		if n := len(w.counts); n != 8 {
			t.Errorf("%d counts are remembered", n)
		}
		w.counted("device0", 5, 8)
		w.counted("device1", 0, 0)
		w.counted("device9", 5, 8)
	})
}

func TestWhoWasRelayedLeavesNothingButItsCount(t *testing.T) {
	inBubble(t, rate, func(w *world) {
		for i := range 3 {
			a, _ := w.join(fmt.Sprint("device", i), fmt.Sprint("other", i))
			a.Cancel()
			synctest.Wait()
		}
		time.Sleep(time.Second)
		w.join("attic", "barn")
		if n := len(w.devices); n != 2 {
			t.Errorf("%d devices are remembered", n)
		}
	})
}

func TestClosingEndsAllAndNothingBeginsAfterwards(t *testing.T) {
	inBubble(t, rate, func(w *world) {
		a, b := w.join("attic", "barn")
		w.refuse[side("cellar").Device] = nil
		w.Start(side("attic"), side("cellar"), torrent) // is being opened
		w.Close()
		if got := w.ends(); len(got) != 2 || !errors.Is(got[0], ErrClosed) || !errors.Is(got[1], ErrClosed) {
			t.Errorf("ended with %v", got)
		}
		if !a.cancelled() || !b.cancelled() {
			t.Error("the streams are still there")
		}
		w.Start(side("den"), side("eaves"), torrent)
		if got := w.ends(); len(got) != 2 || w.Totals().Live != 0 {
			t.Errorf("ended with %v", got)
		}
	})
}

func TestManyBytesArriveUnaltered(t *testing.T) {
	inBubble(t, 1<<30, func(w *world) {
		a, b := w.join("attic", "barn")
		want := bytes.Repeat([]byte("0123456789abcdef!"), 100_000)
		go func() { a.Write(want); a.CloseWrite() }()
		got, err := io.ReadAll(b)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%d bytes, %v", len(got), err)
		}
	})
}
