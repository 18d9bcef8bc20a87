package udpmux

import (
	"errors"
	"net"
	"net/netip"
	"slices"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// call is one sendmsg.
type call struct {
	bytes   int
	segment int // 0: one datagram
}

// scripted answers every sendmsg by f and notes what was asked.
func scripted(calls *[]call, f func(call) syscall.Errno) func(kernel) kernel {
	return func(k kernel) kernel {
		k.sendmsg = func(_ uintptr, m *unix.Msghdr) syscall.Errno {
			c := call{bytes: int(m.Iov.Len)}
			if m.Controllen > 0 {
				c.segment = int((*struct {
					unix.Cmsghdr
					size uint16
				})(ptr(m.Control)).size)
			}
			*calls = append(*calls, c)
			return f(c)
		}
		return k
	}
}

var loopback = netip.MustParseAddrPort("127.0.0.1:9")

func TestRunsAreCutToWhatTheKernelTakes(t *testing.T) {
	for _, c := range []struct {
		bytes, size int
		want        []call
	}{
		{100, 0, []call{{100, 0}}},
		{100, 100, []call{{100, 0}}},
		{100, 200, []call{{100, 0}}},
		{101, 100, []call{{101, 100}}},
		{64 * 1000, 1000, []call{{64000, 1000}}},
		{65 * 1000, 1000, []call{{64000, 1000}, {1000, 0}}},
		{130*20 + 1, 20, []call{{1280, 20}, {1280, 20}, {41, 20}}},            // 64 segments a call
		{100_000, 1400, []call{{46 * 1400, 1400}, {100_000 - 46*1400, 1400}}}, // 65,507 bytes a call
		{90_000, 40_000, []call{{40_000, 0}, {40_000, 0}, {10_000, 0}}},       // two are too long together
	} {
		var calls []call
		s := open(t, "udp", ":0", Config{}, scripted(&calls, func(call) syscall.Errno { return 0 }))
		if err := s.Send(loopback, make([]byte, c.bytes), c.size); err != nil || !slices.Equal(calls, c.want) {
			t.Errorf("%d bytes in datagrams of %d: %v (%v), not %v", c.bytes, c.size, calls, err, c.want)
		}
	}
}

func TestRefusedSegmentsAreSentOneByOneFromThenOn(t *testing.T) {
	for _, refusal := range []syscall.Errno{unix.EINVAL, unix.ENOTSUP, unix.ENOPROTOOPT, unix.EIO} {
		var calls []call
		s := open(t, "udp", ":0", Config{}, scripted(&calls, func(c call) syscall.Errno {
			if c.segment > 0 {
				return refusal
			}
			return 0
		}))
		if err := s.Send(loopback, make([]byte, 250), 100); err != nil {
			t.Fatal(err)
		}
		if want := []call{{250, 100}, {100, 0}, {100, 0}, {50, 0}}; !slices.Equal(calls, want) {
			t.Errorf("%v: %v, not %v", refusal, calls, want)
		}
		calls = nil
		if s.Stats().Segments {
			t.Errorf("%v is forgotten at once", refusal)
		}
		for range afterFailed {
			s.Send(loopback, make([]byte, 200), 100)
		}
		if slices.ContainsFunc(calls, func(c call) bool { return c.segment > 0 }) {
			t.Errorf("%v is forgotten early", refusal)
		}
		calls = nil
		s.Send(loopback, make([]byte, 200), 100)
		// A route without checksum offload, or through IPsec, is not the only one.
		if again := calls[0].segment > 0; again != (refusal == unix.EIO) {
			t.Errorf("%v: after %d runs the kernel is asked again: %t", refusal, afterFailed, again)
		}
	}
}

// Older kernels say EINVAL of segments that are longer than the interface takes.
func TestSegmentsTooLongAreNotTakenForAKernelWithoutSegments(t *testing.T) {
	for _, of := range []syscall.Errno{unix.EINVAL, unix.EMSGSIZE} {
		var calls []call
		s := open(t, "udp", ":0", Config{}, scripted(&calls, func(c call) syscall.Errno {
			switch {
			case c.segment > 1000:
				return of
			case c.bytes > 1000 && c.segment == 0:
				return unix.EMSGSIZE
			}
			return 0
		}))
		if err := s.Send(loopback, make([]byte, 5000), 1400); !errors.Is(err, syscall.EMSGSIZE) {
			t.Errorf("%v: %v, not EMSGSIZE", of, err)
		}
		if !s.Stats().Segments || s.Stats().Sent != 0 {
			t.Errorf("%v of a long run: %+v", of, s.Stats())
		}
	}
}

func TestFullBufferLosesAsANetworkDoes(t *testing.T) {
	for _, full := range []syscall.Errno{unix.EAGAIN, unix.ENOBUFS} {
		var calls []call
		s := open(t, "udp", ":0", Config{}, scripted(&calls, func(call) syscall.Errno {
			if len(calls) == 1 {
				return unix.EINTR
			}
			if len(calls) > 2 {
				return full
			}
			return 0
		}))
		if err := s.Send(loopback, make([]byte, 200*20), 20); err != nil || s.Stats().Sent != 64 || s.Stats().SendFull != 136 {
			t.Errorf("%v: %v, %+v", full, err, s.Stats())
		}
	}
}

func TestSendTellsErrorsItCannotHelp(t *testing.T) {
	var calls []call
	s := open(t, "udp", ":0", Config{}, scripted(&calls, func(call) syscall.Errno { return unix.ENETUNREACH }))
	if err := s.Send(loopback, make([]byte, 250), 100); !errors.Is(err, syscall.ENETUNREACH) || len(calls) != 1 {
		t.Errorf("after %d calls: %v", len(calls), err)
	}
	if err := s.Send(loopback, nil, 100); err != nil || len(calls) != 1 {
		t.Errorf("nothing to send: %v", err)
	}
	s.Close()
	if err := s.Send(loopback, make([]byte, 10), 10); !errors.Is(err, net.ErrClosed) {
		t.Errorf("closed: %v", err)
	}
}
