package control

import (
	"net/netip"
	"time"

	"simplebit/nat"
)

// Punch asks the agent to make a path to another device, from the surrogate, which tells that device the same at the same
// time; Punched answers it. An agent that knows nothing of it skips it, and the other one's attempt fails. Readers of it
// trust the surrogate in what it says of the other device, within these limits; durations are whole milliseconds.
type Punch struct {
	Attempt     [8]byte       // a name that is not used again; not zero
	Key         [16]byte      // what the two prove to each other that they were told; not zero
	Controlling bool          // this device asks first and decides on the path; the other one does not
	In          time.Duration // from the receipt to the moment when both begin, at most MaxPunchIn

	Torrents [][20]byte // info-hashes that both devices hold, what the path is for: 1 to MaxPunchTorrents
	Peer     string     // name of the other device, for people; at most MaxName bytes

	Remote   []nat.Candidate // of the other device, at most nat.MaxCandidates, each an address of one host
	Observed netip.AddrPort  // where the surrogate sees the other device; zero: it cannot tell
	Self     netip.Addr      // where it sees this one; zero: it cannot tell

	Local, Theirs nat.Behaviour // of this device's network and of the other one's, with the limits of Network
	Try           uint16        // attempts between the two that have failed one after the other before

	Hold     time.Duration // for how long the controlling side only opens, at most MaxPunchHold; 0: as nat/punch does
	Deadline time.Duration // from the beginning on, at most MaxPunchDeadline; 0: as nat/punch does
	Sockets  uint16        // most that may be used, at most MaxPunchSockets; 0: that many
	Probes   uint16        // most ports that may be guessed, at most MaxPunchProbes; 0: that many
}

// Punched tells what became of a Punch, from the agent: once when the attempt ends, and once more when the path that it made
// is lost. After Welcome it tells again of each path that is kept. It is for people to read and for the surrogate to
// remember what works: a device that lies in it only harms itself. Writers cut texts and durations to what is said here, other
// durations to MaxPunchTime.
type Punched struct {
	Attempt [8]byte // as in Punch
	Outcome PunchOutcome

	Remote netip.AddrPort // the path, when there is or was one: where the other device is
	LAN    bool           // it stays within a private network
	Socket uint16         // 0 is the one that the agent listens on, others were opened for this; below MaxPunchSockets
	RTT    time.Duration  // whole microseconds

	Took   time.Duration // from the beginning to the outcome, of a lost path to when it was made; whole milliseconds
	Method string        // what was done besides asking at the known addresses, for people; at most MaxName bytes
	Why    string        // that path, or none: a few words for people, at most MaxWhy bytes
	Tries  []PunchTry    // in the order in which they began; writers leave out those after MaxTries
	Others uint16        // datagrams to guessed ports of which nothing was heard

	Kept   time.Duration // of a lost path: how long it was kept; whole seconds, at most MaxPunchKept
	Chosen string        // of a lost path, where Why says why it was lost: why it was chosen; at most MaxWhy bytes
}

// PunchOutcome is what became of an attempt. Readers treat one that they do not know as PunchFailed.
type PunchOutcome uint8

// The outcomes of an attempt.
const (
	PunchConnected  PunchOutcome = 1 // there is a path
	PunchFailed     PunchOutcome = 2 // the deadline passed
	PunchImpossible PunchOutcome = 3 // nothing could work: nothing was sent
	PunchLost       PunchOutcome = 4 // there was a path, it fell silent
	PunchBusy       PunchOutcome = 5 // the agent does enough else: nothing was sent
)

// String returns the outcome in one lower-case word, for logs and the API.
func (o PunchOutcome) String() string {
	words := [...]string{"unknown", "connected", "failed", "impossible", "lost", "busy"}
	if int(o) >= len(words) {
		o = 0
	}
	return words[o]
}

// PunchTry is what became of one address. Durations are from the attempt's beginning, whole milliseconds; PunchNever
// stands for what did not happen.
type PunchTry struct {
	Addr      netip.AddrPort    // valid, port above 0
	Kind      nat.CandidateKind // as Punch told it; 0: it was guessed, or learned from the other side
	Began     time.Duration     // the first datagram went out
	Heard     time.Duration     // the other device was heard from there
	Answered  time.Duration     // and answered
	Datagrams uint16            // that went there
}

// PunchNever stands for what did not happen in the durations of a PunchTry.
const PunchNever time.Duration = -1
