package tracker

import (
	"bytes"
	"errors"
	"strconv"
)

// maxDepth is how deep an answer may be nested; an ordinary one has three levels.
const maxDepth = 16

var (
	errTruncated = errors.New("it ends in the middle of a value")
	errSyntax    = errors.New("it is not bencoded")
	errDepth     = errors.New("it is nested too deep")
)

// decoder walks over bencoded bytes. It never copies or allocates.
type decoder struct {
	b []byte
	i int
}

// peek returns the first byte of the next value, or 'e' at the end of a list or dictionary.
func (d *decoder) peek() (byte, error) {
	if d.i >= len(d.b) {
		return 0, errTruncated
	}
	return d.b[d.i], nil
}

// more tells whether another value comes before the end of the list or dictionary, and passes over that end.
func (d *decoder) more() (bool, error) {
	c, err := d.peek()
	if c == 'e' {
		d.i++
		return false, err
	}
	return true, err
}

// open passes over the start of a list ('l') or dictionary ('d').
func (d *decoder) open(kind byte) error {
	c, err := d.peek()
	if err == nil && c != kind {
		err = errSyntax
	}
	d.i++
	return err
}

// isText tells whether a value that starts with the byte kind is a string.
func isText(kind byte) bool { return kind >= '0' && kind <= '9' }

// fields reads a dictionary: value reads or skips each value, which starts with the byte kind.
func (d *decoder) fields(value func(key string, kind byte) error) error {
	if err := d.open('d'); err != nil {
		return err
	}
	for {
		if more, err := d.more(); !more || err != nil {
			return err
		}
		key, err := d.text()
		if err != nil {
			return err
		}
		kind, err := d.peek()
		if err != nil {
			return err
		}
		if err := value(string(key), kind); err != nil {
			return err
		}
	}
}

func (d *decoder) text() ([]byte, error) {
	start := d.i
	n := 0
	for ; d.i < len(d.b) && isText(d.b[d.i]); d.i++ {
		if n = n*10 + int(d.b[d.i]-'0'); n > len(d.b) {
			return nil, errTruncated
		}
	}
	if d.i >= len(d.b) {
		return nil, errTruncated
	}
	if d.b[d.i] != ':' || d.i == start {
		return nil, errSyntax
	}
	d.i++
	if n > len(d.b)-d.i {
		return nil, errTruncated
	}
	d.i += n
	return d.b[d.i-n : d.i], nil
}

func (d *decoder) integer() (int64, error) {
	if err := d.open('i'); err != nil {
		return 0, err
	}
	n := bytes.IndexByte(d.b[d.i:min(len(d.b), d.i+21)], 'e')
	if n < 0 {
		if len(d.b)-d.i < 21 {
			return 0, errTruncated
		}
		return 0, errSyntax
	}
	digits := d.b[d.i : d.i+n]
	d.i += n + 1
	v, err := strconv.ParseInt(string(digits), 10, 64)
	if err != nil || digits[0] == '+' {
		return 0, errSyntax
	}
	return v, nil
}

// skip passes over one value of any kind that lies inside depth others.
func (d *decoder) skip(depth int) error {
	c, err := d.peek()
	switch {
	case err != nil:
		return err
	case depth >= maxDepth:
		return errDepth
	case c == 'i':
		_, err = d.integer()
		return err
	case c != 'l' && c != 'd':
		_, err = d.text()
		return err
	}
	d.i++
	for {
		if more, err := d.more(); !more || err != nil {
			return err
		}
		if c == 'd' {
			if _, err := d.text(); err != nil {
				return err
			}
		}
		if err := d.skip(depth + 1); err != nil {
			return err
		}
	}
}
