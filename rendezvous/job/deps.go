package job

import (
	"context"
	"net/netip"
	"time"

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

// Devices is how jobs reach devices. Only Resolve may wait.
type Devices interface {
	Resolve(ctx context.Context, nameOrID string) (Device, error)
	Lookup(id string) Device
	// Endpoint is where the device accepts peers; zero: nowhere, or it is offline.
	Endpoint(id string) netip.AddrPort
	Changed(id string)
	Candidates(id string, c control.Candidates)
}

// Swarms lets jobs take part in the swarms of their torrents.
type Swarms interface {
	// Join takes part until Member.Leave. The callbacks come from other goroutines and do not wait.
	Join(p Participation) Member
}

// Participation is what a job brings into a swarm. Of its functions only Info may wait.
type Participation struct {
	InfoHash [20]byte
	Private  bool                                      // BEP 27; only with an InfoSize
	Tiers    [][]string                                // trackers (BEP 12)
	Peers    []string                                  // host:port, from the magnet
	InfoSize int                                       // bytes of the info dictionary; 0 while unknown: it is fetched
	Info     func(ctx context.Context) ([]byte, error) // reads it from the store, once it is known
	Stats    func() Stats                              // since Join; asked from any goroutine, also after Leave
	// Candidates takes addresses for the device, never more than control.MaxCandidates at once.
	Candidates func([]control.Candidate)
	// Learned takes the info dictionary, verified against the info-hash; at most once, only if InfoSize was 0.
	Learned func(info []byte)
}

// Stats are a job's figures since it joined, in bytes (BEP 3). Left is negative
// while the size is unknown.
type Stats struct{ Uploaded, Downloaded, Left int64 }

// Member is a job's part in a swarm. Its methods do not wait. Status may be called
// from any goroutine, the others from the job's loop.
type Member interface {
	// Known tells that the info dictionary is stored now: Info works.
	Known(infoSize int, private bool)
	// Hungry tells whether the device is short of peers, or the info dictionary is
	// missing: then unverified addresses help too, and trackers and DHT are asked
	// again when they permit it, at each call.
	Hungry(bool)
	// Offer asks for all reachable addresses, also those that were sent before, and
	// for those that follow.
	Offer()
	// Endpoint tells where the device accepts peers; zero: nowhere.
	Endpoint(netip.AddrPort)
	// Completed tells that the device has downloaded everything now.
	Completed()
	// Unusable tells which addresses were of no use to the device.
	Unusable([]control.UnusablePeer)
	Status() SwarmStatus
	Leave()
}

// SwarmStatus is how the search for peers goes.
type SwarmStatus struct {
	Trackers  []TrackerStatus
	DHT       DHTStatus
	Metadata  MetadataStatus
	Known     int // addresses known
	Reachable int // of these, found to be peers by a handshake
}

// TrackerStatus is how announces to one tracker go.
type TrackerStatus struct {
	URL       string
	Error     string // of the last announce
	Warning   string
	Next      time.Time // the next announce; zero while others come before it
	Seeders   int       // by the last answer, to an announce or a scrape (BEP 48)
	Leechers  int
	Peers     int // in the last reply
	Downloads int // ever completed, by the last scrape
}

// DHTStatus is how the DHT session of a torrent goes (BEP 5).
type DHTStatus struct {
	Enabled bool      // false: private, or the surrogate has no DHT
	Nodes   int       // good nodes in the table
	Peers   int       // found in the last search
	Error   string    // of the last search
	Next    time.Time // the next search; zero while one runs or none is due
}

// MetadataStatus is how far the fetch of an info dictionary is.
type MetadataStatus struct {
	Peers  int // connected
	Pieces int // 0 while the size is unknown
	Have   int
}
