package link

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"github.com/hashicorp/yamux"
)

// What yamux puts on the wire (its spec.md): a header, and after one of data as many bytes as it says.
//
//	0         1      2       4        8        12
//	+---------+------+-------+--------+--------+
//	| version | type | flags | stream | length |
//	+---------+------+-------+--------+--------+
const (
	headerSize = 12

	typeData   = 0
	typeWindow = 1
	typePing   = 2

	flagSYN = 1
	flagFIN = 4
	flagRST = 8
)

// What yamux does for a frame costs the same with nothing in it, so those with little are bounded beside pings, each of which
// makes yamux start a goroutine that lives until its answer is sent. There is one window update for each 128 KiB, so that many
// are of half a gigabyte a second; and a session's reader is slower than that with its messages.
var (
	pings   = pace{every: time.Second, burst: 16}
	frugal  = pace{every: 250 * time.Microsecond, burst: 16_000}
	streams = pace{every: time.Second, burst: 64} // opened by an agent, which has use for one
)

// little is how many bytes of data make a frame worth its while.
const little = 512

// pace is how many of something may come: one each while in the long run, and so many at once.
type pace struct {
	every time.Duration
	burst int
}

// meter is when what came so far would have come at an even pace.
type meter struct{ used time.Time }

// over counts another one, and reports whether that is one too many.
func (m *meter) over(now time.Time, p pace) bool {
	if m.used.Before(now) {
		m.used = now
	}
	m.used = m.used.Add(p.every)
	return m.used.Sub(now) > time.Duration(p.burst)*p.every
}

// yamux ends one direction of a stream, and has no way to end both. So a stream is cancelled with a reset, which yamux takes
// from the other side, and which that answers so that yamux forgets the stream here too: with a reset of this length.
const resetAnswer = 1

// maxAnswers bounds the answers to resets that wait to be sent.
const maxAnswers = 256

// frames is the TLS connection that yamux reads and writes. It ends one that is silent or takes nothing, bounds what yamux
// does not, writes header and data together, and ends streams in the ways that yamux does not offer.
type frames struct {
	net.Conn          // TLS
	raw      net.Conn // what it runs over
	timing   timing
	agent    bool // this side is

	// Of what comes in, for yamux's reading goroutine alone.
	in                     [headerSize]byte
	have                   int    // bytes of in
	skip                   uint32 // bytes of data until the next header
	pinged, framed, opened meter

	mu      sync.Mutex      // to write
	held    []byte          // a header of data, and then the data
	body    bool            // held waits for the data
	closing map[uint32]bool // yamux closes the stream, whose end is on the wire already

	state   sync.Mutex
	cause   error                    // why the connection ended, as far as it is known here
	answers []uint32                 // streams of which a reset is to be answered
	resets  map[uint32]chan struct{} // of streams that were cancelled here, closed by the answer
}

func newFrames(c, raw net.Conn, agent bool, t timing) *frames {
	return &frames{Conn: c, raw: raw, timing: t, agent: agent, closing: map[uint32]bool{}, resets: map[uint32]chan struct{}{}}
}

// Read is called by yamux.
func (f *frames) Read(b []byte) (int, error) {
	f.SetReadDeadline(time.Now().Add(f.timing.idle))
	n, err := f.Conn.Read(b)
	if flood := f.look(time.Now(), b[:n]); flood != nil {
		f.fail(flood)
		return 0, flood
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = fmt.Errorf("nothing came for %v", f.timing.idle)
	}
	if err != nil {
		f.fail(err)
	}
	return n, err
}

// look follows the headers of what was read.
func (f *frames) look(now time.Time, b []byte) error {
	for len(b) > 0 {
		if f.skip > 0 {
			n := min(len(b), int(min(f.skip, 1<<30)))
			b, f.skip = b[n:], f.skip-uint32(n)
			continue
		}
		n := copy(f.in[f.have:], b)
		b, f.have = b[n:], f.have+n
		if f.have < headerSize {
			break
		}
		f.have = 0
		h := f.in[:]
		if h[1] == typeData {
			f.skip = lengthOf(h)
		}
		if err := f.bound(now, h); err != nil {
			return err
		}
		if h[1] == typeWindow && flagsOf(h)&flagRST != 0 && !f.takeReset(streamOf(h), lengthOf(h) == resetAnswer) {
			return errors.New("it resets streams without end")
		}
	}
	return nil
}

