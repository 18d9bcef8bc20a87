package session

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"io"
	"slices"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"
	"github.com/quic-go/quic-go"

	"simplebit/wire/control"
	"simplebit/wire/link"
)

const patience = time.Minute // for what must happen

func idOf(key ed25519.PrivateKey) control.DeviceID {
	return control.DeviceIDOf(key.Public().(ed25519.PublicKey))
}

// joined connects a device with an empty inventory.
func (w *world) joined(key ed25519.PrivateKey) *device {
	w.t.Helper()
	d := w.connect(key, hello)
	next[control.Welcome](d)
	d.send(control.Synced{})
	if !event[bool](w) {
		w.t.Fatal("the device is said to be offline")
	}
	return d
}

// ended waits for the surrogate to end the connection, and returns the code.
func (d *device) ended() link.Code {
	d.t.Helper()
	select {
	case <-d.conn.Done():
	case <-time.After(patience):
		d.t.Fatal("the connection is still open")
	}
	var app *quic.ApplicationError
	if _, err := d.conn.Accept(context.Background()); !errors.As(err, &app) {
		d.t.Fatalf("the connection ended with %v", err)
	}
	return link.Code(app.ErrorCode)
}

// served checks that another device is.
func (w *world) served() {
	w.t.Helper()
	w.wish(blue, want(blue, 1))
	d := w.connect(newKey(w.t), hello)
	next[control.Welcome](d)
	d.send(control.Synced{})
	for {
		m, err := d.frames.Next()
		if err != nil {
			w.t.Fatal(err)
		}
		if a, ok := m.(control.Assign); ok && a.ID == blue {
			return
		}
	}
}

func TestADeviceThatFloodsIsReadNoFasterThanItMaySend(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.locked(func() { w.counting = true })
	w.wish(red, want(red, 1))
	d := w.joined(newKey(t))
	next[control.Assign](d)
	const extra = 300
	frame := frame(t, control.Progress{ID: red, Generation: 1, State: control.StateDownloading})
	began := time.Now()
	for range frameBurst + extra {
		if _, err := d.stream.Write(frame); err != nil {
			t.Fatal(err)
		}
	}
	for {
		w.mu.Lock()
		n := w.observed
		w.mu.Unlock()
		if n == frameBurst+extra {
			break
		}
		if time.Since(began) > patience {
			t.Fatalf("%d frames were taken", n)
		}
		time.Sleep(time.Millisecond)
	}
	if took, least := time.Since(began), (extra-50)*frameInterval; took < least {
		t.Errorf("%d frames too many were taken within %v, want %v at least", extra, took, least)
	}
}

func TestAFloodOfChangesIsComparedOnceInAWhile(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.locked(func() { w.counting = true })
	w.wish(red, want(red, 1))
	d := w.joined(newKey(t))
	next[control.Assign](d)
	w.locked(func() { w.asked = 0 })
	began := time.Now()
	for i := range frameBurst - 100 {
		d.send(held(red, 1, [...]control.State{control.StateSeeding, control.StateDownloading}[i%2]))
	}
	for {
		w.mu.Lock()
		n, asked := w.observed, w.asked
		w.mu.Unlock()
		if most := int(time.Since(began)/compareEach) + 2; asked > most {
			t.Fatalf("compared %d times after %d reports, want %d at most", asked, n, most)
		}
		if n == frameBurst-100 {
			break
		}
		if time.Since(began) > patience {
			t.Fatalf("%d frames were taken", n)
		}
		time.Sleep(time.Millisecond)
	}
}

func TestWhoConnectsAgainMayNotBurstAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.locked(func() { w.counting = true })
	w.wish(red, want(red, 1))
	key := newKey(t)
	const extra = 300
	began := time.Now()
	for n := range 4 {
		d := w.joined(key)
		next[control.Assign](d)
		for range (frameBurst + extra) / 4 {
			d.send(held(red, 1, control.StateSeeding))
		}
		for w.count() < (n+1)*(frameBurst+extra)/4 {
			if time.Since(began) > patience {
				t.Fatalf("%d frames were taken", w.count())
			}
			time.Sleep(time.Millisecond)
		}
		d.conn.Close(0, "")
		if event[bool](w) {
			t.Fatal("the device is still said to be online")
		}
	}
	if took, least := time.Since(began), (extra-50)*frameInterval; took < least {
		t.Errorf("%d frames too many were taken within %v, want %v at least", extra, took, least)
	}
}

