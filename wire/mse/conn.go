package mse

import (
	"crypto/rc4"
	"io"
	"net"
	"sync"
)

const (
	// smallScratch is enough for what an idle peer is told, so that hundreds of them cost little.
	smallScratch = 1 << 10
	// fullScratch holds a block of 16 KiB with its head and some small messages before it.
	fullScratch = 18 << 10
)

// Conn is a connection after the handshake. Its deadlines, addresses and Close are those of the connection beneath.
// Like any net.Conn it may be used by several goroutines.
type Conn struct {
	net.Conn
	Method Method // what the responder selected; not to be changed

	reading sync.Mutex
	in      *rc4.Cipher // nil: what comes is plain
	sealed  int         // with Plaintext: bytes of IA that still come encrypted
	early   []byte      // payload that was read with the handshake, decrypted

	writing sync.Mutex
	out     *rc4.Cipher // nil: what goes is plain
	scratch []byte      // for what is encrypted, made when it is first needed
	single  [1][]byte
}

// newConn takes over the ciphers after the last byte of the handshake. early is what was read beyond it; the first initial
// bytes of the incoming stream are IA.
func newConn(c net.Conn, m Method, in, out *rc4.Cipher, early []byte, initial int) *Conn {
	conn := &Conn{Conn: c, Method: m, in: in, sealed: initial, early: early}
	if m == RC4 {
		conn.out = out
	}
	conn.open(early)
	return conn
}

// open decrypts b, the next bytes of the incoming stream, as far as they are encrypted.
func (c *Conn) open(b []byte) {
	if c.Method == Plaintext {
		b = b[:min(len(b), c.sealed)]
		c.sealed -= len(b)
	}
	if c.in != nil {
		c.in.XORKeyStream(b, b)
	}
	if c.Method == Plaintext && c.sealed == 0 {
		c.in = nil
	}
}

// Read reads payload, decrypted in place.
func (c *Conn) Read(p []byte) (int, error) {
	c.reading.Lock()
	defer c.reading.Unlock()
	if len(c.early) > 0 {
		n := copy(p, c.early)
		if c.early = c.early[n:]; len(c.early) == 0 {
			c.early = nil
		}
		return n, nil
	}
	n, err := c.Conn.Read(p)
	c.open(p[:n])
	return n, err
}

// Write writes payload; p is only read. After an error the stream is in step with the n bytes written: it can be
// continued with the byte after them.
func (c *Conn) Write(p []byte) (int, error) {
	if c.out == nil {
		return c.Conn.Write(p)
	}
	c.writing.Lock()
	defer c.writing.Unlock()
	c.single[0] = p
	b := net.Buffers(c.single[:])
	n, err := c.writeSealed(&b)
	c.single[0] = nil
	return int(n), err
}

// WriteBuffers writes payload from several buffers at once. Like net.Buffers.WriteTo it consumes b as far as it was
// written; the bytes themselves are only read, so they may be shared. Plaintext goes to the connection beneath in one
// vectored write where it has such; RC4 in writes of up to 18 KiB. After an error the stream is in step with the
// n bytes written.
func (c *Conn) WriteBuffers(b *net.Buffers) (int64, error) {
	if c.out == nil {
		if v, ok := c.Conn.(interface {
			WriteBuffers(*net.Buffers) (int64, error)
		}); ok {
			return v.WriteBuffers(b)
		}
		return b.WriteTo(c.Conn)
	}
	c.writing.Lock()
	defer c.writing.Unlock()
	return c.writeSealed(b)
}

// writeSealed writes b encrypted, a scratch buffer full at a time.
func (c *Conn) writeSealed(b *net.Buffers) (written int64, err error) {
	for {
		before := *c.out
		chunk := c.seal(*b)
		if len(chunk) == 0 {
			consume(b, 0)
			return written, nil
		}
		n, err := c.Conn.Write(chunk)
		if n < len(chunk) {
			*c.out = before
			c.out.XORKeyStream(chunk[:n], chunk[:n])
			if err == nil {
				err = io.ErrShortWrite
			}
		}
		written += int64(n)
		consume(b, n)
		if err != nil {
			return written, err
		}
	}
}

// seal encrypts as much of bufs as fits into scratch.
func (c *Conn) seal(bufs net.Buffers) []byte {
	total := 0
	for _, p := range bufs {
		if total += len(p); total >= fullScratch {
			break
		}
	}
	if total > len(c.scratch) && len(c.scratch) < fullScratch {
		size := smallScratch
		if total > smallScratch {
			size = fullScratch
		}
		c.scratch = make([]byte, size)
	}
	n := 0
	for _, p := range bufs {
		k := min(len(p), len(c.scratch)-n)
		c.out.XORKeyStream(c.scratch[n:n+k], p[:k])
		if n += k; k < len(p) {
			break
		}
	}
	return c.scratch[:n]
}

// consume drops n bytes from the front of b, and empty buffers there.
func consume(b *net.Buffers, n int) {
	for len(*b) > 0 {
		if first := (*b)[0]; len(first) > n {
			(*b)[0] = first[n:]
			return
		}
		n -= len((*b)[0])
		(*b)[0] = nil
		*b = (*b)[1:]
	}
}
