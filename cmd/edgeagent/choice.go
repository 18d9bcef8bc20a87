package main

import (
	"errors"
	"strconv"
)

// choice is a flag that is true or false. It says so of what is neither, as the flag package's own does not.
type choice bool

// String is "true" or "false".
func (c choice) String() string { return strconv.FormatBool(bool(c)) }

// Set reads what String prints, and the short forms that the flag package takes.
func (c *choice) Set(text string) error {
	v, err := strconv.ParseBool(text)
	if err != nil {
		return errors.New("choose true or false")
	}
	*c = choice(v)
	return nil
}

// IsBoolFlag has the flag package take the name alone for true.
func (choice) IsBoolFlag() bool { return true }

// count is a number of connections.
type count int

// maxCount is the most connections.
const maxCount = 1000

// String is the number.
func (c count) String() string { return strconv.Itoa(int(c)) }

// Set reads a number from 1 to maxCount.
func (c *count) Set(text string) error {
	v, err := strconv.Atoi(text)
	if err != nil || v < 1 || v > maxCount {
		return errors.New("want a number from 1 to " + strconv.Itoa(maxCount))
	}
	*c = count(v)
	return nil
}
