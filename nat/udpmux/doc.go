// Package udpmux shares one UDP socket between protocols: a NAT mapping belongs to a socket, so whoever wants to be
// reached through it must send and receive on that one.
//
// # Who gets a datagram
//
// Byte patterns alone do not tell: a uTP SYN begins with 0x41 and a DHT message with 0x64, and both look like a QUIC
// short header. So [Routes] goes by source first. On the agent ([Agent]):
//
//	source                            datagram                                            kind
//	a control endpoint                any                                                 QUIC
//	a STUN endpoint                   any                                                 STUN
//	both of these (one port, RFC 9443) STUN message                                       STUN
//	                                  any other                                           QUIC
//	anybody else                      STUN message, its USERNAME is an active punch's     STUN
//	                                  uTP: type <= 4, version 1, extension <= 3, 20 bytes  UTP
//	                                  any other                                           Drop
//
// On front's socket ([Front]) everybody is a stranger: 'd' begins a DHT message (BEP 5), uTP's shape is uTP (BEP 29). On
// the surrogate's ([Surrogate]) too: what is framed as STUN, also before RFC 5389, is STUN, any other QUIC.
//
// A STUN message (RFC 5389 section 6) has two zero bits first, the magic cookie and a length that fits the datagram.
//
// # Sets
//
// A [Set] adds sockets on other ports to a main one, to find out what a NAT does, and to get through it. They are many, so
// they are small, until one that is of use is adopted. A handler finds the socket that a datagram came by in [Run.Via].
// [Socket.SendTTL] sends what is to die on the way, and [Socket.OnNewSource] tells of addresses that nobody was known by.
//
// # How bytes move
//
// One goroutine reads ([Socket.Run]): recvmmsg takes what has arrived, and with UDP_GRO the kernel has joined datagrams
// of one source into a [Run] before. A run whose datagrams are all of one kind is passed on whole. [Socket.Send] gives
// the kernel a run to cut up (UDP_SEGMENT). Every one of these is done without where the system lacks it, which is found
// out at run time:
//
//	recvmmsg + UDP_GRO  ->  recvmmsg  ->  one recvmsg by package net per datagram
//	UDP_SEGMENT         ->  one sendmsg per datagram
//
// Nothing is allocated per packet.
//
// The socket has the don't-fragment bit set and ignores what the kernel believes of path MTUs (IP_PMTUDISC_PROBE), so
// that uTP can search for the MTU: a datagram longer than the interface takes fails with EMSGSIZE, a longer one than
// the path takes is lost. [Socket.SendFragmentable] is for what must arrive although it is too long.
package udpmux
