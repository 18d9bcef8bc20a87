// Package punch makes a path between two agents behind NATs: it decides which datagrams go from which socket where and when,
// and which path has won. It does no I/O, starts nothing and never looks at a clock.
//
// One [Machine] is one attempt on one side. A broker that both agents trust gives each the other's addresses, a key that
// nobody else has, a role and a moment to begin at:
//
//	m, err := punch.New(now, plan, seed)
//	out = m.Poll(now, out[:0])                  // send these, opening further sockets as their numbers come up
//	m.Receive(now, socket, from, datagram)      // what came, then Poll again
//	m.Wake()                                    // when to Poll although nothing came
//	path, outcome := m.Done()
//	k := m.Keeper(now)                          // proves that the path still works for as long as it is kept
//
// The side whose plan may arrive late is best made the controlling one, since that side does no harm by it. A failed attempt leaves
// entries in NATs that a further one must not meet: it needs fresh sockets, the one with number 0 included, or a silence of
// more than 65 s. When a path is found the sockets that it does not use are closed.
//
// # On the wire
//
// Probes are STUN Binding requests, answered by Binding success responses (RFC 5389) of the same length:
//
//	header            id: 8 random bytes of the attempt's side, 4 that count
//	USERNAME          attempt in hex, ":a" from the controlling side, ":b" from the other; in answers too, since datagrams
//	                  are told apart by it
//	USE-CANDIDATE     in requests of the controlling side: this is the path. In its answers: and it stays so.
//	PADDING           fills up to the size that is tried
//	MESSAGE-INTEGRITY under the attempt's key
//	FINGERPRINT
//
// Exactly these, in this order: there is nothing in them that the key did not sign. Names differ by side, so that a message
// that is sent back to who made it says nothing.
//
// # What happens
//
//  1. Openers: requests with a TTL that lets them pass the own NATs and not reach the other side's. A router without a firewall
//     takes a stranger's packet for itself, and then gives the device that answers it another port.
//  2. Requests with the socket's own TTL, 50 to 200 ms apart. The controlling side is first, the other only opens until it
//     hears something or its patience ends: so a controlling side that is late does no harm. Private addresses and
//     IPv6 are asked at once, since no port is translated there. Ports that must be guessed are, see [Method]: it matters
//     little how old Plan.Observed is where one NAT counts, and where both do, up to some 200 flows of others each are made up for.
//  3. What is heard is answered, and at least three requests go back. Who asks from an unknown address is learned.
//  4. The controlling side picks among the paths that answered: a private address before IPv6 before IPv4. It asks there with
//     the full size of data. Once that is answered it stays with that path, and says so when the other side asks with
//     the full size as well. So the two never have different paths; if all
//     of the last datagrams get lost, the controlling side has one alone, and loses it by silence.
//
// # Who gets how much
//
// Any address that has not answered under the key gets at most [MaxUnconfirmed] datagrams in an attempt, answers included,
// and the one that the surrogate observed the peer at, where ports are guessed, at most [MaxObserved]. At most
// 16 addresses are learned from requests that come from the hosts in the plan, and 16 from others. These must have ids that
// nobody has used before, so a recorded probe that is sent again from elsewhere leads nowhere, and what a wire-tapper with a
// faster line achieves is the bound above. No path is taken but to where an answer to our own question has come from.
package punch
