// Package link is the connection between an agent and its surrogate on which wire/control is spoken: QUIC, or, where UDP does
// not get through, TLS 1.3 over TCP with yamux. Both carry the same streams:
//
//	agent ── session stream (opened by the agent, the first) ──▶ surrogate
//	agent ◀── one stream a layout, one stream a relayed peer ─── surrogate
//
// Streams are bidirectional, and each begins with a frame that says what it is for: whoever opens one must write at once.
package link

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net/netip"
	"time"
)

// Transport is what a connection runs over.
type Transport uint8

// The transports.
const (
	QUIC Transport = iota
	TCP
)

// String returns the transport in one lower-case word, as in the API.
func (t Transport) String() string { return [...]string{"quic", "tcp"}[t] }

// Code says to the other side why a connection ends. Over TCP it is lost: what must arrive goes over the session stream.
type Code uint64

// Errors of connections and streams; test with errors.Is. Over QUIC a connection that has ended shows quic-go's errors.
var (
	ErrCancelled = errors.New("the stream was cancelled") // by either side
	ErrClosed    = errors.New("the connection is closed") // over TCP; wraps the reason as well
	errHere      = errors.New("this side has closed it")
)

// Conn is a connection. Any goroutine may call its methods.
type Conn interface {
	// Open opens a stream. It waits while the other side allows no more of them.
	Open(ctx context.Context) (Stream, error)
	// Accept waits for a stream of the other side.
	Accept(ctx context.Context) (Stream, error)
	// Close ends the connection with all its streams; what was not delivered is lost.
	Close(code Code, reason string)
	// Done is closed when the connection has ended, whoever ended it.
	Done() <-chan struct{}
	// TLS shows the keys of the handshake.
	TLS() tls.ConnectionState
	// Local and Remote are the ends, IPv4 as IPv4. They may change over QUIC. Local is unspecified where the socket has all
	// addresses.
	Local() netip.AddrPort
	Remote() netip.AddrPort
	// RTT is the smoothed round-trip time; 0: not known yet.
	RTT() time.Duration
	Transport() Transport
}

// Stream is one of a connection's streams, for one reader and one writer at a time; any goroutine may cancel it. It counts
// as open until both directions have ended, so who does not read to the end cancels it. Deadlines that pass show as
// os.ErrDeadlineExceeded. Over TCP that of a Write holds while the other side's window is full; a connection that takes
// nothing at all is closed after 15 s. After a Write that failed only Cancel is of use.
type Stream interface {
	io.Reader
	io.Writer
	// CloseWrite says that nothing more comes; what was written arrives. The other side may still write.
	CloseWrite() error
	// Cancel ends both directions at once, and does not wait. Who reads or writes gets ErrCancelled, at the other end too;
	// after CloseWrite, what has not arrived may be lost. Nothing happens to a stream of which both directions have ended.
	Cancel()
	SetDeadline(time.Time) error
	SetReadDeadline(time.Time) error
	SetWriteDeadline(time.Time) error
}

// Listener is where a surrogate waits for agents.
type Listener interface {
	// Accept waits for an agent that has shown its key.
	Accept(ctx context.Context) (Conn, error)
	// Addr is where it listens.
	Addr() netip.AddrPort
}
