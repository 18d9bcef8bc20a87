// Package mse is message stream encryption, the obfuscation that BitTorrent clients call "protocol encryption" (MSE/PE, as
// written down by Azureus and µTorrent): a Diffie-Hellman exchange, a handshake that names the torrent without showing
// its info-hash, and then a stream that is RC4 or plaintext, as the responder selects.
//
// It hides the protocol from who filters by pattern. It authenticates nobody, RC4 is broken, and whoever knows the
// info-hash can sit in the middle: nothing secret may depend on it. That is why math/big, which takes time that depends
// on the exponent, is good enough here.
//
// # Handshake
//
// A is the initiator, B the responder. Integers are big-endian.
//
//	A -> B  Ya (96)  PadA (0..512)
//	B -> A  Yb (96)  PadB (0..512)
//	A -> B  HASH('req1', S) (20)  HASH('req2', SKEY) xor HASH('req3', S) (20)
//	        then encrypted: VC (8)  crypto_provide u32  len(PadC) u16  PadC (0..512)  len(IA) u16  IA
//	B -> A  encrypted: VC (8)  crypto_select u32  len(PadD) u16  PadD (0..512)
//	both    the payload, as selected
//
//	P    = the 768-bit prime of RFC 2409's first Oakley group with its last 64 bits replaced (prime below)
//	Y    = 2^X mod P; X is 160 random bits
//	S    = Y^X mod P in 96 bytes
//	SKEY = the torrent's info-hash
//	HASH = SHA-1
//	A encrypts with RC4 under HASH('keyA', S, SKEY), B under HASH('keyB', S, SKEY); the first 1024 bytes of each key
//	stream are dropped. VC is eight zeros: B finds its place in the stream by HASH('req1', S), A by the encrypted VC.
//
// crypto_provide and crypto_select are the bits of [Method]. IA, the initial payload of A, is always under RC4, whatever is
// selected.
//
// # Bounds
//
// Before a peer has shown that it knows S, at most 628 bytes of it are read as responder and 616 as initiator: the key, the
// longest pad and the mark that ends it. A pad is never longer than 512 bytes. IA is not collected but handed on
// as it comes. Time is bounded by the deadlines that the caller sets on the connection before a handshake.
package mse