func (w *world) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.observed
}

func TestReportsOfTorrentsOfNobodyAreAnsweredAndForgotten(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.locked(func() { w.counting = true })
	d := w.joined(newKey(t))
	for i := range 150 {
		id := infoHash{byte(i), byte(i >> 8), 3}
		d.send(control.Progress{ID: id, Generation: 1, State: control.StateSeeding})
		if got := next[control.Unassign](d); got.ID != id || got.DeleteData {
			t.Fatalf("answered with %+v", got)
		}
		d.send(control.Gone{ID: id})
	}
	w.served()
}

func TestADeviceThatReadsNothingIsCutOffAndHoldsNobodyUp(t *testing.T) {
	t.Parallel()
	const held = 2 * time.Second
	w := newWorld(t, func(c *Config) { c.writeTime = held })
	w.client = &quic.Config{InitialStreamReceiveWindow: 1 << 10, MaxStreamReceiveWindow: 1 << 10}
	key := newKey(t)
	d := w.joined(key)
	for i := range 500 {
		w.wish(infoHash{byte(i), byte(i >> 8), 3}, want(infoHash{byte(i), byte(i >> 8), 3}, 1))
	}
	began := time.Now()
	w.hub.Changed(idOf(key))
	for range 500 {
		w.hub.Candidates(idOf(key), control.Candidates{ID: red, Peers: addresses(0, 3)})
		w.hub.Changed(idOf(key))
	}
	if took := time.Since(began); took >= held/2 {
		t.Errorf("the hub's callers waited %v", took)
	}
	if got := d.ended(); got != closeLost {
		t.Errorf("closed with %d", got)
	}
	if event[bool](w) {
		t.Error("the device is still said to be online")
	}
}

func TestALayoutThatIsNotReadHoldsNobodyUp(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.client = &quic.Config{InitialStreamReceiveWindow: 64, MaxStreamReceiveWindow: 64}
	w.wish(red, want(red, 1))
	d := w.joined(newKey(t))
	next[control.Assign](d)
	d.send(control.Progress{ID: red, Generation: 1, State: control.StateLayout})
	event[control.Progress](w)
	if _, err := d.conn.Accept(context.Background()); err != nil {
		t.Fatal(err)
	}
	w.client = nil
	w.served()
	d.send(control.Progress{ID: red, Generation: 1, State: control.StatePaused}) // its session goes on
	for {
		select {
		case e := <-w.events:
			if p, ok := e.(control.Progress); ok && p.State == control.StatePaused {
				return
			}
		case <-time.After(patience):
			t.Fatal("the session stands still")
		}
	}
}

func TestALayoutThatCouldNotBeSentIsTriedAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.locked(func() { w.broken = 2 })
	w.wish(red, want(red, 1))
	d := w.joined(newKey(t))
	next[control.Assign](d)
	d.send(control.Progress{ID: red, Generation: 1, State: control.StateLayout})
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for range 2 { // and one that the device lost
		stream, err := d.conn.Accept(ctx)
		if err != nil {
			t.Fatal(err)
		}
		stream.CloseWrite()
		if _, err := control.ReadLayout(stream); err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, stream)
	}
}

func TestADeviceHasOneStreamOnly(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.joined(newKey(t))
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	if _, err := d.conn.Open(ctx); err == nil {
		t.Error("a second stream was opened")
	}
}

func TestAFrameThatNeverEndsHoldsNobodyUp(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.joined(newKey(t))
	d.stream.Write([]byte{0xff, 0xff, 0x03, 0xa1})
	w.served()
}

