// Package peer is the byte level of the BitTorrent peer protocol: it turns bytes into messages and messages into bytes,
// and knows nothing of sockets, goroutines or torrents.
//
// # Handshake (BEP 3), 68 bytes each way
//
//	 0      1                     20         28           48          68
//	+------+---------------------+----------+------------+-----------+
//	| 0x13 | BitTorrent protocol | reserved | info-hash  | peer id   |
//	+------+---------------------+----------+------------+-----------+
//
// Reserved bits, byte.mask: 5.0x10 extension protocol (BEP 10), 7.0x04 fast extension (BEP 6), 7.0x01 DHT (BEP 5).
//
// # Messages (BEP 3), integers are big-endian
//
//	+--------------+------+-----------------------+
//	| length u32   | type | body, length-1 bytes  |    length 0 is a keepalive and has no type
//	+--------------+------+-----------------------+
//
//	 0 choke           -                        9 port          port u16                  (BEP 5)
//	 1 unchoke         -                       13 suggest       index u32                 (BEP 6)
//	 2 interested      -                       14 have all      -                         (BEP 6)
//	 3 not interested  -                       15 have none     -                         (BEP 6)
//	 4 have            index u32               16 reject        index, begin, length u32  (BEP 6)
//	 5 bitfield        bits, high bit first    17 allowed fast  index u32                 (BEP 6)
//	 6 request         index, begin, length    20 extended      id u8, payload            (BEP 10)
//	 7 piece           index, begin, data
//	 8 cancel          index, begin, length
//
// # Extended messages (BEP 10)
//
// Id 0 is the extension handshake, a bencoded dictionary ([Extensions]). Any other id is one that the receiver gave out
// in the "m" dictionary of its own handshake. ut_metadata (BEP 9) is a bencoded dictionary, followed in data messages
// by up to 16 KiB of the info dictionary ([MetadataMessage]):
//
//	d8:msg_typei1e5:piecei0e10:total_sizei31235ee <data>
//
// ut_pex (BEP 11) is a bencoded dictionary of strings, each of them a list: addresses of 6 bytes (IPv4) or 18 (IPv6) with the
// port last, big-endian, and a byte of flags for each address added ([Pex]):
//
//	d5:added6:<addr>7:added.f1:<flags>6:added618:<addr>8:added6.f1:<flags>7:dropped6:<addr>8:dropped618:<addr>e
//
// Everything read is taken for hostile: each length is checked against its type before a byte of the body is waited
// for, memory grows with the bytes that came and never with the bytes that were promised, and nesting is limited.
package peer
