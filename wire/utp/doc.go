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
package utp
