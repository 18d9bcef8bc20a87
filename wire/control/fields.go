package control

import (
	"encoding/binary"
	"errors"
	"fmt"
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
		return id, fmt.Errorf("an info-hash of %d bytes", len(s))
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
		return netip.AddrPort{}, fmt.Errorf("an address of %d bytes", len(s))
	}
}

// clip makes s fit for a field that people read: valid UTF-8, control characters as spaces, at most limit bytes. The
// other side may show it on a terminal.
func clip(s string, limit int) string {
	if checkText("", s, limit) == nil && utf8.ValidString(s) {
		return s
	}
	var b strings.Builder
	for _, r := range s { // an invalid byte is U+FFFD
		if unicode.IsControl(r) {
			r = ' '
		}
		if b.Len()+utf8.RuneLen(r) > limit {
			break
		}
		b.WriteRune(r)
	}
	return b.String()
}

// checkText says whether a text that was read keeps the rules that clip enforces on writing.
func checkText(field, s string, limit int) error {
	if len(s) > limit {
		return fmt.Errorf("%s of %d bytes, the limit is %d", field, len(s), limit)
	}
	if strings.ContainsFunc(s, unicode.IsControl) {
		return fmt.Errorf("%s has control characters", field)
	}
	return nil
}

func checkCount(field string, n int64) error {
	if n < 0 {
		return fmt.Errorf("%s is negative", field)
	}
	return nil
}

// checkPath says what is wrong with a file's path.
func checkPath(p string) error {
	switch {
	case len(p) > MaxPath:
		return errors.New("the path is too long")
	case !utf8.ValidString(p):
		return errors.New("the path is not UTF-8")
	case strings.ContainsRune(p, 0):
		return errors.New("the path has a zero byte")
	}
	for e := range strings.SplitSeq(p, "/") {
		switch {
		case e == "" || e == "." || e == "..":
			return errors.New("the path is absolute or has an empty, . or .. element")
		case len(e) > MaxPathElement:
			return errors.New("an element of the path is too long")
		}
	}
	// What only this system treats specially, such as C:x on Windows.
	if !filepath.IsLocal(filepath.FromSlash(p)) {
		return errors.New("the path leaves the folder on this system")
	}
	return nil
}
