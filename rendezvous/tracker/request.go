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

// query returns the parameters in the order of BEP 3.
func (r Request) query() string {
	left := r.Left
	if left < 0 {
		left = unknownLeft
	}
	want := r.NumWant
	switch {
	case want < 0 || r.Event == EventStopped:
		want = 0
	case want == 0:
		want = defaultWant
	}
	b := []byte("info_hash=")
	b = appendEscaped(b, r.InfoHash[:])
	b = append(b, "&peer_id="...)
	b = appendEscaped(b, r.PeerID[:])
	for _, p := range []struct {
		name  string
		value int64
	}{
		{"port", int64(r.Port)}, {"uploaded", max(r.Uploaded, 0)}, {"downloaded", max(r.Downloaded, 0)}, {"left", left},
		{"compact", 1}, {"no_peer_id", 1}, {"numwant", int64(want)},
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

// announceURL adds a request to a tracker's address and keeps the query that is there.
func announceURL(tracker *url.URL, r Request) *url.URL {
	u := *tracker
	u.Fragment, u.RawFragment = "", ""
	if u.RawQuery != "" {
		u.RawQuery += "&"
	}
	u.RawQuery += r.query()
	return &u
}
