// Package control is the language between an agent and a surrogate: the messages of the session stream, the layout
// stream, and the keys by which the two know each other. It does no networking of its own: callers bring streams.
//
// A stream carries frames. A frame is a length and one CBOR (RFC 8949) map whose keys are integers:
//
//	 0       1..2      n
//	+-------+---------+--------------------------------------------+
//	| uvarint: length | map: 0 => message type, 1.. => its fields  |
//	|  1..MaxFrame    | shortest form, definite lengths, no tags   |
//	+-------+---------+--------------------------------------------+
//
// The length is an unsigned LEB128 number in its shortest form. A field that is zero, empty or false is left out.
// Versions grow by new types and new keys: readers skip what they do not know, as long as every frame of every version
// keeps to the limits of one decoder: at most 1024 elements an array, 64 pairs a map, 8 levels.
//
// The session stream (opened by the agent) begins with Hello, answered by Welcome or Refused. A layout has a stream of its
// own, opened by the surrogate, on which the agent writes nothing:
//
//	LayoutHeader | LayoutFiles ... (until all files are named) | Pieces × 20 bytes of SHA-1 | end of stream
//
// So has each relayed connection with a peer: Relay, and then what the peer sends, as it is; likewise in the other direction,
// without the frame.
//
// docs/control.cddl documents every message, with examples.
package control

import "time"

// ALPN is the protocol name of TLS (RFC 7301) under which agent and surrogate speak control.
const ALPN = "simplebit/1"

// Version is the protocol version that this package speaks, sent in Hello and Welcome.
const Version = 1

// Limits of the protocol. Lengths of text are in bytes of UTF-8. Writers cut text that is only read by people
// (Software, Name, Reason, Error, Client, Transport, Path, Peer, Method, Why) to its limit; readers refuse what exceeds a limit.
const (
	MaxFrame       = 64 << 10  // bytes of one frame's map, without the length
	MaxName        = 64        // Software, device names, Peer.Client
	MaxWord        = 16        // Peer.Transport and Peer.Path
	MaxText        = 1 << 10   // Refused.Reason, Progress.Error
	MaxToken       = 128       // an invite's token
	MaxPeers       = 256       // peers in one Progress; writers leave out those after
	MaxCandidates  = 500       // candidates in one Candidates, and addresses in one Unusable
	MaxSTUN        = 8         // addresses in Welcome.STUN; writers leave out those after
	MaxStep        = 1<<16 - 1 // Network: ports between successive mappings, up or down
	MaxFileRuns    = 1000      // runs of priorities in one Assign
	MaxTorrentName = 255       // LayoutHeader.Name
	MaxPath        = 4 << 10   // LayoutFile.Path, the whole of it
	MaxPathElement = 255       // LayoutFile.Path, between two slashes
	MaxFrameFiles  = 512       // files in one LayoutFiles
	MaxFiles       = 200_000   // files in one layout
	MaxPieces      = 4 << 20   // pieces in one layout
	MaxPieceLength = 64 << 20  // bytes of one piece
	MaxPathBytes   = 32 << 20  // bytes of all paths of one layout
	maxArray       = 1 << 10   // elements of any CBOR array
	maxPairs       = 64        // pairs of any CBOR map
	maxNesting     = 8         // levels of any CBOR item

	MaxLifetime = 24 * time.Hour // Network: of a mapping without traffic; writers cut it

	MaxPunchTorrents = 16               // info-hashes in one Punch
	MaxPunchIn       = 10 * time.Second // Punch.In
	MaxPunchHold     = 2 * time.Second  // Punch.Hold
	MaxPunchDeadline = 30 * time.Second // Punch.Deadline
	MaxPunchSockets  = 128              // Punch.Sockets
	MaxPunchProbes   = 1024             // Punch.Probes
	MaxPunchTime     = 30 * time.Minute // durations of Punched; writers cut them
	MaxPunchKept     = 365 * 24 * time.Hour
	MaxTries         = 32  // tries in one Punched; writers leave out those after
	MaxWhy           = 256 // Punched.Why; writers cut it
)
