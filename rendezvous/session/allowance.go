package session

import (
	"sync"
	"time"

	"simplebit/wire/control"
)

// What a device may send: one report a second for each torrent would be more
// than any has to say. Beyond that it is not read, and has to wait.
const (
	frameInterval = 2 * time.Millisecond // between two frames in the long run
	frameBurst    = 2000                 // frames at once

	// networkCost is what a Network counts for: a device checks its network after a change and every few hours, so
	// twenty at once and five a second in the long run are more than it has to tell. None is dropped, as the last one
	// counts.
	networkCost = 100 * frameInterval

	// punchedCost is what a Punched counts for: a device has a few attempts at once, of seconds each.
	punchedCost = 20 * frameInterval

	// strayCost is what a report counts for beside, of a torrent that the device was not asked to hold: it is told to drop it.
	strayCost = 9 * frameInterval
)

// costOf is what a message of a device uses of its allowance.
func costOf(m control.Message) time.Duration {
	switch m.(type) {
	case control.Network:
		return networkCost
	case control.Punched:
		return punchedCost
	}
	return frameInterval
}

// How many addresses a device may call unusable. One of 40 connections tries
// some ten addresses a second at most. What is beyond that is dropped: it is
// advice, and a device gives it again when it meets the address again.
const (
	unusableInterval = 10 * time.Millisecond     // between two addresses in the long run
	unusableBurst    = 4 * control.MaxCandidates // addresses at once
)

// allowances are what one device may send, over all its sessions. Any goroutine.
type allowances struct {
	mu               sync.Mutex
	frames, unusable allowance
}

// frame counts one and returns how long to wait before the next is read.
func (a *allowances) frame(now time.Time, m control.Message) time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.frames.take(now, costOf(m))
}

// stray counts a report beyond what a frame counts for.
func (a *allowances) stray(now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.frames.spend(now, strayCost)
}

// addresses returns how many of n unusable addresses are taken.
func (a *allowances) addresses(now time.Time, n int) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.unusable.unusable(now, n)
}

// allowancesOf returns those of an enrolled device.
func (h *Hub) allowancesOf(device control.DeviceID) *allowances {
	h.mu.Lock()
	defer h.mu.Unlock()
	a := h.allowances[device]
	if a == nil {
		a = &allowances{}
		h.allowances[device] = a
	}
	return a
}

// allowance is when what was received so far would have come at an even pace.
// It has no I/O.
type allowance struct{ used time.Time }

// take counts one frame and returns how long to wait before the next is read.
func (a *allowance) take(now time.Time, cost time.Duration) time.Duration {
	a.spend(now, cost)
	return max(0, a.used.Sub(now)-frameBurst*frameInterval)
}

// unusable returns how many of n addresses are taken, and counts these.
func (a *allowance) unusable(now time.Time, n int) int {
	a.spend(now, 0)
	left := unusableBurst*unusableInterval - a.used.Sub(now)
	n = min(n, int(max(0, left)/unusableInterval))
	a.spend(now, time.Duration(n)*unusableInterval)
	return n
}

func (a *allowance) spend(now time.Time, d time.Duration) {
	if a.used.Before(now) {
		a.used = now
	}
	a.used = a.used.Add(d)
}
