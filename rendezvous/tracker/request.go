package tracker

import (
	"net/url"
	"strconv"
)

// Event says why an announce is made (BEP 3).
type Event uint8

// The events. The first announce to a tracker is EventStarted, the last EventStopped; EventCompleted is sent once, when
// the download has finished.
const (
	EventNone Event = iota
	EventStarted
	EventCompleted
	EventStopped
)

// String returns the event as it is sent; EventNone is empty.
func (e Event) String() string {
	switch e {
	case EventStarted:
		return "started"
	case EventCompleted:
		return "completed"
	case EventStopped:
		return "stopped"
	}
	return ""
}

// defaultWant is the number of peers asked for: twice what a device connects to.
const defaultWant = 80

// unknownLeft is announced for a torrent whose size is not known yet: anything but 0, which would make us a seeder.
const unknownLeft = 16 << 10

// Request is what an announce tells the tracker.
type Request struct {
	InfoHash   [20]byte
	PeerID     [20]byte
	Port       uint16 // where we accept peers
	Uploaded   int64  // payload bytes
	Downloaded int64  // payload bytes
	Left       int64  // bytes missing; negative when the size is not known yet
	Event      Event
	NumWant    int    // peers wished for: 0 means 80, negative none. A stopping client gets none
	Key        uint32 // lets the tracker recognise us when our address changes; 0 is not sent
	TrackerID  string // as the last Response of this tracker had it
}

// left is what is announced as missing.
func (r Request) left() int64 {
	if r.Left < 0 {
		return unknownLeft
	}
	return r.Left
}

// want is how many peers are asked for.
func (r Request) want() int {
	switch {
	case r.NumWant < 0 || r.Event == EventStopped:
		return 0
	case r.NumWant == 0:
		return defaultWant
	}
	return r.NumWant
}

// query returns the parameters in the order of BEP 3.
func (r Request) query() string {
	b := []byte("info_hash=")
	b = appendEscaped(b, r.InfoHash[:])
	b = append(b, "&peer_id="...)
	b = appendEscaped(b, r.PeerID[:])
	for _, p := range []struct {
		name  string
		value int64
	}{
		{"port", int64(r.Port)}, {"uploaded", max(r.Uploaded, 0)}, {"downloaded", max(r.Downloaded, 0)}, {"left", r.left()},
		{"compact", 1}, {"no_peer_id", 1}, {"numwant", int64(r.want())},
	} {
		b = append(append(append(b, '&'), p.name...), '=')
		b = strconv.AppendInt(b, p.value, 10)
	}
	if r.Key != 0 {
		b = append(b, "&key="...)
		b = strconv.AppendUint(b, uint64(r.Key), 16)
	}
	if r.Event != EventNone {
		b = append(append(b, "&event="...), r.Event.String()...)
	}
	if r.TrackerID != "" {
		b = appendEscaped(append(b, "&trackerid="...), []byte(r.TrackerID))
	}
	return string(b)
}

// appendEscaped writes raw bytes as RFC 3986 has it. url.QueryEscape would write a space as "+", which trackers do not
// all read back in a hash.
func appendEscaped(b, raw []byte) []byte {
	const hex = "0123456789ABCDEF"
	for _, c := range raw {
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '.' || c == '_' || c == '~' {
			b = append(b, c)
		} else {
			b = append(b, '%', hex[c>>4], hex[c&15])
		}
	}
	return b
}

// announceURL adds a request to a tracker's address.
func announceURL(tracker *url.URL, r Request) *url.URL { return withQuery(tracker, r.query()) }

// withQuery adds to the query of an address and keeps what is there.
func withQuery(address *url.URL, query string) *url.URL {
	u := *address
	u.Fragment, u.RawFragment = "", ""
	if u.RawQuery != "" {
		u.RawQuery += "&"
	}
	u.RawQuery += query
	return &u
}
