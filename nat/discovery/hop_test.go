package discovery

import (
	"bytes"
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

// climbs plays what is heard, word by word; the empty one is silence.
func climbs(words ...word) climb {
	c := climb{ttl: firstTTL}
	for _, w := range words {
		if w == (word{}) {
			c.unheard()
		} else {
			c.hear(w)
		}
	}
	return c
}

func TestTheClimbEndsAtTheFirstPublicRouter(t *testing.T) {
	says := func(ttl int, who string) word { return word{ttl, netip.MustParseAddr(who)} }
	for _, c := range []struct {
		what   string
		words  []word
		over   bool
		public int
		second string
	}{
		{"a home", []word{says(2, "198.51.100.1")}, true, 2, "198.51.100.1"},
		{"a carrier", []word{says(2, "100.64.0.1"), says(3, "198.51.100.1")}, true, 3, "100.64.0.1"},
		{"networks in networks", []word{says(2, "192.168.0.1"), says(3, "10.0.0.1"), says(4, "172.16.0.1"), says(5, "100.64.0.1"), says(6, "198.51.100.1")}, true, 6, "192.168.0.1"},
		{"only so far", []word{says(2, "10.0.0.2"), says(3, "10.0.0.3"), says(4, "10.0.0.4"), says(5, "10.0.0.5"), says(6, "10.0.0.6"), says(7, "10.0.0.7"), says(8, "10.0.0.8")}, true, 0, "10.0.0.2"},
		{"one is lost", []word{{}, says(2, "198.51.100.1")}, true, 2, "198.51.100.1"},
		{"a silent router", []word{{}, {}, says(3, "198.51.100.1")}, true, 3, ""},
		{"one that quotes little", []word{{}, {}, says(0, "198.51.100.1")}, true, 3, ""},
		{"late", []word{{}, {}, says(2, "198.51.100.1")}, true, 2, "198.51.100.1"},
		{"late and private", []word{{}, {}, says(2, "10.0.0.1")}, false, 0, "10.0.0.1"},
		{"twice", []word{says(2, "10.0.0.1"), says(2, "10.0.0.1")}, false, 0, "10.0.0.1"},
		{"of what was not sent", []word{says(7, "198.51.100.1")}, false, 0, ""},
		{"nobody speaks", []word{{}, {}, {}, {}, {}, {}}, true, 0, ""},
	} {
		got := climbs(c.words...)
		if second := got.seen.who; got.over() != c.over || got.seen.public != c.public || second.IsValid() != (c.second != "") || c.second != "" && second.String() != c.second {
			t.Errorf("%s: %+v", c.what, got)
		}
	}
	c := climbs()
	c.hear(word{})
	if !c.over() || c.seen != (hopSeen{}) {
		t.Errorf("when the server is reached: %+v", c)
	}
}

func TestWhatIsQuotedTellsWhichDatagramItWas(t *testing.T) {
	id := [12]byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}
	probe := append(make([]byte, 8), id[:]...)
	probe[19] = 3
	for n := range probe {
		if ttl, ok := quoted(probe[:n], id); ttl != 0 || !ok {
			t.Errorf("%d bytes: %d, %v", n, ttl, ok)
		}
	}
	if ttl, ok := quoted(append(probe, 0), id); ttl != 3 || !ok {
		t.Errorf("all of it: %d, %v", ttl, ok)
	}
	for _, c := range []struct {
		at int
		b  byte
	}{{8, 0xff}, {18, 0xff}, {19, firstTTL - 1}, {19, lastTTL + 1}} {
		other := bytes.Clone(probe)
		other[c.at] = c.b
		if _, ok := quoted(other, id); ok {
			t.Errorf("%x is ours", other)
		}
	}
}
