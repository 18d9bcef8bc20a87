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
	err    error // of the first write that failed, after which there are no more
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
		return len(b), l.flush()
	}
	l.print(l.rest[:end])
	l.rest = append(l.rest[:0], l.rest[end:]...)
	return len(b), l.err
}

// flush prints what is left when there comes no more, and returns why something could not be printed.
func (l *lines) flush() error {
	if len(l.rest) > 0 {
		l.print(append(l.rest, '\n'))
		l.rest = l.rest[:0]
	}
	return l.err
}

func (l *lines) print(whole []byte) {
	if l.err != nil {
		return
	}
	var out []byte
	for line := range bytes.Lines(whole) {
		out = append(append(out, l.prefix...), line...)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	_, l.err = l.w.Write(out)
}
