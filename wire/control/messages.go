package control

import (
	"fmt"
	"net/netip"
)

// Message is one frame. The types of this package that have a number in docs/control.cddl are all there are: Hello,
// Welcome, Refused, Progress, Synced, Gone, Assign, Unassign, Candidates, Unusable, Network, Punch, Punched, Observed,
// Relay, LayoutHeader and LayoutFiles. Readers return values, never pointers.
type Message interface {
	// wire returns what is encoded, or says which field breaks which limit.
	wire() (any, error)
}

// Hello is the agent's first frame on the session stream.
type Hello struct {
	Version  uint64 // highest version that the agent speaks
	Software string // program and version, at most MaxName bytes
	Name     string // device name that the agent wishes for, at most MaxName bytes
	Token    string // the invite's token when the device joins, else empty; at most MaxToken bytes
	Port     uint16 // where the agent accepts peers (TCP and UDP); 0: it does not
}

// Welcome accepts a Hello. Only now has a device joined: a TLS 1.3 client has finished its handshake before the server
// can refuse it.
type Welcome struct {
	Version  uint64         // version in force, at most the agent's
	Software string         // the surrogate's program and version, at most MaxName bytes
	Name     string         // device name in force, at most MaxName bytes
	Observed netip.AddrPort // where the surrogate sees the agent; zero: it cannot tell

	// STUN is where the surrogate answers STUN (RFC 5389), the endpoint that the agent dialled first; at most MaxSTUN,
	// ports above 0. An unspecified address stands for the one that the agent dialled, whatever its family: a surrogate
	// need not know its own.
	STUN []netip.AddrPort

	TCP uint16 // port of the same host where the surrogate takes this protocol over TCP, for when UDP does not work; 0: nowhere
}

// Observed tells the agent that the surrogate sees it at another address than it was told before, from the surrogate: the
// router in between has got a new one, or the agent is on another network, and the connection has survived it. At most one
// every few seconds.
type Observed struct {
	Addr netip.AddrPort // of one host, port above 0
}

// Refused answers a Hello, or ends a session later (a device is revoked while it is connected). The surrogate closes the
// connection after it.
type Refused struct {
	Code   RefusedCode
	Reason string // one line for people: what to do next; at most MaxText bytes
}

// Error lets an agent return the refusal as it came; test with errors.As.
func (m Refused) Error() string {
	if m.Reason == "" {
		return fmt.Sprintf("the surrogate refused this device (code %d): ask its operator", m.Code)
	}
	return "the surrogate refused this device: " + m.Reason
}

// RefusedCode says why a session is refused. Readers treat a code they do not know as final.
type RefusedCode uint8

// The reasons to refuse a session.
const (
	RefusedUnknown RefusedCode = 1 // the key is not enrolled: join with an invite
	RefusedInvite  RefusedCode = 2 // the token is unknown, used or expired: ask for a new invite
	RefusedRevoked RefusedCode = 3 // the key was revoked: a new key must join
	RefusedVersion RefusedCode = 4 // no common version: update the older program
	RefusedBusy    RefusedCode = 5 // not now: try again later
)

// Progress is the observed state of one torrent, from the agent. After Welcome one follows for each torrent held, then
// Synced; later one whenever it changed, at most one a second for each torrent.
type Progress struct {
	ID         [20]byte // info-hash
	Generation uint64   // of the last Assign that was obeyed; 0: none
	State      State
	Size       int64  // bytes of the torrent without padding; 0 while the layout is missing
	Have       int64  // verified bytes
	Downloaded int64  // payload bytes received over all time
	Uploaded   int64  // payload bytes sent over all time
	DownRate   int64  // bytes/s
	UpRate     int64  // bytes/s
	Error      string // one line for people, empty if all is well; at most MaxText bytes
	Peers      []Peer // live connections, the most important first: writers leave out those after MaxPeers
	Checked    int64  // bytes hashed so far while State is StateChecking
	Partial    int64  // bytes of unfinished pieces

	Selected     int64 // bytes of the wanted files, without padding, when some are skipped; 0: all are wanted
	SelectedHave int64 // verified bytes of those
}

// State is what the agent does with a torrent.
type State uint8

// The states of a torrent on an agent.
const (
	StateLayout      State = 1 // needs the layout: the surrogate sends it
	StateChecking    State = 2 // hashes what is on the disk
	StateDownloading State = 3 // wants pieces
	StateSeeding     State = 4 // has all that is wanted and serves
	StatePaused      State = 5 // paused by an Assign
	StateFailed      State = 6 // stopped; Error says why
	StateFinished    State = 7 // has all that is wanted and has seeded as long as asked: holds no connections
)

// String returns the state in one lower-case word, for logs.
func (s State) String() string {
	words := [...]string{"unknown", "layout", "checking", "downloading", "seeding", "paused", "failed", "finished"}
	if int(s) >= len(words) {
		s = 0
	}
	return words[s]
}

// Peer is one live connection to a remote client.
type Peer struct {
	Addr      netip.AddrPort // zero where there is none to show
	Client    string         // human name of its program, at most MaxName bytes
	Transport string         // "tcp", "utp"; of a relayed one "quic" or "tcp", what the agent's connection to the surrogate runs over
	Path      string         // "dialled", "accepted", "punched", "relayed"
	Down, Up  int64          // payload bytes/s, from and to it
}

