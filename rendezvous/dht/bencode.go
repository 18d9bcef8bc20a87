package dht

import (
	"bytes"
	"errors"
	"strconv"
)

// maxDepth bounds how deep lists and dictionaries that nobody reads may be nested.
const maxDepth = 16

var errMalformed = errors.New("is malformed")

// scanner reads bencode (BEP 3) from the front of rest. Its methods consume what they read, and return errMalformed or
// false without a promise about rest if something else is there. Strings are parts of rest.
type scanner struct {
	rest []byte
}

// next consumes a byte if it is the next one.
func (s *scanner) next(c byte) bool {
	if len(s.rest) == 0 || s.rest[0] != c {
		return false
	}
	s.rest = s.rest[1:]
	return true
}

// str reads a string. Lengths with leading zeros are refused.
func (s *scanner) str() ([]byte, error) {
	digits, _, found := bytes.Cut(s.rest[:min(len(s.rest), 6)], []byte{':'})
	n, err := strconv.ParseUint(string(digits), 10, 16)
	if !found || err != nil || len(digits) > 1 && digits[0] == '0' || int(n) > len(s.rest)-len(digits)-1 {
		return nil, errMalformed
	}
	from := len(digits) + 1
	str := s.rest[from : from+int(n)]
	s.rest = s.rest[from+int(n):]
	return str, nil
}

// integer reads a number that fits 64 bits.
func (s *scanner) integer() (int64, error) {
	digits, _, found := bytes.Cut(s.rest[:min(len(s.rest), 24)], []byte{'e'})
	if !found || len(digits) < 2 || digits[0] != 'i' || digits[1] == '+' {
		return 0, errMalformed
	}
	n, err := strconv.ParseInt(string(digits[1:]), 10, 64)
	if err != nil {
		return 0, errMalformed
	}
	s.rest = s.rest[len(digits)+1:]
	return n, nil
}

// skip reads one value of any kind.
func (s *scanner) skip() error {
	for depth := 0; ; {
		var err error
		switch {
		case len(s.rest) == 0 || depth > maxDepth:
			return errMalformed
		case s.next('l'), s.next('d'):
			depth++
			continue
		case s.rest[0] == 'e' && depth > 0:
			s.rest = s.rest[1:]
			depth--
		case s.rest[0] == 'i':
			_, err = s.integer()
		default:
			_, err = s.str()
		}
		if err != nil || depth == 0 {
			return err
		}
	}
}

// dict reads a dictionary. f reads the value of each key; it may leave those that it does not know to skip, by returning
// false without having consumed anything.
func (s *scanner) dict(f func(key string) (read bool, err error)) error {
	if !s.next('d') {
		return errMalformed
	}
	for !s.next('e') {
		key, err := s.str()
		if err != nil {
			return err
		}
		read, err := f(string(key))
		if err == nil && !read {
			err = s.skip()
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// list reads a list of strings; values of other kinds in it are skipped.
func (s *scanner) list(f func(str []byte)) error {
	if !s.next('l') {
		return errMalformed
	}
	for !s.next('e') {
		if len(s.rest) == 0 || s.rest[0] < '0' || s.rest[0] > '9' {
			if err := s.skip(); err != nil {
				return err
			}
			continue
		}
		str, err := s.str()
		if err != nil {
			return err
		}
		f(str)
	}
	return nil
}

// appendStr appends a string as bencode.
func appendStr[T string | []byte](b []byte, s T) []byte {
	b = append(strconv.AppendInt(b, int64(len(s)), 10), ':')
	return append(b, s...)
}

// appendInt appends a number as bencode.
func appendInt(b []byte, n int64) []byte {
	return append(strconv.AppendInt(append(b, 'i'), n, 10), 'e')
}
