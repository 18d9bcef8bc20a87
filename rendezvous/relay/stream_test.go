package relay

import (
	"errors"
	"io"
	"os"
	"sync"
	"time"

	"simplebit/wire/link"
)

// window is what a stream holds in either direction before its writer waits.
const window = 64 << 10

// newStream returns both ends of a stream in memory.
func newStream() (a, b *stream) {
	ab, ba := newDirection(), newDirection()
	return &stream{in: ba, out: ab}, &stream{in: ab, out: ba}
}

// stream is one end (link.Stream).
type stream struct{ in, out *direction }

var _ link.Stream = (*stream)(nil)

func (s *stream) Read(b []byte) (int, error)        { return s.in.read(b) }
func (s *stream) Write(b []byte) (int, error)       { return s.out.write(b) }
func (s *stream) CloseWrite() error                 { return s.out.finish() }
func (s *stream) SetReadDeadline(t time.Time) error { s.in.setDeadline(&s.in.readBy, t); return nil }
func (s *stream) SetWriteDeadline(t time.Time) error {
	s.out.setDeadline(&s.out.writeBy, t)
	return nil
}

func (s *stream) SetDeadline(t time.Time) error {
	return errors.Join(s.SetReadDeadline(t), s.SetWriteDeadline(t))
}

func (s *stream) Cancel() {
	s.in.sever(link.ErrCancelled)
	s.out.sever(link.ErrCancelled)
}

// cancelled reports whether either end has cancelled the stream.
func (s *stream) cancelled() bool {
	s.in.mu.Lock()
	defer s.in.mu.Unlock()
	return s.in.broken != nil
}

// direction is the bytes one way.
type direction struct {
	mu              sync.Mutex
	changed         *sync.Cond
	held            []byte
	ended           bool
	broken          error
	readBy, writeBy time.Time
}

func newDirection() *direction {
	d := &direction{}
	d.changed = sync.NewCond(&d.mu)
	return d
}

func (d *direction) read(b []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for {
		switch {
		case d.broken != nil:
			return 0, d.broken
		case len(d.held) > 0:
			n := copy(b, d.held)
			d.held = d.held[n:]
			d.changed.Broadcast()
			return n, nil
		case d.ended:
			return 0, io.EOF
		case late(d.readBy):
			return 0, os.ErrDeadlineExceeded
		}
		d.changed.Wait()
	}
}

func (d *direction) write(b []byte) (written int, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for len(b) > 0 {
		switch {
		case d.broken != nil:
			return written, d.broken
		case d.ended:
			return written, io.ErrClosedPipe
		case late(d.writeBy):
			return written, os.ErrDeadlineExceeded
		case len(d.held) == window:
			d.changed.Wait()
		default:
			n := min(len(b), window-len(d.held))
			d.held = append(d.held, b[:n]...)
			b, written = b[n:], written+n
			d.changed.Broadcast()
		}
	}
	return written, nil
}

func (d *direction) finish() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ended = true
	d.changed.Broadcast()
	return d.broken
}

func (d *direction) sever(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.broken = err
	d.changed.Broadcast()
}

func (d *direction) setDeadline(which *time.Time, t time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	*which = t
	if !t.IsZero() {
		time.AfterFunc(time.Until(t), func() {
			d.mu.Lock()
			defer d.mu.Unlock()
			d.changed.Broadcast()
		})
	}
}

func late(t time.Time) bool { return !t.IsZero() && !time.Now().Before(t) }
