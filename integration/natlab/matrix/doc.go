// Package matrix measures how two devices behind NATs of every kind come to each other's data: with the real programs, a
// surrogate and two agents, in labs of [simplebit/integration/natlab].
//
//	surrogate ── 20 ms ──┬── home of A: its kind of NAT ── agent A
//	                     │ 40 ms between homes
//	                     └── home of B: its kind of NAT ── agent B
//
// The times are of a round trip. A lab has no names, so a device with IPv6 alone is invited to the surrogate's IPv6 address.
//
// # A try
//
// Two homes are made that nobody has seen, with public addresses of their own; two agents join and find out what they sit behind.
// One of them seeds a torrent of [Size] bytes in pieces of [PieceSize], which nobody else has and no tracker knows. Then, at
// time zero, it is given to the other one. Where UDP is blocked time zero is when the agent of that home is started.
// Homes are behind carriers of their own unless the pair says that they share one.
//
// What counts is when the first piece was verified and when all were, as the surrogate's API shows it, and by which
// [Class] of route: [LAN] where every connection and path ended at the devices' own addresses in one home, or within one carrier's
// network, 100.64.0.0/10. What a router or carrier leads back at a public address is [Direct]. If an agent or the surrogate ends by
// itself, the try has class [None] with the last that it said, and is not done again. A lab serves some tries one after the other, with one surrogate, and several labs are at work side by
// side.
package matrix
