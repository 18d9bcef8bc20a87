//go:build linux

package natlab

import (
	"encoding/binary"
	"fmt"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The size of a ring: the kernel asks for blocks of whole pages that hold whole frames. A frame holds an Ethernet frame of
// 1,514 bytes and what the kernel notes before it (packet(7), TPACKET_V2).
const (
	ringFrame = 2048
	ringBlock = 64 << 10
)

// ring is a packet socket that sees every frame on the interfaces of one namespace, by memory shared with the kernel: an
// ordinary user's socket would otherwise hold a hundred packets. One goroutine uses it.
type ring struct {
	fd     int
	wakeup int // an eventfd that ends a wait
	memory []byte
	at     int // the frame that comes next
}

// seen is a frame in a ring, valid until the next call of next.
type seen struct {
	at        time.Time
	data      []byte // Ethernet header first
	length    int    // of the frame, even if less of it is there
	index     int32  // of the interface
	direction uint8  // unix.PACKET_HOST, PACKET_OUTGOING …
	protocol  uint16 // unix.ETH_P_IP …
}

// newRing opens a ring in the namespace of the calling thread, for so many frames: a multiple of 32. What the namespace itself
// sends is among what it sees unless incoming only is wanted.
func newRing(frames int, incoming bool) (r *ring, err error) {
	r = &ring{fd: -1, wakeup: -1}
	defer func() {
		if err != nil {
			r.close()
			r, err = nil, fmt.Errorf("natlab: packet socket: %w", err)
		}
	}()
	// With protocol 0 it sees nothing until it is bound.
	if r.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0); err != nil {
		return r, err
	}
	if err = unix.SetsockoptInt(r.fd, unix.SOL_PACKET, unix.PACKET_VERSION, unix.TPACKET_V2); err != nil {
		return r, err
	}
	size := unix.TpacketReq{
		Block_size: ringBlock, Block_nr: uint32(frames * ringFrame / ringBlock), Frame_size: ringFrame, Frame_nr: uint32(frames),
	}
	if err = unix.SetsockoptTpacketReq(r.fd, unix.SOL_PACKET, unix.PACKET_RX_RING, &size); err != nil {
		return r, err
	}
	if r.memory, err = unix.Mmap(r.fd, 0, frames*ringFrame, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED); err != nil {
		return r, err
	}
	if incoming {
		if err = unix.SetsockoptInt(r.fd, unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1); err != nil {
			return r, err
		}
	}
	if r.wakeup, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		return r, err
	}
	return r, unix.Bind(r.fd, &unix.SockaddrLinklayer{Protocol: networkOrder(unix.ETH_P_ALL)})
}

// networkOrder is the number as the kernel wants it, or back.
func networkOrder(n uint16) uint16 {
	return binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, n))
}

// status is the word by which kernel and reader hand a frame to each other.
func (r *ring) status() *uint32 {
	return (*uint32)(unsafe.Pointer(&r.memory[r.at*ringFrame]))
}

// next returns the frame that came after the last one, if there is one by now. It has to be handed back by release.
func (r *ring) next() (s seen, ok bool) {
	if atomic.LoadUint32(r.status())&unix.TP_STATUS_USER == 0 {
		return s, false
	}
	frame := r.memory[r.at*ringFrame:][:ringFrame:ringFrame]
	header := (*unix.Tpacket2Hdr)(unsafe.Pointer(&frame[0]))
	// A sockaddr_ll follows.
	link := frame[unix.SizeofTpacket2Hdr:][:unix.SizeofSockaddrLinklayer]
	return seen{
		at:        time.Unix(int64(header.Sec), int64(header.Nsec)),
		data:      frame[header.Mac:][:header.Snaplen],
		length:    int(header.Len),
		protocol:  binary.BigEndian.Uint16(link[2:]),
		index:     int32(binary.NativeEndian.Uint32(link[4:])),
		direction: link[10],
	}, true
}

// release hands the frame that next returned back to the kernel.
func (r *ring) release() {
	atomic.StoreUint32(r.status(), unix.TP_STATUS_KERNEL)
	r.at = (r.at + 1) % (len(r.memory) / ringFrame)
}

// wait returns when there is a frame, after d, or when it was woken; it may return for nothing. Below 0 there is no limit.
// The precision is the kernel's (50 µs), where timers of this process have a millisecond.
func (r *ring) wait(d time.Duration) (woken bool, err error) {
	var limit *unix.Timespec
	if d >= 0 {
		t := unix.NsecToTimespec(int64(d))
		limit = &t
	}
	polled := []unix.PollFd{{Fd: int32(r.fd), Events: unix.POLLIN}, {Fd: int32(r.wakeup), Events: unix.POLLIN}}
	if _, err := unix.Ppoll(polled, limit, nil); err != nil && err != unix.EINTR {
		return false, err
	}
	return polled[1].Revents != 0, nil
}

// wake ends a wait, or the next one, for ever. Any goroutine may call it before the ring is closed.
func (r *ring) wake() {
	one := binary.NativeEndian.AppendUint64(nil, 1)
	unix.Write(r.wakeup, one)
}

// lost returns how many frames found the ring full since it was last asked.
func (r *ring) lost() int64 {
	stats, err := unix.GetsockoptTpacketStats(r.fd, unix.SOL_PACKET, unix.PACKET_STATISTICS)
	if err != nil {
		return 0
	}
	return int64(stats.Drops)
}

// close frees the memory and the descriptors.
func (r *ring) close() {
	if r.memory != nil {
		unix.Munmap(r.memory)
	}
	for _, fd := range []int{r.fd, r.wakeup} {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
}