// bound counts a frame, and returns an error when it is one too many of its kind.
func (f *frames) bound(now time.Time, h []byte) error {
	opens := flagsOf(h)&flagSYN != 0
	switch {
	case h[1] == typePing && opens && f.pinged.over(now, pings):
		return errors.New("it pings without end")
	case h[1] != typePing && opens && !f.agent && f.opened.over(now, streams):
		return errors.New("it opens streams without end")
	case f.skip < little && f.framed.over(now, frugal):
		return errors.New("it sends frames of next to nothing without end")
	}
	return nil
}

// Write is called by yamux with a header, or with the data of the header before.
func (f *frames) Write(b []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.body {
		f.held, f.body = append(f.held, b...), false
		return len(b), f.write(f.held)
	}
	f.held = append(f.held[:0], b...)
	if b[1] == typeData && lengthOf(b) > 0 {
		f.body = true
		return len(b), nil
	}
	if b[1] == typeWindow && flagsOf(b)&flagFIN != 0 && f.closing[streamOf(b)] {
		return len(b), nil
	}
	return len(b), f.write(f.held)
}

// send sends a frame of which yamux is not to know.
func (f *frames) send(flags uint16, stream, length uint32) error {
	var h [headerSize]byte
	h[1] = typeWindow
	binary.BigEndian.PutUint16(h[2:], flags)
	binary.BigEndian.PutUint32(h[4:], stream)
	binary.BigEndian.PutUint32(h[8:], length)
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.write(h[:])
}

// end tells the other side that nothing more comes on a stream. yamux itself is asked to only when nothing comes from there
// either: it cannot cancel what it has ended.
func (f *frames) end(stream uint32) error { return f.send(flagFIN, stream, 0) }

// reset cancels a stream at the other side, and returns what is closed when that has answered.
func (f *frames) reset(stream uint32) (<-chan struct{}, error) {
	answered := make(chan struct{})
	f.state.Lock()
	f.resets[stream] = answered
	f.state.Unlock()
	return answered, f.send(flagRST, stream, 0)
}

// close has yamux forget a stream, of which it sends nothing.
func (f *frames) close(stream *yamux.Stream) {
	id := stream.StreamID()
	f.mu.Lock()
	f.closing[id] = true
	f.mu.Unlock()
	stream.Close()
	f.mu.Lock()
	delete(f.closing, id)
	f.mu.Unlock()
}

// takeReset answers a reset, or takes it as the answer. It returns false when too many wait for one.
func (f *frames) takeReset(stream uint32, answer bool) bool {
	f.state.Lock()
	defer f.state.Unlock()
	if answer {
		if answered, ok := f.resets[stream]; ok {
			close(answered)
			delete(f.resets, stream)
		}
		return true
	}
	f.answers = append(f.answers, stream)
	if len(f.answers) == 1 {
		go f.answer() // who reads must not wait to write
	}
	return len(f.answers) <= maxAnswers
}

// answer answers the resets that wait for it.
func (f *frames) answer() {
	for {
		f.state.Lock()
		if len(f.answers) == 0 || f.cause != nil {
			f.answers = nil
			f.state.Unlock()
			return
		}
		stream := f.answers[0]
		f.state.Unlock()
		f.send(flagRST, stream, resetAnswer)
		f.state.Lock()
		f.answers = f.answers[1:]
		f.state.Unlock()
	}
}

// write sends whole frames; f.mu is held. Who does not take them in time is gone: the rest of a frame cannot follow later.
func (f *frames) write(b []byte) error {
	f.SetWriteDeadline(time.Now().Add(f.timing.stall))
	_, err := f.Conn.Write(b)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = fmt.Errorf("it took nothing for %v", f.timing.stall)
	}
	if err != nil {
		f.fail(err)
	}
	return err
}

// Close ends the connection at once. TLS would first say so, and wait for a stalled connection to take it.
func (f *frames) Close() error { return f.raw.Close() }

// fail notes why the connection ends, and ends it.
func (f *frames) fail(err error) {
	f.state.Lock()
	if f.cause == nil {
		f.cause = err
	}
	f.state.Unlock()
	f.raw.Close()
}

// lost is what who still uses the connection is told.
func (f *frames) lost() error {
	f.state.Lock()
	defer f.state.Unlock()
	if f.cause == nil {
		return fmt.Errorf("%w: the other side breaks the rules of yamux", ErrClosed)
	}
	return fmt.Errorf("%w: %w", ErrClosed, f.cause)
}

func flagsOf(header []byte) uint16  { return binary.BigEndian.Uint16(header[2:]) }
func streamOf(header []byte) uint32 { return binary.BigEndian.Uint32(header[4:]) }
func lengthOf(header []byte) uint32 { return binary.BigEndian.Uint32(header[8:]) }