func TestReportsBeyondTheLimitsEndTheSession(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	peers := make([]map[int]any, control.MaxPeers+1)
	for i := range peers {
		peers[i] = map[int]any{2: "client"}
	}
	for name, fields := range map[string]map[int]any{
		"too many peers":         {0: 4, 1: red[:], 2: 1, 3: 3, 11: peers},
		"a negative size":        {0: 4, 1: red[:], 2: 1, 3: 3, 4: -1},
		"an endless error":       {0: 4, 1: red[:], 2: 1, 3: 6, 10: string(make([]byte, control.MaxText+1))},
		"a negative selection":   {0: 4, 1: red[:], 2: 1, 3: 3, 14: -1},
		"unusable port 0":        {0: 12, 1: red[:], 2: []any{map[int]any{1: make([]byte, 6)}}},
		"a network of 17":        {0: 13, 11: slices.Repeat([]any{map[int]any{1: []byte{192, 0, 2, 1, 0, 1}}}, 17)},
		"nowhere":                {0: 13, 11: []any{map[int]any{1: make([]byte, 6)}}},
		"a network of everybody": {0: 13, 11: []any{map[int]any{1: []byte{224, 0, 0, 1, 0, 1}}}},
		"an endless lifetime":    {0: 13, 9: 1 << 30},
		"half an info-hash":      {0: 4, 1: red[:10], 2: 1, 3: 3},
	} {
		d := w.joined(newKey(t))
		b, err := cbor.Marshal(fields)
		if err != nil {
			t.Fatal(err)
		}
		d.stream.Write(append(binary.AppendUvarint(nil, uint64(len(b))), b...))
		if got := d.ended(); got != closeLost {
			t.Errorf("%s: closed with %d", name, got)
		}
		if event[bool](w) {
			t.Errorf("%s: the device is still said to be online", name)
		}
	}
}

func TestARevocationIsNotEscapedByConnectingAtThatMoment(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	asked, answer := make(chan bool), make(chan bool)
	w.locked(func() {
		w.admit = func() (string, error) {
			asked <- true
			<-answer
			return "attic", nil
		}
	})
	key := newKey(t)
	d := w.connect(key, hello)
	<-asked
	w.hub.Revoke(idOf(key)) // the store has answered before it
	answer <- true
	next[control.Welcome](d)
	if got := next[control.Refused](d); got.Code != control.RefusedRevoked {
		t.Errorf("refused with %+v", got)
	}
	d.ended()
}

func TestTheJobsHearInOrderWhetherADeviceIsOnline(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	key := newKey(t)
	var last *device
	for range 10 {
		last = w.connect(key, hello)
		next[control.Welcome](last)
		last.send(control.Synced{})
		if !event[bool](w) {
			t.Fatal("a device that was replaced is said to be offline")
		}
	}
	last.conn.Close(0, "")
	if event[bool](w) {
		t.Error("the device is still said to be online")
	}
}

func TestAHubThatStopsEndsEverySession(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	idle := w.dial(newKey(t)) // says nothing
	w.awaitAdmissions(1)
	d := w.joined(newKey(t))
	w.stop()
	if got := d.ended(); got != closeNormal {
		t.Errorf("closed with %d", got)
	}
	select {
	case <-idle.Done():
	case <-time.After(patience):
		t.Error("a connection that has said nothing is still open")
	}
}

// awaitAdmissions waits until the hub has so many connections that are no sessions yet.
func (w *world) awaitAdmissions(least int) {
	w.t.Helper()
	for began := time.Now(); ; time.Sleep(time.Millisecond) {
		w.hub.mu.Lock()
		n := w.hub.admissions.total
		w.hub.mu.Unlock()
		if n >= least {
			return
		}
		if time.Since(began) > patience {
			w.t.Fatalf("the hub has %d connections, want %d", n, least)
		}
	}
}

func TestHostileFirstFramesEndTheConnection(t *testing.T) {
	w := newWorld(t)
	for name, bytes := range map[string][]byte{
		"not a frame":      {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
		"too large":        {0x81, 0x80, 0x80, 0x80, 0x01},
		"not CBOR":         {3, 0xff, 0xff, 0xff},
		"of the surrogate": frame(t, control.Synced{}),
	} {
		conn := w.dial(newKey(t))
		stream, err := conn.Open(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		stream.Write(bytes)
		select {
		case <-conn.Done():
		case <-time.After(patience):
			t.Errorf("%s: the connection is still open", name)
		}
	}
}

func frame(t *testing.T, m control.Message) []byte {
	var b bytes.Buffer
	if err := control.WriteMessage(&b, m); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestFramesThatOnlyASurrogateSendsEndTheSession(t *testing.T) {
	w := newWorld(t)
	d := w.connect(newKey(t), hello)
	next[control.Welcome](d)
	event[bool](w)
	d.send(control.Assign{ID: red, Generation: 1})
	select {
	case <-d.conn.Done():
	case <-time.After(patience):
		t.Error("the connection is still open")
	}
}
