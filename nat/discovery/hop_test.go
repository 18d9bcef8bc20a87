package discovery

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// exceededMessage is a control message with an error of the origin and ICMP type.
func exceededMessage(offender string, origin, icmpType byte) []byte {
	b := make([]byte, unix.CmsgSpace(32))
	h := (*unix.Cmsghdr)(unsafe.Pointer(&b[0]))
	h.Level, h.Type = unix.IPPROTO_IP, unix.IP_RECVERR
	h.SetLen(unix.CmsgLen(32))
	data := b[unix.CmsgLen(0):]
	binary.NativeEndian.PutUint32(data, uint32(unix.EHOSTUNREACH))
	data[4], data[5] = origin, icmpType
	binary.NativeEndian.PutUint16(data[16:], unix.AF_INET)
	ip := netip.MustParseAddr(offender).As4()
	copy(data[20:], ip[:])
	return b
}

func TestOnlyARouterThatExceededTheTTLIsAHop(t *testing.T) {
	if got := exceeded(exceededMessage("100.64.1.1", unix.SO_EE_ORIGIN_ICMP, 11)); got != netip.MustParseAddr("100.64.1.1") {
		t.Errorf("the second hop is %s", got)
	}
	for name, b := range map[string][]byte{
		"nothing":          nil,
		"port unreachable": exceededMessage("198.18.1.2", unix.SO_EE_ORIGIN_ICMP, 3),
		"of this host":     exceededMessage("198.18.1.2", unix.SO_EE_ORIGIN_LOCAL, 11),
		"truncated":        exceededMessage("198.18.1.2", unix.SO_EE_ORIGIN_ICMP, 11)[:30],
	} {
		if got := exceeded(b); got.IsValid() {
			t.Errorf("%s: %s", name, got)
		}
	}
}
