package utp

import (
	"bytes"
	"testing"
	"time"
)

// FuzzPacket holds that whatever is read and written is read again as the same.
func FuzzPacket(f *testing.F) {
	for _, c := range wirePackets {
		f.Add(unhex(f, c.hex))
	}
	f.Add(appendPadding(wirePackets[2].want.appendHeader(nil), 900))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := parsePacket(b)
		if err != nil {
			return
		}
		if len(p.sack) > maxExtension || headerLen+len(p.sack)+len(p.payload) > len(b) {
			t.Fatalf("%d bytes hold %d and %d", len(b), len(p.sack), len(p.payload))
		}
		again, err := parsePacket(p.appendMarshal(nil))
		if err != nil || !samePacket(p, again) {
			t.Fatalf("%+v became %+v: %v", p, again, err)
		}
	})
}

// FuzzCore lets a hostile network carry a stream from an honest peer: each step of three bytes delivers, loses, repeats or
// reorders what is on the way, lets time pass, makes the path narrow, or forges a packet that only whoever sees all traffic could forge. Data
// cannot be forged so, as nothing protects it from somebody who sees all.
func FuzzCore(f *testing.F) {
	f.Add([]byte("\x00\x10\x00\x01\x00\x00\x02\x00\x00\x01\x00\x00\x02\x00\x00"))
	f.Add([]byte("\x00\xff\x00\x00\xff\x00\x01\x00\x00\x02\x00\x00\x03\x01\x00\x01\x00\x00\x02\x00\x00\x05\x20\x00\x01\x00\x00\x02\x00\x00"))
	f.Add([]byte("\x00\x40\x00\x06\x00\x00\x07\x02\x01\x07\x03\x05\x04\x02\x00\x01\x00\x00\x05\xff\x00\x02\x00\x00\x08\x00\x00\x01\x00\x00\x02\x00\x00"))
	// Datagrams become long, then the path narrow.
	f.Add([]byte("\x00\x01\x00\x01\x00\x00\x02\x00\x00\x01\x00\x00\x00\xff\x00\x01\xff\x00\x02\xff\x00\x08\xff\x00\x01\xff\x00\x02\xff\x00\x09\x40\x00" +
		"\x00\xff\x00\x00\xff\x00\x08\xff\x00\x05\xff\x03\x05\xff\x05\x01\xff\x00\x02\xff\x00\x09\x00\x00"))
	f.Fuzz(func(t *testing.T, steps []byte) {
		w := newFuzzWorld(t)
		for len(steps) >= 3 {
			w.step(steps[0], steps[1], steps[2])
			steps = steps[3:]
		}
		w.finish()
	})
}

const fuzzBuffer = 16 << 10

type fuzzWorld struct {
	t       *testing.T
	now     time.Time
	a, b    *core
	door    door
	toA     [][]byte
	toB     [][]byte
	written int
	read    int
	credit  int // packets that b may answer
	narrow  int // longer datagrams vanish, unless they may be fragmented; 0: none
}

func newFuzzWorld(t *testing.T) *fuzzWorld {
	w := &fuzzWorld{t: t, now: time.Unix(1000, 0)}
	w.a = newInitiator(w.now, coreConfig{Seq: 65_530, RecvID: 7, RecvBuffer: fuzzBuffer, SendBuffer: fuzzBuffer})
	return w
}

// fuzzByte is the stream.
func fuzzByte(i int) byte { return byte(i ^ i>>8*7) }

func (w *fuzzWorld) step(op, x, y byte) {
	switch op % 10 {
	case 0:
		w.write(int(x) * 16)
		if y&1 == 1 {
			w.a.endPacket()
		}
	case 1:
		w.deliver(&w.toB, int(x))
	case 2:
		w.deliver(&w.toA, int(x))
	case 3:
		w.lose(&w.toB, int(x), int(y))
	case 4:
		w.lose(&w.toA, int(x), int(y))
	case 5:
		w.now = w.now.Add(time.Duration(x) * time.Duration(1+y) * time.Millisecond)
	case 6:
		w.repeat(int(x))
	case 7:
		w.forge(x, y)
	case 8:
		w.consume(int(x) * 64)
	case 9:
		w.narrow = safeDatagram + int(x)*4
	}
	w.poll()
	w.check()
}

func (w *fuzzWorld) write(n int) {
	b := make([]byte, n)
	for i := range b {
		b[i] = fuzzByte(w.written + i)
	}
	w.written += w.a.write(b)
}

func (w *fuzzWorld) consume(n int) {
	if w.b == nil {
		return
	}
	b := make([]byte, n)
	b = b[:w.b.read(b)]
	for i, c := range b {
		if c != fuzzByte(w.read+i) {
			w.t.Fatalf("byte %d of the stream is wrong", w.read+i)
		}
	}
	if w.read += len(b); w.read > w.written {
		w.t.Fatalf("%d bytes were read of %d", w.read, w.written)
	}
	w.credit++ // a window update
}

