package control

import (
	"encoding/binary"
	"net/netip"
	"path/filepath"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/fxamacker/cbor/v2"
)

// Fields on the wire. An info-hash is a byte string of 20 bytes. An address is a byte string of 4 or 16 bytes of IP
// address and 2 bytes of port, both in network order; an IPv4 address is never written as IPv6.

func wireID(id [20]byte) cbor.ByteString { return cbor.ByteString(id[:]) }

func parseID(s cbor.ByteString) (id [20]byte, err error) {
	if len(s) != len(id) {
		return id, malformed("an info-hash of %d bytes", len(s))
	}
	copy(id[:], s)
	return id, nil
}

func wireAddr(a netip.AddrPort) cbor.ByteString {
	if !a.IsValid() {
		return ""
	}
	b := a.Addr().Unmap().AsSlice()
	return cbor.ByteString(binary.BigEndian.AppendUint16(b, a.Port()))
}

// parseAddr returns the zero AddrPort for the empty string.
func parseAddr(s cbor.ByteString) (netip.AddrPort, error) {
	switch len(s) {
	case 0:
		return netip.AddrPort{}, nil
	case 4 + 2, 16 + 2:
		b := s.Bytes()
		ip, _ := netip.AddrFromSlice(b[:len(b)-2])
		return netip.AddrPortFrom(ip.Unmap(), binary.BigEndian.Uint16(b[len(b)-2:])), nil
	default:
		return netip.AddrPort{}, malformed("an address of %d bytes", len(s))
	}
}

// clip makes s fit for a field that people read: valid UTF-8, control characters as spaces, at most limit bytes.
func clip(s string, limit int) string {
	if len(s) > limit {
		// Enough for the longest prefix that can survive, so that a huge text costs no more than a small one.
		s = s[:min(len(s), limit+utf8.UTFMax)]
	}
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, s) // invalid bytes become U+FFFD
	if len(s) <= limit {
		return s
	}
	n := limit
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// checkText says whether a text that was read keeps the rules that clip enforces on writing.
func checkText(field, s string, limit int) error {
	if len(s) > limit {
		return malformed("%s of %d bytes, the limit is %d", field, len(s), limit)
	}
	if strings.ContainsFunc(s, unicode.IsControl) {
		return malformed("%s has control characters", field)
	}
	return nil
}

func checkCount(field string, n int64) error {
	if n < 0 {
		return malformed("%s is negative", field)
	}
	return nil
}

// checkPath says in one line what is wrong with a file's path, or "".
func checkPath(p string) string {
	switch {
	case len(p) > MaxPath:
		return "the path is too long"
	case !utf8.ValidString(p):
		return "the path is not UTF-8"
	case strings.ContainsRune(p, 0):
		return "the path has a zero byte"
	}
	for e := range strings.SplitSeq(p, "/") {
		switch {
		case e == "" || e == "." || e == "..":
			return "the path is absolute or has an empty, . or .. element"
		case len(e) > MaxPathElement:
			return "an element of the path is too long"
		}
	}
	// Names that only this system treats specially, such as NUL or C:x on Windows.
	if !filepath.IsLocal(filepath.FromSlash(p)) {
		return "the path leaves the folder on this system"
	}
	return ""
}
