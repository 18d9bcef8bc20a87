// Package job turns one user's wish, this torrent on that device, into
// assignments, and follows it from the magnet to the last piece.
//
// A job's loop owns its [Record], which is stored before any call that changed
// it returns, and publishes a [View] after every change. What follows from a
// device's reports counts at once, unless they change the record too often, and is
// stored as soon as the store takes it. What the device holds is the device's to
// report; the record only says what it should hold.
package job

import (
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"simplebit/wire/control"
)

// Errors that callers tell apart with errors.Is. The text of the wrapping
// error says what to do.
var (
	ErrNotFound = errors.New("not found")
	ErrConflict = errors.New("conflict")
	ErrInvalid  = errors.New("invalid")
)

// InfoHash is a v1 info-hash (BEP 3). Its text form is hexadecimal.
type InfoHash [20]byte

// String returns the 40 hexadecimal digits.
func (h InfoHash) String() string { return hex.EncodeToString(h[:]) }

// MarshalText returns the hexadecimal form.
func (h InfoHash) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// UnmarshalText reads the hexadecimal form.
func (h *InfoHash) UnmarshalText(b []byte) error {
	if len(b) != 2*len(h) {
		return fmt.Errorf("info-hash of %d characters, want 40", len(b))
	}
	_, err := hex.Decode(h[:], b)
	return err
}

// Record is the durable part of a job: the wish and what a restart needs.
type Record struct {
	ID       string     // 8 characters, base32
	InfoHash InfoHash   //
	Name     string     // from the torrent, else the magnet, else the info-hash
	DeviceID string     //
	Tiers    [][]string `json:",omitempty"` // tiers (BEP 12)
	Peers    []string   `json:",omitempty"` // host:port, from the magnet's x.pe
	Added    time.Time
	Options  Options  `json:",omitzero"`
	Choices  []Choice `json:",omitempty"` // of files, made before these were known

	// Generation grows with every change of what the device should do.
	Generation uint64
	Paused     bool   `json:",omitempty"`
	Verify     uint64 `json:",omitempty"` // counts requests for a full re-hash
	Removed    bool   `json:",omitempty"` // kept until the device has dropped the torrent
	DeleteData bool   `json:",omitempty"` // with Removed

	// Fault is why the device stopped and the job was paused. Resuming clears it.
	Fault string `json:",omitempty"`
	// Completed is set when the device first had everything.
	Completed bool `json:",omitempty"`
	// Finished is the generation in which the device had seeded as long as asked: a
	// later wish lets it go on.
	Finished uint64 `json:",omitempty"`
}

// finished tells whether the device has done all that the present wish asks.
func (r *Record) finished() bool { return r.Finished == r.Generation }

// State is where a job stands.
type State string

// The states of a job.
const (
	StateMetadata    State = "metadata"    // the info dictionary is being fetched
	StateWaiting     State = "waiting"     // for the device to come online or to take the layout
	StateChecking    State = "checking"    // the device hashes what is on its disk
	StateDownloading State = "downloading" //
	StateSeeding     State = "seeding"     // everything wanted is there and verified
	StateFinished    State = "finished"    // it has also been seeded as long as asked
	StatePaused      State = "paused"      // by a person, or by Fault
	StateFailed      State = "failed"      // cannot go on without a person
	StateRemoving    State = "removing"    // the device has not yet dropped it
)

// View is a job at one moment. It is immutable.
type View struct {
	Record
	SwarmStatus // zero while the job takes no part in the swarm
	State       State
	Message     string // one plain sentence: what the job does or waits for
	Private     bool
	Size        int64 // bytes without padding; 0 while unknown
	On          Device
	Progress    control.Progress // the device's last report; its ID is zero before the first

	hasInfo bool
	member  Member // nil while the job takes no part in the swarm
	joined  time.Time
}

// Device is what the job needs to know of its device.
type Device struct {
	ID      string
	Name    string
	Online  bool
	Revoked bool
}
