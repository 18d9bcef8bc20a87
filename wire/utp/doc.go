// Package utp is the Micro Transport Protocol (BEP 29): a reliable stream over UDP that keeps out of the way of other
// traffic (LEDBAT, RFC 6817).
//
// A connection's core does no I/O and knows no time but what it is told: packets and the present go in, datagrams and the
// time of the next call come out. The endpoint drives one core for each connection.
//
// A packet is a header of 20 bytes, extensions, and bytes of the stream:
//
//	0       4       8               16              24              32
//	+-------+-------+---------------+---------------+---------------+
//	| type  | ver 1 | extension     | connection id                 |
//	+-------+-------+---------------+---------------+---------------+
//	| timestamp, µs                                                 |
//	+---------------+---------------+---------------+---------------+
//	| timestamp difference, µs                                      |
//	+---------------+---------------+---------------+---------------+
//	| window, bytes                                                 |
//	+---------------+---------------+---------------+---------------+
//	| sequence number               | acknowledgement               |
//	+---------------+---------------+---------------+---------------+
//
// An extension is its successor's type (0: none), its length and its bytes.
//
// # The parts of a core
//
//	setup, teardown    the SYN and its answer; the FIN of each direction, RESET
//	cookie             what proves that a SYN came from where it says, without keeping anything for it
//	limit              how often a stranger is answered
//	send, run          the stream cut into packets, in runs of one size for UDP_SEGMENT; the peer's window
//	receive, reorder   the stream put together, what came early, the window
//	loss, sack, rtt    acknowledgements, what is lost and when
//	congestion, delay  how much may be in flight
//	mtu                how long datagrams may be
//
// # Congestion
//
// A round trip with q of queueing changes the window by 3000·(100 ms - q)/100 ms bytes, provided that it was used. q is
// the least of the last three delays that the peer measured, less the base: the least of the last 13 minutes. Minutes in
// which the queue may have been our own throughout do not let the base be forgotten, and its minute by minute drift
// is taken from that of the other direction, so a transfer of hours does not raise its own target.
//
// Two things differ from libutp and libtorrent, both so that fast lines find the target within seconds where the
// gain above takes minutes. Slow start ends at 60 ms, and then the window is set to what makes a queue of 95 ms. Beyond 125 ms the
// window shrinks by a part of itself.
//
// A loss halves the window, once in 100 ms and once for all packets that were under way at the time. A packet is lost when
// three later ones have arrived, or when, sent again, one sent well after it has; or after max(500 ms, RTT + 4·variance).
//
// # Narrow paths
//
// A path that becomes narrow swallows packets that were cut to what it took before. Their bytes are never cut anew, or the
// peer could get them twice; lost twice, they are sent as datagrams that may be fragmented, as libutp does.
package utp
