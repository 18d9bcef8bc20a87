// Package stun asks which address others see a socket at, and answers that question (STUN: RFC 5389, with RFC 5780's
// means to find out what a NAT does). Messages are framed and fingerprinted by pion/stun.
//
// Neither side reads a socket, because it is shared with other protocols: whoever reads passes on what is STUN's.
//
//	c := stun.NewClient(socket, stun.Quick)                          // socket is a *udpmux.Socket
//	socket.Handle(udpmux.STUN, func(now time.Time, runs []udpmux.Run) {
//		for _, r := range runs {
//			for b := range r.Datagrams() {
//				c.Receive(now, r.From, b)
//			}
//		}
//	})
//	r, err := c.Binding(ctx, server, stun.Options{})
//
// [Read] does this for a socket that serves nothing else.
//
// # What is believed
//
// An answer counts if it comes from the address that was asked, or that was asked to answer, and repeats the 96 random
// bits of an open question; if its fingerprint, where it has one, fits; and if it is well-formed to the last byte.
// Anything else changes nothing. Who sees the question can still forge an answer: STUN proves nothing about addresses to
// those who must not be fooled.
//
// # What is answered
//
// Source addresses can be forged as well, so a server must not be worth abusing. An answer has no more bytes than its
// question: it leaves out what does not fit, and where the mapped address does not fit there is none. A [Client] makes
// its questions as long as the longest answer. Clients of others do not, so [Config] can grant a few bytes a second, to
// all of them together. One source is answered up to a rate, and what is remembered of sources takes a fixed 128 KiB.
package stun
