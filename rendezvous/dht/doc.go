// Package dht takes part in the distributed hash table of BitTorrent (BEP 5, and BEP 32 for IPv6) on behalf of all torrents
// of the surrogate: one node with an id and a table for each address family, on the sockets of the peer port.
//
//	session ─▶ agenda ─▶ search ─▶ anacrolix/dht ─▶ guard ─▶ socket
//	            when      what      traversals,       what is sent, heard and
//	                                table, questions   answered, within bounds
//
// A session announces its torrent and asks for peers when it starts, every 15 minutes, and when it is poked; schedule.go
// decides when. anacrolix/dht finds its way through the table and keeps it; guard stands between it and the network, because
// v2.23.0 does not survive hostile datagrams. Queries of others are answered by guard, not by the library: we are a full node,
// never read-only (BEP 43), and keep what is announced to us.
//
// What a hostile network can make us do is bounded:
//
//   - Answers: at most six bytes for a byte received, 1,200 bytes each, 50 in ten seconds to one IPv4 address or IPv6 /64, 3,000
//     to all.
//   - Questions: 100 datagrams a second for each family. A search asks about 100 nodes at the most, announces to eight, and ends
//     within 66 seconds; eight searches run at once. Strangers are asked whether they are nodes at most twice a second.
//   - Peers: 100 believed of one node, 500 of one search, only where Config.Dialable permits.
//   - Nodes: one for each host, eight for each /24 or /48, sixteen for each bucket, and only those that have answered us.
//   - Announced peers: 100 for each torrent, 100 by one host, 2,000 torrents, 20,000 in all, for 30 minutes; the address is always
//     the sender's, and a token proves that he receives there.
//   - Answers are taken only from who was asked, for ten seconds, under a transaction id of 40 random bits.
//   - Log: a line for each reason of refusal every ten minutes.
//
// The node table is saved every five minutes and at the end. After a restart the saved nodes are asked first; Config.Bootstrap
// only if none of them answers.
package dht
