package picker

// Cancel is a request that the picker has given up, which its peer has to be told.
type Cancel struct {
	Peer  *Peer
	Block Block
}

// Cancels appends to dst the requests given up since it was last called by SetPriorities, SetSnubbed and Verified.
func (k *Picker) Cancels(dst []Cancel) []Cancel { return dst }

// SetSnubbed says that the peer owes blocks and has sent nothing for long: what it owes may be asked of others too.
func (k *Picker) SetSnubbed(*Peer, bool) {}

// Endgame reports whether every wanted block that a peer offers is requested or received.
func (k *Picker) Endgame() bool { return k.missing > 0 && k.free == 0 && len(k.order) == 0 }
