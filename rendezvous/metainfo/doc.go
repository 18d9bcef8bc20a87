// Package metainfo turns .torrent files, info dictionaries and magnet links into checked descriptions of a torrent.
//
// A .torrent file (BEP 3) is one bencoded dictionary; the info-hash is the SHA-1 over the exact bytes of its info value:
//
//	d
//	  8:announce      17:http://a.example/
//	  13:announce-list ll17:http://a.example/el16:udp://b.example/ee    tiers, BEP 12
//	  4:info d
//	    5:files l
//	      d 4:attr 1:p  6:length i5e  4:path l4:.pad1:5e e               attr: BEP 47
//	      d 6:length i9e  4:path l3:sub5:a.txte e
//	    e                                 or, for one file, 6:length i14e
//	    4:name 6:folder
//	    12:piece length i16384e
//	    6:pieces 20:(SHA-1 of piece 0)(SHA-1 of piece 1)…
//	    7:private i1e                                                     BEP 27
//	  e
//	e
//
// Version 1 torrents and hybrid ones (BEP 52, used as version 1) are understood.
//
// Everything here comes from strangers. The decoder of anacrolix/torrent does the last step only: it recurses without
// bound, allocates what a length claims, takes seconds for a megabyte-long integer, builds trees for keys that nobody
// reads and lets the last of two equal keys win. So [scan] first walks the whole input in constant memory, and then
// only small pieces under the keys that are needed reach the decoder. File names are made safe in one place, names.go.
package metainfo
