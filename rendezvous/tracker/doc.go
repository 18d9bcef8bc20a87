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
//	d 14:failure reason…  8:retry in…e         instead of all that; BEP 31
//
// A scrape (BEP 48) asks /scrape for the numbers alone. Over UDP (BEP 15, drawn in udpwire.go) both are one datagram each
// way, after one that fetches a connection id; the path and query of the tracker's address go along (BEP 41).
//
// [Client] does one announce or scrape; it holds no state but idle connections and connection ids. [Session] announces one
// torrent for as long as it runs: which tracker is asked when, and with which event, is decided in schedule*.go without I/O,
// and what an exchange over UDP sends in udpcall.go.
//
// Trackers are strangers named by strangers: every answer is limited in time, size, depth and number of peers, an
// address is dialled, by TCP or UDP, only if the Control hook agrees, after resolution and after every redirect, and no error
// text repeats the query, in which private trackers keep a user's key.
package tracker
