//go:build linux

package main

import (
	"bytes"
	"io"
	"sync"
)

// maxLine is how much of a line is held back until it ends, in bytes.
const maxLine = 64 << 10

// lines writes whole lines, with a name before each, to a writer that others use too.
type lines struct {
	w      io.Writer
	mu     *sync.Mutex // of the writer
	prefix string
	rest   []byte
}

func newLines(w io.Writer, mu *sync.Mutex, name string) *lines {
	return &lines{w: w, mu: mu, prefix: name + " | "}
}

// Write prints the lines that b ends.
func (l *lines) Write(b []byte) (int, error) {
	l.rest = append(l.rest, b...)
	end := bytes.LastIndexByte(l.rest, '\n') + 1
	if end == 0 && len(l.rest) < maxLine {
		return len(b), nil
	}
	if end == 0 {
		l.flush()
		return len(b), nil
	}
	l.print(l.rest[:end])
	l.rest = append(l.rest[:0], l.rest[end:]...)
	return len(b), nil
}

// flush prints what is left when there comes no more.
func (l *lines) flush() {
	if len(l.rest) > 0 {
		l.print(append(l.rest, '\n'))
		l.rest = l.rest[:0]
	}
}

func (l *lines) print(whole []byte) {
	var out []byte
	for line := range bytes.Lines(whole) {
		out = append(append(out, l.prefix...), line...)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.w.Write(out)
}
