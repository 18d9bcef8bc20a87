package job

import (
	"context"
	"net/netip"

	"simplebit/wire/control"
)

// Store keeps records. A call that returns nil has stored durably.
type Store interface {
	Put(ctx context.Context, id string, r Record) error
	Delete(ctx context.Context, id string) error
	All(ctx context.Context) (map[string]Record, error)
}

// Infos keeps info dictionaries by the hexadecimal info-hash.
type Infos interface {
	Put(ctx context.Context, infoHash string, info []byte) error
	Get(ctx context.Context, infoHash string) ([]byte, error) // ErrNotFound when it is not there
	Delete(ctx context.Context, infoHash string) error
}

// Metadata fetches info dictionaries from peers (BEP 9).
type Metadata interface {
	FetchMetadata(ctx context.Context, infoHash [20]byte, peers <-chan netip.AddrPort) ([]byte, error)
	MetadataStatus(infoHash [20]byte) MetadataStatus
}

// Announce is what a job asks of the trackers.
type Announce struct {
	InfoHash [20]byte
	Tiers    [][]string
	Stats    func() Stats           // asked before every announce, from any goroutine
	Peers    func([]netip.AddrPort) // told what a tracker returned
}

// Stats are the figures of an announce since it began, in bytes (BEP 3). Left is
// negative while the size is unknown.
type Stats struct{ Uploaded, Downloaded, Left int64 }

// Announcer is a running tracker session.
type Announcer interface {
	Poke()      // more peers are wanted
	Completed() // the device has everything now
	Status() []TrackerStatus
}

// Trackers starts tracker sessions; one ends with its context, after it has
// told its tracker. A torrent without trackers has a session that does nothing.
type Trackers interface {
	Start(ctx context.Context, a Announce) Announcer
}

// Devices is how jobs reach devices. Only Resolve may wait.
type Devices interface {
	Resolve(ctx context.Context, nameOrID string) (Device, error)
	Lookup(id string) Device
	Changed(id string)
	Candidates(id string, c control.Candidates)
}