// deliver hands over up to n+1 datagrams.
func (w *fuzzWorld) deliver(way *[][]byte, n int) {
	w.now = w.now.Add(5 * time.Millisecond)
	for ; n >= 0 && len(*way) > 0; n-- {
		d := (*way)[0]
		*way = (*way)[1:]
		p, err := parsePacket(d)
		if err != nil {
			w.t.Fatalf("our own packet: %v", err)
		}
		switch {
		case way == &w.toA:
			w.a.receive(w.now, &p)
		case w.b == nil:
			var answer []byte
			if w.b, answer = w.door.knock(w.now, &p, coreConfig{Seq: 65_535, RecvBuffer: fuzzBuffer, SendBuffer: fuzzBuffer}); answer != nil {
				w.toA = append(w.toA, answer)
			} else {
				w.credit++
			}
		default:
			w.b.receive(w.now, &p)
			w.credit++
		}
	}
}

// lose drops a datagram, or exchanges two.
func (w *fuzzWorld) lose(way *[][]byte, i, j int) {
	q := *way
	if len(q) == 0 {
		return
	}
	i, j = i%len(q), j%len(q)
	if i == j {
		*way = append(q[:i], q[i+1:]...)
		return
	}
	q[i], q[j] = q[j], q[i]
}

func (w *fuzzWorld) repeat(i int) {
	if len(w.toB) > 0 && len(w.toB) < 1000 {
		w.toB = append(w.toB, w.toB[i%len(w.toB)])
	}
}

// forge gives b a packet that is nobody's. It ends b's connection at most, or makes it send again or wait.
func (w *fuzzWorld) forge(x, y byte) {
	if w.b == nil || w.b.err() != nil {
		return
	}
	c := w.b
	p := packet{connID: c.recvID, timestamp: uint32(x) << 24, timestampDiff: uint32(y) << 16, window: uint32(y) << 20,
		seq: c.recv.next + uint16(x)<<8, ack: c.send.next - 1 + uint16(y)}
	switch x % 4 {
	case 0:
		p.typ, p.sack = stState, bytes.Repeat([]byte{y}, int(x))
	case 1:
		p.typ, p.seq = stData, c.recv.next-1-uint16(y)
		p.payload = bytes.Repeat([]byte{'!'}, int(y))
	case 2:
		p.typ, p.ack = stReset, c.send.next+1+uint16(y) // of something never sent
	case 3:
		p.typ = stSyn
	}
	c.receive(w.now, &p)
	w.credit++
	if c.err() != nil {
		w.t.Fatalf("a forged %v ended the connection: %v", p.typ, c.err())
	}
}

func (w *fuzzWorld) poll() {
	for range 1000 {
		out, segment, fragment := w.a.poll(w.now, make([]byte, 0, 8<<10))
		if len(out) == 0 {
			break
		}
		for _, d := range w.split(out, segment) {
			if fragment || w.narrow == 0 || len(d) <= w.narrow {
				w.toB = append(w.toB, d)
			}
		}
	}
	if w.b == nil {
		return
	}
	for {
		out, segment, _ := w.b.poll(w.now, make([]byte, 0, 8<<10))
		if len(out) == 0 {
			break
		}
		datagrams := w.split(out, segment)
		w.toA = append(w.toA, datagrams...)
		if w.credit -= len(datagrams); w.credit < -int(w.now.Sub(time.Unix(1000, 0))/(20*time.Second))-1 {
			w.t.Fatal("it sends more packets than it got")
		}
	}
}

func (w *fuzzWorld) split(out []byte, segment int) (datagrams [][]byte) {
	if segment <= 0 || segment > len(out) || len(out) > 64*segment {
		w.t.Fatalf("%d bytes in segments of %d", len(out), segment)
	}
	for len(out) > 0 {
		n := min(segment, len(out))
		datagrams = append(datagrams, out[:n:n])
		out = out[n:]
	}
	return datagrams
}

func (w *fuzzWorld) check() {
	for _, c := range []*core{w.a, w.b} {
		if c == nil {
			continue
		}
		s := &c.send
		if c.memory() > 6*fuzzBuffer+mostPages*(pageBytes+entryBytes) {
			w.t.Fatalf("%d bytes are held", c.memory())
		}
		if s.flight < 0 || s.flight > s.held || s.held > s.cut || s.cut > s.ring.n || s.lost < 0 || s.sacks < 0 || s.partials < 0 || s.fence > s.pending() {
			w.t.Fatalf("%d under way, %d held, %d cut, %d in all; %d lost, %d arrived, %d partial",
				s.flight, s.held, s.cut, s.ring.n, s.lost, s.sacks, s.partials)
		}
		if wake := c.wake(); c.err() == nil && !c.done() && wake.IsZero() {
			w.t.Fatal("it will never be woken")
		}
	}
}

// finish lets the network be honest from now on: unless somebody gave up before, all that was written is read.
func (w *fuzzWorld) finish() {
	w.a.closeWrite()
	for range 2000 {
		w.poll()
		w.deliver(&w.toB, len(w.toB))
		w.poll()
		w.deliver(&w.toA, len(w.toA))
		w.consume(fuzzBuffer)
		w.check()
		if w.a.err() != nil || w.b != nil && (w.b.err() != nil || w.b.eof()) {
			break
		}
		if wake := w.a.wake(); wake.After(w.now) && len(w.toA)+len(w.toB) == 0 {
			w.now = wake
		}
	}
	if w.a.err() == nil && (w.b == nil || w.b.err() == nil) && (w.read != w.written || !w.b.eof()) {
		w.t.Fatalf("%d of %d bytes came: %+v", w.read, w.written, w.a.stats())
	}
}
