package picker

// Priority says when a piece is wanted. The numbers are those of control.FilePriority.
type Priority uint8

// The priorities of pieces.
const (
	Normal Priority = iota
	Skip            // not wanted
	Low             // after all others
	High            // before all others
)

// SetPriorities says how much each piece is wanted, at any time; nil makes all of them normal. Requests for pieces that
// are skipped from now on are given up: see Cancels. The slice is not kept.
func (k *Picker) SetPriorities([]Priority) {}

// SetSequential makes pieces come in the order of the content.
func (k *Picker) SetSequential(bool) {}

// Wanted returns the number of pieces that are neither verified nor skipped.
func (k *Picker) Wanted() int { return k.missing }