// Synced says that the agent has sent a Progress for every torrent it holds.
type Synced struct{}

// Gone says that the agent does not, or no longer, hold a torrent; its files are deleted if that was asked.
type Gone struct {
	ID [20]byte // info-hash
}

// Assign is the desired state of one torrent, from the surrogate. The agent obeys when Generation is above the one it
// has, so an Assign may be repeated, reordered and lost.
type Assign struct {
	ID         [20]byte // info-hash
	Generation uint64   // from 1, larger with every change of the desired state
	Paused     bool     // hold no connections
	Verify     uint64   // counter: a value above the one that the agent has done asks it to hash everything again

	Sequential bool      // pieces in the order of the content
	DownLimit  int64     // payload bytes/s from all peers of this torrent; 0: none
	UpLimit    int64     // payload bytes/s to them; 0: none
	MaxPeers   uint16    // connections of this torrent; 0: the agent decides
	SeedRatio  uint32    // thousandths: seeding ends when uploaded/size of what is wanted reaches it; 0: no such end
	SeedTime   uint32    // seconds of seeding after which it ends; 0: no such end
	Files      []FileRun // priorities in the order of the layout's files with padding; those after the last run are normal
}

// FileRun is the priority of files that follow one another in the layout. The runs of an Assign are at most MaxFileRuns,
// over at most MaxFiles files.
type FileRun struct {
	Count    uint32 // of files, above 0
	Priority FilePriority
}

// FilePriority says when a file's pieces are fetched, if at all. A piece of several files has the highest of theirs.
// Readers treat a priority they do not know as normal.
type FilePriority uint8

// The priorities of files.
const (
	FileNormal FilePriority = 0
	FileSkip   FilePriority = 1 // not wanted
	FileLow    FilePriority = 2 // after normal ones
	FileHigh   FilePriority = 3 // before normal ones
)

// Unassign asks the agent to drop a torrent. Gone answers it, also when nothing was held; a Progress with StateFailed does when
// the agent cannot carry it out.
type Unassign struct {
	ID         [20]byte // info-hash
	DeleteData bool     // delete the downloaded files too
}

// Candidates names addresses at which peers of a torrent may be reached; at most MaxCandidates.
type Candidates struct {
	ID    [20]byte // info-hash
	Peers []Candidate
}

// Candidate is an address at which a peer may be reached.
type Candidate struct {
	Addr netip.AddrPort // valid, port above 0
	Kind CandidateKind
	// Transport and Encrypted are how the surrogate's own handshake succeeded there: to be tried first.
	Transport Transport
	Encrypted bool // MSE
}

// Transport is what carries a peer connection. Readers treat one that they do not know as TransportAny.
type Transport uint8

// The transports.
const (
	TransportAny Transport = 0 // not known which works
	TransportTCP Transport = 1
	TransportUTP Transport = 2 // BEP 29
)

// CandidateKind says how a candidate is to be used. Readers ignore candidates of a kind they do not know.
type CandidateKind uint8

// The kinds of candidates.
const (
	CandidateReachable  CandidateKind = 1 // the surrogate finished a peer handshake there: dial
	CandidateUnverified CandidateKind = 2 // somebody named it: dial, sparingly
)

// Unusable tells the surrogate addresses that it should not send again for a while, from the agent; at most one a second
// for each torrent.
type Unusable struct {
	ID    [20]byte       // info-hash
	Peers []UnusablePeer // at most MaxCandidates
}

// UnusablePeer is an address of no use to the agent.
type UnusablePeer struct {
	Addr   netip.AddrPort // valid, port above 0
	Reason UnusableReason
}

// UnusableReason says why an address is of no use. Readers treat a reason they do not know as UnusableUseless.
type UnusableReason uint8

// The reasons why an address is of no use.
const (
	UnusableUnreachable UnusableReason = 1 // no handshake came about
	UnusableUseless     UnusableReason = 2 // broke the protocol, or has another torrent
	UnusableLied        UnusableReason = 3 // sent corrupt data
)

// LayoutHeader is the first frame of a layout stream (surrogate to agent).
type LayoutHeader struct {
	ID          [20]byte // info-hash
	Name        string   // the torrent's name, at most MaxTorrentName bytes
	PieceLength uint32   // bytes, 1 to MaxPieceLength
	Length      int64    // bytes of all files with padding, above 0
	Files       uint32   // number of files with padding files, 1 to MaxFiles
	Pieces      uint32   // number of pieces: Length / PieceLength rounded up, at most MaxPieces
}

// LayoutFiles is a run of a layout's files, in the torrent's order; at most MaxFrameFiles.
type LayoutFiles struct {
	Files []LayoutFile
}

// LayoutFile is one file of a torrent.
type LayoutFile struct {
	// Path is slash separated and relative, sanitised by the surrogate, and includes the torrent's folder; it has no empty,
	// "." or ".." element. It may be empty for a padding file.
	Path   string
	Length int64 // bytes, 0 or more
	Pad    bool  // padding (BEP 47): zeros that are hashed, never stored and never sent
}
