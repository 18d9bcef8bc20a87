// Package tracker asks trackers for peers and tells them about ours.
//
// An announce over HTTP (BEP 3, 7, 23) is a GET whose answer is one bencoded dictionary:
//
//	GET /announce?passkey=…&info_hash=%C1%2F…&peer_id=…&port=6881&uploaded=0&downloaded=0&left=20000
//	    &compact=1&no_peer_id=1&numwant=80&key=…&event=started&trackerid=…
//
//	d
//	  8:completei3e  10:incompletei5e          seeders, leechers
//	  8:intervali1800e  12:min intervali60e    seconds
//	  5:peers 6:(IPv4 address)(port) …         BEP 23, or l d 2:ip…4:porti…e e … e as in BEP 3
//	  6:peers6 18:(IPv6 address)(port) …       BEP 7
//	  10:tracker id…  15:warning message…
//	e
//	d 14:failure reason…e                      instead of all that
//
// [Client] does one announce; it holds no state but idle connections. [Session] announces one torrent for as long as it
// runs: which tracker is asked when, and with which event, is decided in schedule.go without I/O.
//
// Trackers are strangers named by strangers: every answer is limited in time, size, depth and number of peers, an
// address is dialled only if the Control hook agrees, after resolution and after every redirect, and no error
// text repeats the query, in which private trackers keep a user's key.
package tracker
