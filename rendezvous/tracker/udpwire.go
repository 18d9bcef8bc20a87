package tracker

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/url"
	"time"
)

// The UDP protocol (BEP 15), all numbers big-endian. A request is
//
//	0   8  connection id; in a connect request the protocol id
//	8   4  action
//	12  4  transaction id
//	16     announce: info-hash 20, peer id 20, downloaded 8, left 8, uploaded 8, event 4, IP address 4, key 4,
//	                 peers wanted 4, port 2, then options of BEP 41
//	       scrape:   info-hash 20
//
// and an answer
//
//	0   4  action: that of the request, or 3 for an error
//	4   4  transaction id
//	8      connect:  connection id 8
//	       announce: interval 4, leechers 4, seeders 4, then for each peer its address 4 (over IPv6: 16) and port 2
//	       scrape:   seeders 4, completed 4, leechers 4
//	       error:    text
const (
	protocolID = 0x41727101980

	actionConnect  = 0
	actionAnnounce = 1
	actionScrape   = 2
	actionError    = 3

	requestHead = 16 // bytes
	answerHead  = 8  // bytes

	optionURLData = 2    // BEP 41: what follows the host in the tracker's address
	maxURLData    = 1024 // bytes in all, so that an announce fits into one datagram of any network
)

// errShort says that an answer ends before it has said what it must.
var errShort = errors.New("it is too short")

// appendHead writes the first 16 bytes of a request.
func appendHead(b []byte, connection uint64, action, transaction uint32) []byte {
	b = binary.BigEndian.AppendUint64(b, connection)
	b = binary.BigEndian.AppendUint32(b, action)
	return binary.BigEndian.AppendUint32(b, transaction)
}

// appendAnnounce writes what follows the head of an announce. The IP address stays 0: the tracker takes the sender's.
func appendAnnounce(b []byte, r Request, urlData string) []byte {
	b = append(b, r.InfoHash[:]...)
	b = append(b, r.PeerID[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(max(r.Downloaded, 0)))
	b = binary.BigEndian.AppendUint64(b, uint64(r.left()))
	b = binary.BigEndian.AppendUint64(b, uint64(max(r.Uploaded, 0)))
	b = binary.BigEndian.AppendUint32(b, udpEvent(r.Event))
	b = binary.BigEndian.AppendUint32(b, 0)
	b = binary.BigEndian.AppendUint32(b, r.Key)
	b = binary.BigEndian.AppendUint32(b, uint32(r.want()))
	b = binary.BigEndian.AppendUint16(b, r.Port)
	// BEP 41: an option has at most 255 bytes; longer data goes into several, which are joined.
	for len(urlData) > 0 {
		part := urlData[:min(len(urlData), 255)]
		b = append(append(b, optionURLData, byte(len(part))), part...)
		urlData = urlData[len(part):]
	}
	return b
}

// udpEvent is an event as BEP 15 numbers them.
func udpEvent(e Event) uint32 {
	switch e {
	case EventCompleted:
		return 1
	case EventStarted:
		return 2
	case EventStopped:
		return 3
	}
	return 0
}

// urlData is the path and the query of a tracker's address, as they are written there.
func urlData(u *url.URL) string {
	s := u.EscapedPath()
	if u.RawQuery != "" || u.ForceQuery {
		s += "?" + u.RawQuery
	}
	return s
}

// parseHead reads the first 8 bytes of an answer.
func parseHead(b []byte) (action, transaction uint32, rest []byte, err error) {
	if len(b) < answerHead {
		return 0, 0, nil, fmt.Errorf("%w: %w: %d bytes", ErrMalformed, errShort, len(b))
	}
	return binary.BigEndian.Uint32(b), binary.BigEndian.Uint32(b[4:]), b[answerHead:], nil
}

// parseConnect reads what follows the head of an answer to a connect request. More bytes may follow in all answers.
func parseConnect(b []byte) (connection uint64, err error) {
	if len(b) < 8 {
		return 0, fmt.Errorf("%w: %w: %d bytes after a connect answer's head", ErrMalformed, errShort, len(b))
	}
	return binary.BigEndian.Uint64(b), nil
}

// parseAnnounce reads what follows the head of an answer to an announce with addresses of size bytes, without port.
func parseAnnounce(b []byte, size int) (Response, error) {
	if len(b) == 0 {
		// All that opentracker says of a torrent that is not on its list.
		return Response{}, &FailureError{Reason: "an empty answer; it does not serve this torrent"}
	}
	if len(b) < 12 {
		return Response{}, fmt.Errorf("%w: %w: %d bytes after an announce answer's head", ErrMalformed, errShort, len(b))
	}
	r := Response{Leechers: signed(b[4:]), Seeders: signed(b[8:]), HasCounts: true}
	var peers peerSet
	if err := peers.compact(b[12:], size); err != nil {
		return Response{}, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return r.within(peers, int64(int32(binary.BigEndian.Uint32(b))), 0), nil
}

// parseUDPScrape reads what follows the head of an answer to a scrape of one torrent.
func parseUDPScrape(b []byte) (Scrape, error) {
	if len(b) < 12 {
		return Scrape{}, fmt.Errorf("%w: %w: %d bytes after a scrape answer's head", ErrMalformed, errShort, len(b))
	}
	return Scrape{Seeders: signed(b), Downloads: signed(b[4:]), Leechers: signed(b[8:])}, nil
}

// signed reads a count; one that would be negative is 0.
func signed(b []byte) int { return clampCount(int64(int32(binary.BigEndian.Uint32(b)))) }

// connectionTime is how long a connection id may be used after it came (BEP 15).
const connectionTime = time.Minute
