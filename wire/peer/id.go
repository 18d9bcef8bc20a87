package peer

import "crypto/rand"

// idPrefix names SimpleBit and its version in peer ids, in Azureus style (BEP 20).
const idPrefix = "-SB0100-"

// NewID makes a peer id: the client's prefix and 12 random bytes.
func NewID() (id [20]byte) {
	copy(id[:], idPrefix)
	rand.Read(id[len(idPrefix):])
	return id
}
