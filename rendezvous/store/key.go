package store

import (
	"encoding/hex"
	"fmt"
	"regexp"
	"strings"
)

// MaxKey is the longest key of a record or name of a blob, in bytes.
const MaxKey = 255

// bucketName is narrower than what NATS takes, so that names differ on every file system.
var bucketName = regexp.MustCompile(`^[a-z][a-z0-9-]{0,31}$`)

// encodeKey makes a key fit for one token of a NATS subject: digits, letters and "-" stand for themselves, every other byte
// is "=" and two upper-case hex digits. No key can so become a wildcard, a second token or one of NATS's own names.
func encodeKey(key string) (string, error) {
	if key == "" || len(key) > MaxKey {
		return "", fmt.Errorf("a key of %d bytes is %w: 1 to %d", len(key), ErrInvalid, MaxKey)
	}
	var b strings.Builder
	for i := range len(key) {
		if c := key[i]; plain(c) {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "=%02X", c)
		}
	}
	return b.String(), nil
}

// decodeKey is the inverse of encodeKey and refuses everything that encodeKey does not write.
func decodeKey(s string) (string, error) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case plain(c):
			b.WriteByte(c)
		case c == '=' && i+2 < len(s):
			v, err := hex.DecodeString(s[i+1 : i+3])
			if err != nil || plain(v[0]) || s[i+1:i+3] != strings.ToUpper(s[i+1:i+3]) {
				return "", fmt.Errorf("%.64q was not written by us: %w", s, ErrInvalid)
			}
			b.WriteByte(v[0])
			i += 2
		default:
			return "", fmt.Errorf("%.64q was not written by us: %w", s, ErrInvalid)
		}
	}
	if b.Len() == 0 || b.Len() > MaxKey {
		return "", fmt.Errorf("%.64q was not written by us: %w", s, ErrInvalid)
	}
	return b.String(), nil
}

func plain(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-'
}
