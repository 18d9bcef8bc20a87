// Package discovery finds out how the network that a device sits behind treats its UDP, in RFC 4787's words and by RFC 5780's
// means: it asks STUN servers of the surrogate from sockets of its own, since what the main one has sent before would spoil
// the verdicts.
//
//	socket     asks                                   tells
//	main       S1p1, who answers                      the reflexive address, and the main socket's reachability
//	           S1p1, S2p2 answers
//	mapper     S1p1, S1p2, S2p1, S2p2, one by one     mapping, step
//	filterer   S1p1, who answers                      filtering
//	           S1p1, S2p2 answers
//	           S1p1, S1p2 answers
//	3 silent   S1p1, once                             port preservation; step; lifetime, when the mapper has the answer sent
//	                                                  to their ports (RESPONSE-PORT) after 25, 60 and 115 s
//	mapper     the filterer's external endpoint       hairpinning
//	its own    S1p1 with TTLs from 2 on               double NAT, and where the device's own NATs end, by who says that a TTL
//	                                                  was exceeded (RFC 792)
//
// S1p1 is the server's first address and port. The mapping is looked at first, since on some routers the packet of a stranger
// changes what comes later. What is asked when is decided by a core without I/O (machine.go) and what it means by pure
// functions (verdict.go); the rest carries.
//
// # Cost and trust
//
// One discovery sends at most [MaxDatagrams], retransmissions included, usually some 35. They go to the servers, at most
// three of them to where a server sees the device (hairpinning), and some to the other address that a server names, if
// none was given. What a lying server achieves is a wrong verdict, and that.
package discovery
