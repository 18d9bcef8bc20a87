//go:build linux

package natlab

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"time"

	"golang.org/x/sys/unix"
)

// The file format of pcap with nanoseconds (IETF draft-ietf-opsawg-pcap): a header of 24 bytes, and 16 before each packet.
const (
	pcapMagic = 0xa1b23c4d
	pcapRaw   = 101 // LINKTYPE_RAW: packets begin with their IP header
)

// recordFrames is how many frames may wait to be written: 32 MiB of memory.
const recordFrames = 16384

// flushEvery is how long packets may wait to be written.
const flushEvery = 200 * time.Millisecond

// Record writes the packets that cross the core to w from now on, in pcap's format with time stamps of the kernel: each once,
// as it reaches the core, before it is delayed or lost, and what the core itself answers by ICMP. From now on the lab's links
// have no offloads, see CoreConfig, so that the record is of packets as a wire carries them.
//
// What is recorded is written at the latest 400 ms later, from another goroutine, and all of it when stop returns. Stop, to be
// called once and before the lab is closed, returns the first error of w, and one if packets came faster than they could be
// written.
func (l *Lab) Record(w io.Writer) (stop func() error, err error) {
	if l.core == nil {
		return nil, fmt.Errorf("natlab: record: lab %s is closed", l.name)
	}
	r := &recorder{w: bufio.NewWriterSize(w, 256<<10), own: &l.own, done: make(chan struct{})}
	err = l.core.do(func() (err error) {
		r.ring, err = newRing(recordFrames, false)
		return err
	})
	if err != nil {
		return nil, err
	}
	l.wire = true
	for _, m := range l.links {
		if err := m.plain(); err != nil {
			r.ring.close()
			return nil, err
		}
	}
	go r.run()
	return r.stop, nil
}

// recorder writes what a ring sees.
type recorder struct {
	ring   *ring
	w      *bufio.Writer
	own    *addresses
	record []byte
	done   chan struct{} // closed when all is written, and err is what went wrong
	err    error
}

// stop ends the record.
func (r *recorder) stop() error {
	r.ring.wake()
	<-r.done
	lost := r.ring.lost()
	r.ring.close()
	if r.err != nil {
		return fmt.Errorf("natlab: record: %w", r.err)
	}
	if lost > 0 {
		return fmt.Errorf("natlab: record: %d packets came too fast to be written", lost)
	}
	return nil
}

func (r *recorder) run() {
	defer close(r.done)
	r.w.Write(pcapHeader())
	var flushed time.Time
	for {
		woken, err := r.ring.wait(flushEvery)
		for {
			s, ok := r.ring.next()
			if !ok {
				break
			}
			r.take(s)
			r.ring.release()
		}
		// A failed write fails all others.
		if now := time.Now(); woken || err != nil || now.Sub(flushed) >= flushEvery {
			flushed = now
			if failed := r.w.Flush(); err == nil {
				err = failed
			}
		}
		if woken || err != nil {
			r.err = err
			return
		}
	}
}

// take writes a packet if it crosses the core, or is the core's answer to one.
func (r *recorder) take(s seen) {
	if s.protocol != unix.ETH_P_IP && s.protocol != unix.ETH_P_IPV6 || len(s.data) < headerEthernet {
		return
	}
	ip := s.data[headerEthernet:]
	p, ok := parsePacket(ip)
	if !ok || !p.crosses(r.own) {
		return
	}
	if sent := s.direction == unix.PACKET_OUTGOING; sent && !(r.own.has(p.src) && p.complains()) || !sent && s.direction != unix.PACKET_HOST {
		return
	}
	r.record = appendRecord(r.record[:0], s.at, len(p.bytes), p.bytes)
	r.w.Write(r.record)
}

// pcapHeader begins a file.
func pcapHeader() []byte {
	b := binary.LittleEndian.AppendUint32(nil, pcapMagic)
	b = binary.LittleEndian.AppendUint16(b, 2) // version 2.4
	b = binary.LittleEndian.AppendUint16(b, 4)
	b = binary.LittleEndian.AppendUint64(b, 0) // no time zone
	b = binary.LittleEndian.AppendUint32(b, ringFrame)
	return binary.LittleEndian.AppendUint32(b, pcapRaw)
}

// appendRecord appends a packet of the given length, or as much of it as there is.
func appendRecord(b []byte, at time.Time, length int, p []byte) []byte {
	b = binary.LittleEndian.AppendUint32(b, uint32(at.Unix()))
	b = binary.LittleEndian.AppendUint32(b, uint32(at.Nanosecond()))
	b = binary.LittleEndian.AppendUint32(b, uint32(len(p)))
	b = binary.LittleEndian.AppendUint32(b, uint32(length))
	return append(b, p...)
}
