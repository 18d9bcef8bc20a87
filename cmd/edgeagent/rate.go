package main

import (
	"fmt"

	"simplebit/cmd/rate"
)

// limit is a number of bytes a second that reads and prints as package rate has them; 0 is no limit.
type limit int64

// minLimit is the least limit. Blocks are 16 KiB: with less than a KiB a second, peers would give up before one is through.
const minLimit = 1 << 10

// String prints what Set reads.
func (l limit) String() string { return rate.Format(int64(l)) }

// Set reads a rate, or 0 for no limit.
func (l *limit) Set(text string) error {
	r, err := rate.Parse(text)
	if err != nil {
		return fmt.Errorf("rate %q: %w, or 0 for no limit", text, err)
	}
	if r != 0 && r < minLimit {
		return fmt.Errorf("rate %q: want 0 for no limit, or %s at least", text, rate.Format(minLimit))
	}
	*l = limit(r)
	return nil
}
