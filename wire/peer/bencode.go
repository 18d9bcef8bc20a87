package peer

import (
	"errors"
	"fmt"
	"strconv"
)

// ErrBencode is wrapped by the errors of [ParseExtensions], [Extensions.Update], [ParseMetadataMessage] and [ParsePex]: what
// the peer sent is no bencoded dictionary (BEP 3), or nested deeper or longer than any honest one.
var ErrBencode = errors.New("malformed bencoding")

// maxDepth is the deepest nesting of lists and dictionaries read; honest extension messages nest two deep.
const maxDepth = 16

// decoder reads bencoded values from the front of b without allocating. It is lenient where that is harmless: the order
// of keys and leading zeros are not checked, since some clients get them wrong.
type decoder struct{ b []byte }

func (d *decoder) fail(what string) error {
	return fmt.Errorf("%w: %s, %d bytes before the end", ErrBencode, what, len(d.b))
}

// is reports whether the next value starts with c.
func (d *decoder) is(c byte) bool { return len(d.b) > 0 && d.b[0] == c }

// isString reports whether the next value is a string.
func (d *decoder) isString() bool { return len(d.b) > 0 && d.b[0] >= '0' && d.b[0] <= '9' }

// open enters a dictionary.
func (d *decoder) open() error {
	if !d.is('d') {
		return d.fail("a dictionary was due")
	}
	d.b = d.b[1:]
	return nil
}

// key returns the next key of the dictionary that was entered, or ok false at its end, which it passes.
func (d *decoder) key() (key []byte, ok bool, err error) {
	if d.is('e') {
		d.b = d.b[1:]
		return nil, false, nil
	}
	key, err = d.str()
	return key, err == nil, err
}

// str reads a string.
func (d *decoder) str() ([]byte, error) {
	n, i := 0, 0
	for ; i < len(d.b) && d.b[i] >= '0' && d.b[i] <= '9'; i++ {
		n = n*10 + int(d.b[i]-'0')
		if n > len(d.b) {
			return nil, d.fail("a string is longer than the message")
		}
	}
	if i == 0 || i == len(d.b) || d.b[i] != ':' {
		return nil, d.fail("a string was due")
	}
	if i++; n > len(d.b)-i {
		return nil, d.fail("a string is longer than the message")
	}
	s := d.b[i : i+n]
	d.b = d.b[i+n:]
	return s, nil
}

// integer reads an integer that fits 64 bits.
func (d *decoder) integer() (int64, error) {
	const longest = len("-9223372036854775808")
	if !d.is('i') {
		return 0, d.fail("an integer was due")
	}
	for i := 1; i < len(d.b) && i <= longest+1; i++ {
		if d.b[i] != 'e' {
			continue
		}
		n, err := strconv.ParseInt(string(d.b[1:i]), 10, 64)
		if err != nil || d.b[1] == '+' {
			break
		}
		d.b = d.b[i+1:]
		return n, nil
	}
	return 0, d.fail("an integer was due")
}

// skip passes a value of any kind.
func (d *decoder) skip() error {
	depth := 0
	for {
		switch {
		case d.is('d') || d.is('l'):
			if depth++; depth > maxDepth {
				return d.fail("nested too deep")
			}
			d.b = d.b[1:]
		case d.is('e') && depth > 0:
			depth--
			d.b = d.b[1:]
		case d.is('i'):
			if _, err := d.integer(); err != nil {
				return err
			}
		default:
			if _, err := d.str(); err != nil {
				return err
			}
		}
		if depth == 0 {
			return nil
		}
	}
}

// intOr reads an integer within [least, most]; any other value is passed and gives other.
func (d *decoder) intOr(least, most, other int64) (int64, error) {
	if !d.is('i') {
		return other, d.skip()
	}
	n, err := d.integer()
	if err != nil || n < least || n > most {
		return other, err
	}
	return n, nil
}

// strOr reads a string; any other value is passed and gives nil.
func (d *decoder) strOr() ([]byte, error) {
	if !d.isString() {
		return nil, d.skip()
	}
	return d.str()
}

func appendString(b []byte, s string) []byte {
	b = strconv.AppendInt(b, int64(len(s)), 10)
	b = append(b, ':')
	return append(b, s...)
}

func appendInt(b []byte, n int64) []byte {
	b = append(b, 'i')
	b = strconv.AppendInt(b, n, 10)
	return append(b, 'e')
}
