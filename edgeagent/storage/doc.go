// Package storage keeps a torrent's content on disk within a fixed memory budget, on devices with little memory and flash
// that wears.
package storage
