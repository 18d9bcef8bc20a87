package link

import (
	"errors"
	"io"
	"os"
	"sync"
	"time"

	"github.com/hashicorp/yamux"
)

// chunk is how much one stream sends before the others have their turn.
const chunk = 8 << 10

// tcpStream is a yamux stream. yamux ends only the direction that it sends, and calls a lost connection the end of a stream,
// so the two ends of a stream are kept here.
type tcpStream struct {
	conn  *tcpConn
	mux   *yamux.Stream
	place chan struct{} // has an element for this stream until it is forgotten

	mu        sync.Mutex
	read      bool // their end was read
	wrote     bool // our end was sent
	cancelled bool // by either side
	reset     bool // by the other one
	forgotten bool
}

func (s *tcpStream) Read(b []byte) (int, error) {
	if err := s.readable(); err != nil {
		return 0, err
	}
	n, err := s.mux.Read(b)
	if n > 0 {
		if n < len(b) {
			s.mux.Shrink() // what came in a burst would stay allocated
		}
		return n, nil
	}
	if err == io.EOF && s.alive() {
		s.ends(func() { s.read = true })
		return 0, s.readable()
	}
	return 0, s.failed(err)
}

// readable returns what ends every Read.
func (s *tcpStream) readable() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.cancelled:
		return ErrCancelled
	case s.read:
		return io.EOF
	}
	return nil
}

func (s *tcpStream) Write(b []byte) (n int, err error) {
	for n < len(b) && err == nil {
		if err := s.writable(); err != nil {
			return n, err
		}
		var m int
		m, err = s.mux.Write(b[n:min(n+chunk, len(b))])
		n += m
	}
	return n, s.failed(err)
}

func (s *tcpStream) writable() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.cancelled:
		return ErrCancelled
	case s.wrote:
		return io.ErrClosedPipe
	}
	return nil
}

// failed returns what an error of yamux means.
func (s *tcpStream) failed(err error) error {
	switch {
	case err == nil:
		return nil
	case s.isCancelled():
		return ErrCancelled
	case errors.Is(err, yamux.ErrTimeout):
		return os.ErrDeadlineExceeded
	case errors.Is(err, yamux.ErrConnectionReset):
		s.ends(func() { s.cancelled, s.reset = true, true })
		return ErrCancelled
	case errors.Is(err, yamux.ErrConnectionWriteTimeout):
		s.conn.frames.fail(err)
	}
	return s.conn.frames.lost()
}

func (s *tcpStream) isCancelled() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cancelled
}

// alive says whether the end of a stream is one: yamux ends all of them when the connection is lost.
func (s *tcpStream) alive() bool { return !s.conn.mux.IsClosed() }

func (s *tcpStream) CloseWrite() error {
	if err := s.writable(); err != nil {
		return err
	}
	if err := s.conn.frames.end(s.mux.StreamID()); err != nil {
		return s.conn.frames.lost()
	}
	s.ends(func() { s.wrote = true })
	return nil
}

func (s *tcpStream) Cancel() { s.ends(func() { s.cancelled = true }) }

// ends notes an end, and forgets a stream that has both.
func (s *tcpStream) ends(note func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.forgotten {
		return
	}
	note()
	if !s.cancelled && !(s.read && s.wrote) {
		return
	}
	s.forgotten = true
	go s.forget(s.cancelled && !s.reset) // it may have to wait for what other streams send
}

// forget gives up the stream's place, for one that was cancelled here as soon as the other side knows.
func (s *tcpStream) forget(cancel bool) {
	defer func() { <-s.place }()
	if !cancel {
		s.conn.frames.close(s.mux)
		return
	}
	s.mux.SetDeadline(time.Unix(1, 0)) // frees who reads or writes
	answered, err := s.conn.frames.reset(s.mux.StreamID())
	if err != nil {
		return
	}
	s.conn.frames.close(s.mux)
	select {
	case <-answered:
	case <-s.conn.Done():
	}
}

func (s *tcpStream) SetDeadline(t time.Time) error {
	return errors.Join(s.SetReadDeadline(t), s.SetWriteDeadline(t))
}

func (s *tcpStream) SetReadDeadline(t time.Time) error  { return s.mux.SetReadDeadline(t) }
func (s *tcpStream) SetWriteDeadline(t time.Time) error { return s.mux.SetWriteDeadline(t) }
