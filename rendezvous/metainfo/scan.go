package metainfo

import (
	"bytes"
	"errors"
	"fmt"
	"iter"
)

const (
	maxDepth    = 100     // dictionaries and lists inside each other
	maxValues   = 8 << 20 // values in one input, keys included: 200,000 files of a hybrid torrent need half
	maxUnsorted = 1000    // keys of a dictionary that is not in order
	maxDigits   = 19      // digits of an integer: those of the largest int64
)

var errTruncated = errors.New("it ends in the middle of a value")

// scan checks that b is exactly one well-formed bencoded value: no byte after it, integers and lengths in their shortest
// form, no key twice in a dictionary, and nothing beyond the limits above. Keys need not be in order: the info-hash is
// taken over the bytes as they are, and torrents whose publisher's tracker appended a key are common.
func scan(b []byte) error {
	s := scanner{b: b}
	end, err := s.value(0, 0)
	if err != nil {
		return fmt.Errorf("it is not valid bencoding: %w", err)
	}
	if end != len(b) {
		return fmt.Errorf("it is not valid bencoding: %d bytes follow its end", len(b)-end)
	}
	return nil
}

type scanner struct {
	b      []byte
	values int      // seen so far
	keys   [][]byte // the first maxUnsorted keys of each dictionary that is open, a stack
}

// value checks the value at offset i, inside depth others, and returns the offset behind it.
func (s *scanner) value(i, depth int) (int, error) {
	if s.values++; s.values > maxValues {
		return 0, fmt.Errorf("it has more than %d values", maxValues)
	}
	if i >= len(s.b) {
		return 0, errTruncated
	}
	if depth == maxDepth {
		return 0, fmt.Errorf("it is nested more than %d deep", maxDepth)
	}
	switch c := s.b[i]; {
	case c == 'i':
		return scanInt(s.b, i)
	case c == 'l':
		return s.list(i+1, depth+1)
	case c == 'd':
		return s.dict(i+1, depth+1)
	case c >= '0' && c <= '9':
		_, end, err := scanString(s.b, i)
		return end, err
	}
	return 0, fmt.Errorf("unexpected byte %q at %d", s.b[i], i)
}

func (s *scanner) list(i, depth int) (int, error) {
	var err error
	for i < len(s.b) && s.b[i] != 'e' {
		if i, err = s.value(i, depth); err != nil {
			return 0, err
		}
	}
	if i >= len(s.b) {
		return 0, errTruncated
	}
	return i + 1, nil
}

func (s *scanner) dict(i, depth int) (int, error) {
	var last []byte
	var seen map[string]bool // every key so far, once two were out of order
	base := len(s.keys)
	for i < len(s.b) && s.b[i] != 'e' {
		if s.values++; s.values > maxValues {
			return 0, fmt.Errorf("it has more than %d values", maxValues)
		}
		key, end, err := scanString(s.b, i)
		if err != nil {
			return 0, err
		}
		earlier := s.keys[base:]
		if seen == nil && len(earlier) > 0 && bytes.Compare(key, last) <= 0 {
			seen = make(map[string]bool, len(earlier))
			for _, k := range earlier {
				seen[string(k)] = true
			}
		}
		if seen != nil {
			if seen[string(key)] {
				return 0, fmt.Errorf("the key %.40q appears twice in one dictionary", key)
			}
			if len(earlier) == maxUnsorted {
				return 0, fmt.Errorf("a dictionary of more than %d keys is not in order", maxUnsorted)
			}
			seen[string(key)] = true
		}
		if len(earlier) < maxUnsorted {
			s.keys = append(s.keys, key)
		}
		last = key
		if i, err = s.value(end, depth); err != nil {
			return 0, err
		}
	}
	if i >= len(s.b) {
		return 0, errTruncated
	}
	s.keys = s.keys[:base]
	return i + 1, nil
}

// scanInt checks the integer at offset i and returns the offset behind it.
func scanInt(b []byte, i int) (int, error) {
	start := i
	i++
	if i < len(b) && b[i] == '-' {
		i++
	}
	digits := i
	for i < len(b) && b[i] >= '0' && b[i] <= '9' && i-digits <= maxDigits {
		i++
	}
	switch n := i - digits; {
	case i == len(b):
		return 0, errTruncated
	case b[i] != 'e' || n == 0 || n > maxDigits, b[digits] == '0' && i-start > 2:
		return 0, fmt.Errorf("malformed integer at %d", start)
	}
	return i + 1, nil
}

// scanString returns the string at offset i and the offset behind it.
func scanString(b []byte, i int) ([]byte, int, error) {
	start, n := i, 0
	for i < len(b) && b[i] >= '0' && b[i] <= '9' {
		if n = n*10 + int(b[i]-'0'); n > len(b) {
			return nil, 0, fmt.Errorf("the string at %d is longer than what is left", start)
		}
		i++
	}
	switch {
	case i == len(b):
		return nil, 0, errTruncated
	case i == start:
		return nil, 0, fmt.Errorf("unexpected byte %q at %d where a string must be", b[i], i)
	case b[i] != ':' || b[start] == '0' && i-start > 1:
		return nil, 0, fmt.Errorf("malformed string length at %d", start)
	}
	if i++; n > len(b)-i {
		return nil, 0, fmt.Errorf("the string at %d is longer than what is left", start)
	}
	return b[i : i+n], i + n, nil
}

// skip returns the offset behind the value at offset i of scanned bytes.
func skip(b []byte, i int) int {
	for depth := 0; ; {
		switch b[i] {
		case 'd', 'l':
			depth++
			i++
		case 'e':
			depth--
			i++
		case 'i':
			i += bytes.IndexByte(b[i:], 'e') + 1
		default:
			_, i, _ = scanString(b, i)
		}
		if depth == 0 {
			return i
		}
	}
}

// entries yields the keys of a scanned dictionary with the bytes of their values; nothing for any other value.
func entries(dict []byte) iter.Seq2[string, []byte] {
	return func(yield func(string, []byte) bool) {
		if !is(dict, 'd') {
			return
		}
		for i := 1; dict[i] != 'e'; {
			key, start, _ := scanString(dict, i)
			i = skip(dict, start)
			if !yield(string(key), dict[start:i]) {
				return
			}
		}
	}
}

// items yields the bytes of each value of a scanned list; nothing for any other value.
func items(list []byte) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		if !is(list, 'l') {
			return
		}
		for i := 1; list[i] != 'e'; {
			start := i
			i = skip(list, start)
			if !yield(list[start:i]) {
				return
			}
		}
	}
}

// is tells whether a scanned value is a dictionary ('d'), a list ('l'), an integer ('i') or a string ('s').
func is(value []byte, kind byte) bool {
	if len(value) == 0 {
		return false
	}
	c := value[0]
	return c == kind || kind == 's' && c >= '0' && c <= '9'
}

// text returns the contents of a scanned string; nil for any other value.
func text(value []byte) []byte {
	if !is(value, 's') {
		return nil
	}
	s, _, _ := scanString(value, 0)
	return s
}
