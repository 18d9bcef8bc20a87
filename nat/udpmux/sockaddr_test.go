package udpmux

import (
	"bytes"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The bytes after the family, which is in the machine's order, as is the scope at the end.
func TestAddressesAreWrittenAsTheKernelReadsThem(t *testing.T) {
	for _, c := range []struct {
		family family
		to     string
		want   string
		from   string
	}{
		{family{}, "192.0.2.1:6881", "\x1a\xe1\xc0\x00\x02\x01\x00\x00\x00\x00\x00\x00\x00\x00", "192.0.2.1:6881"},
		{family{}, "[::ffff:192.0.2.1]:1", "\x00\x01\xc0\x00\x02\x01\x00\x00\x00\x00\x00\x00\x00\x00", "192.0.2.1:1"},
		{family{six: true}, "192.0.2.1:6881",
			"\x1a\xe1\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff\xc0\x00\x02\x01", "192.0.2.1:6881"},
		{family{six: true}, "[2001:db8::7]:258",
			"\x01\x02\x00\x00\x00\x00\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x07", "[2001:db8::7]:258"},
	} {
		var sa sockaddr
		n := encode(&sa, netip.MustParseAddrPort(c.to), c.family, new(zones))
		b := (*[unix.SizeofSockaddrInet6]byte)(unsafe.Pointer(&sa))[:n]
		if got := b[2 : 2+len(c.want)]; !bytes.Equal(got, []byte(c.want)) {
			t.Errorf("%s: % x, not % x", c.to, got, c.want)
		}
		if from, ok := decode(&sa, new(zones)); !ok || from.String() != c.from {
			t.Errorf("%s is read as %s", c.to, from)
		}
	}
}

func TestUnknownInterfaceIsNamedByItsNumber(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var z zones
		sa := sockaddr{Family: unix.AF_INET6, Addr: [16]byte{0xfe, 0x80, 15: 1}, Scope_id: 99999}
		if from, ok := decode(&sa, &z); !ok || from.String() != "[fe80::1%99999]:0" {
			t.Errorf("got %s", from)
		}
		before := z.learned
		time.Sleep(zoneRetry - 1)
		if z.index("99999") != 99999 || z.index("nonesuch") != 0 || z.learned != before {
			t.Error("an unknown name is looked up again at once")
		}
		time.Sleep(time.Nanosecond)
		if z.index("nonesuch") != 0 || z.learned == before {
			t.Error("an unknown name is not looked up again")
		}
	})
}
