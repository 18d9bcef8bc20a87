package portmap

import (
	"bytes"
	"strconv"
	"strings"
	"unicode/utf8"
)

// xmlReader splits an XML document into tags and text, without allocating and without believing it: what is not
// well-formed is read as far as it makes sense, tags need not match, and a document type is skipped, so that there are no
// entities but XML's own five and characters by number.
type xmlReader struct {
	rest []byte
	end  []byte // a self-closing element whose end is still to be told
}

type xmlKind uint8

const (
	xmlNothing xmlKind = iota // the document has ended
	xmlStart
	xmlEnd
	xmlText // as it stands, with entities
	xmlCDATA
)

// next returns the next piece: the local name of a tag, or text. It is valid as long as the document.
func (x *xmlReader) next() (xmlKind, []byte) {
	if x.end != nil {
		name := x.end
		x.end = nil
		return xmlEnd, name
	}
	for len(x.rest) > 0 {
		if x.rest[0] != '<' {
			text, _, _ := bytes.Cut(x.rest, []byte("<"))
			x.rest = x.rest[len(text):]
			return xmlText, text
		}
		if _, ok := x.enclosed("<!--", "-->"); ok {
			continue
		}
		if text, ok := x.enclosed("<![CDATA[", "]]>"); ok {
			return xmlCDATA, text
		}
		if _, ok := x.enclosed("<?", "?>"); ok {
			continue
		}
		if _, ok := x.enclosed("<!", ">"); ok {
			continue
		}
		tag := x.tag()
		if name, ok := bytes.CutPrefix(tag, []byte("/")); ok {
			return xmlEnd, localName(name)
		}
		name := localName(bytes.TrimSuffix(tag, []byte("/")))
		if bytes.HasSuffix(tag, []byte("/")) {
			x.end = name
		}
		return xmlStart, name
	}
	return xmlNothing, nil
}

// enclosed takes what is between two marks, or to the end of the document, if it begins with the first one.
func (x *xmlReader) enclosed(from, to string) ([]byte, bool) {
	rest, ok := bytes.CutPrefix(x.rest, []byte(from))
	if !ok {
		return nil, false
	}
	var in []byte
	in, x.rest, _ = bytes.Cut(rest, []byte(to))
	return in, true
}

// tag takes a tag and returns it without its brackets. A > in an attribute's value does not end it.
func (x *xmlReader) tag() []byte {
	quote := byte(0)
	for i, c := range x.rest {
		switch {
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case c == '"' || c == '\'':
			quote = c
		case c == '>':
			tag := x.rest[1:i]
			x.rest = x.rest[i+1:]
			return tag
		}
	}
	tag := x.rest[1:]
	x.rest = nil
	return tag
}

// localName is a tag's name without attributes and namespace.
func localName(tag []byte) []byte {
	if i := bytes.IndexAny(tag, " \t\r\n"); i >= 0 {
		tag = tag[:i]
	}
	if i := bytes.LastIndexByte(tag, ':'); i >= 0 {
		tag = tag[i+1:]
	}
	return tag[:len(tag):len(tag)]
}

// mostText is the longest text of an element that is of use: an address, a number, a path.
const mostText = 512

// xmlValue collects the text of an element.
type xmlValue struct {
	text []byte
	long bool // more than mostText
}

func (v *xmlValue) add(kind xmlKind, text []byte) {
	if len(v.text)+len(text) > 2*mostText {
		v.long = true
		return
	}
	if kind == xmlText {
		v.text = appendUnescaped(v.text, text)
	} else {
		v.text = append(v.text, text...)
	}
}

// String returns the text without white space around it, and nothing if it is too long.
func (v *xmlValue) String() string {
	s := strings.TrimSpace(string(v.text))
	if v.long || len(s) > mostText {
		return ""
	}
	return s
}

var entities = map[string]string{"amp": "&", "lt": "<", "gt": ">", "quot": `"`, "apos": "'"}

// appendUnescaped appends text with its entities resolved; unknown ones stay as they are. The result is not longer.
func appendUnescaped(b, text []byte) []byte {
	for len(text) > 0 {
		i := bytes.IndexByte(text, '&')
		if i < 0 {
			return append(b, text...)
		}
		b, text = append(b, text[:i]...), text[i:]
		end := bytes.IndexByte(text[:min(len(text), 12)], ';')
		if end < 0 {
			b, text = append(b, '&'), text[1:]
			continue
		}
		b = appendEntity(b, string(text[1:end]), text[:end+1])
		text = text[end+1:]
	}
	return b
}

func appendEntity(b []byte, name string, raw []byte) []byte {
	if s, ok := entities[name]; ok {
		return append(b, s...)
	}
	if digits, ok := strings.CutPrefix(name, "#"); ok {
		base := 10
		if hex, ok := strings.CutPrefix(digits, "x"); ok {
			digits, base = hex, 16
		}
		if n, err := strconv.ParseUint(digits, base, 21); err == nil && n > 0 && utf8.ValidRune(rune(n)) {
			return utf8.AppendRune(b, rune(n))
		}
	}
	return append(b, raw...)
}
