package utp

import "math/bits"

// maxSACK is the longest selective acknowledgement we send, in bytes: 1024 packets.
const maxSACK = 128

// appendSACK appends the bits of the packets held after the missing one (BEP 29: bit 0 is the packet after it), in whole
// words of four bytes, at most most bytes.
func (r *reorder) appendSACK(b []byte, missing uint16, most int) []byte {
	if r.count == 0 {
		return b
	}
	span := int(r.highest - missing) // bits up to the highest
	size := max(min((span+31)/32, most/4, maxSACK/4), 0) * 4
	start := len(b)
	for range size {
		b = append(b, 0)
	}
	mask := b[start:]
	for i := range min(span, size*8) {
		if r.has(missing + 1 + uint16(i)) {
			mask[i/8] |= 1 << (i % 8)
		}
	}
	return b
}

// eachSACKed calls f with the sequence number of each bit that is set, in order, when the packet acknowledges up to ack,
// until f returns false.
func eachSACKed(mask []byte, ack uint16, f func(seq uint16) bool) {
	for i, b := range mask {
		for b != 0 {
			if !f(ack + 2 + uint16(i*8+bits.TrailingZeros8(b))) {
				return
			}
			b &= b - 1
		}
	}
}
