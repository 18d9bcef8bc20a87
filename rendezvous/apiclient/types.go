package apiclient

import "time"

// State is what a job is doing, as one word of the API.
type State string

// The states of a job. A job moves on by itself from StateMetadata to StateSeeding
// and, if its options say so, StateFinished; StatePaused and StateFailed end only by
// a wish of the user.
const (
	StateMetadata    State = "metadata"    // fetching the info dictionary from peers (BEP 9)
	StateWaiting     State = "waiting"     // waiting for the device, which is offline or does not know of the job yet
	StateChecking    State = "checking"    // the device hashes what it has
	StateDownloading State = "downloading" // the device fetches pieces
	StateSeeding     State = "seeding"     // all that is wanted is there; the device uploads
	StateFinished    State = "finished"    // it was also seeded as long as Job.Options say; other options let it go on
	StatePaused      State = "paused"      // by the user, or by an error that Job.Error states
	StateFailed      State = "failed"      // Job.Error says why; only removing or adding again helps
	StateRemoving    State = "removing"    // the device has not yet confirmed that it let go
)

// Job is one wish of a user: one torrent on one target.
type Job struct {
	ID           string    `json:"id" doc:"8 characters of base32, lower case" example:"k3jx7m2q"`
	InfoHash     string    `json:"infohash" doc:"the torrent's info-hash in hexadecimal (BEP 3)" example:"cab507494d02ebb1178b38f2e9d7be299c86b862"`
	Name         string    `json:"name" doc:"the torrent's name; the magnet's, or empty, until the metadata is there"`
	Target       string    `json:"target" doc:"where the content goes: device:NAME" example:"device:attic"`
	TargetOnline bool      `json:"target_online" doc:"whether the target has a session with the surrogate now"`
	State        State     `json:"state" enum:"metadata,waiting,checking,downloading,seeding,finished,paused,failed,removing" doc:"what the job is doing"`
	Message      string    `json:"message" doc:"one plain sentence: what the job is doing or waiting for"`
	Size         int64     `json:"size" doc:"bytes of content; 0 until the metadata is there"`
	Have         int64     `json:"have" doc:"bytes verified on the target"`
	Selected     int64     `json:"selected" doc:"bytes of the wanted files when some are skipped; 0: all are wanted, or the target has not said yet"`
	SelectedHave int64     `json:"selected_have" doc:"verified bytes of the wanted files when some are skipped"`
	Checked      int64     `json:"checked" doc:"bytes hashed by the check that is running; 0 when none is"`
	Downloaded   int64     `json:"downloaded" doc:"payload bytes received over all time"`
	Uploaded     int64     `json:"uploaded" doc:"payload bytes sent over all time"`
	DownRate     int64     `json:"down_rate" doc:"bytes per second received now"`
	UpRate       int64     `json:"up_rate" doc:"bytes per second sent now"`
	Relayed      Relayed   `json:"relayed" doc:"what the surrogate carried between the target and other devices, for want of a path; since it was started"`
	Error        string    `json:"error" doc:"one line: what stopped the job and what to do; empty when nothing did"`
	Added        time.Time `json:"added" doc:"when the job was stored"`
	Private      bool      `json:"private" doc:"the torrent is private (BEP 27)"`
	Options      Options   `json:"options" doc:"how the target goes about it"`
	Choices      []Choice  `json:"choices,omitempty" doc:"of files, by patterns, as long as the files are not known; then they are made, and list-files shows the result"`
	Known        int       `json:"known" doc:"addresses of peers that the surrogate knows"`
	Reachable    int       `json:"reachable" doc:"of these, found by the surrogate to be peers: only these are sent to the target at once"`
	DHT          DHT       `json:"dht" doc:"the search in the distributed hash table (BEP 5)"`
	Peers        []Peer    `json:"peers" nullable:"false" doc:"the target's live connections"`
	Trackers     []Tracker `json:"trackers" nullable:"false" doc:"the trackers that are asked for peers"`
	Paths        []Path    `json:"paths,omitempty" doc:"the other devices that hold the torrent, and what was tried to make a path to each; only of one job, not in lists"`
}

// Relayed is how many bytes of peer connections the surrogate has carried.
type Relayed struct {
	Down int64 `json:"down" doc:"bytes to the target"`
	Up   int64 `json:"up" doc:"bytes from the target"`
}

// Peer is one live connection of a job's target with a remote client.
type Peer struct {
	Addr      string `json:"addr" doc:"the remote address, IP:PORT"`
	Client    string `json:"client" doc:"the remote program's name as it gives it, printable, at most 64 bytes"`
	Transport string `json:"transport" doc:"what carries the connection: tcp or utp; of a relayed one tcp or quic, between the target and the surrogate"`
	Path      string `json:"path" doc:"how the connection came to be: dialled, accepted, punched or relayed"`
	Down      int64  `json:"down" doc:"bytes per second received from it"`
	Up        int64  `json:"up" doc:"bytes per second sent to it"`
}

// Tracker is what one tracker of a job last answered.
type Tracker struct {
	URL       string    `json:"url"`
	Error     string    `json:"error" doc:"why the last announce failed; empty when it did not"`
	Warning   string    `json:"warning" doc:"the warning of the last answer"`
	Seeders   int       `json:"seeders" doc:"complete peers by the tracker's count"`
	Leechers  int       `json:"leechers" doc:"incomplete peers by the tracker's count"`
	Downloads int       `json:"downloads" doc:"complete downloads ever by the tracker's count (BEP 48); 0 when it does not say"`
	Next      time.Time `json:"next,omitzero" doc:"when it is asked next; absent when it is not known"`
}

// DHT is how a job's search in the distributed hash table goes.
type DHT struct {
	Enabled bool      `json:"enabled" doc:"false for a private torrent, while the job takes no part in the swarm, and when the surrogate has no DHT"`
	Nodes   int       `json:"nodes" doc:"nodes of the table that answer"`
	Peers   int       `json:"peers" doc:"peers found by the last search"`
	Error   string    `json:"error" doc:"why the last search failed; empty when it did not"`
	Next    time.Time `json:"next,omitzero" doc:"the next search; absent when it is not known"`
}

// Device is an enrolled agent.
type Device struct {
	ID       string    `json:"id" doc:"the hash of the device's key, in base32"`
	Name     string    `json:"name" doc:"unique; lower-case letters, digits and hyphens, at most 32" example:"attic"`
	Online   bool      `json:"online" doc:"whether it has a session with this surrogate now"`
	Addr     string    `json:"addr" doc:"IP:PORT from which its session comes; empty while it is offline"`
	Control  string    `json:"control,omitempty" enum:"quic,tcp" doc:"what carries its session: quic, or tcp where UDP does not get through; absent while it is offline"`
	Software string    `json:"software" doc:"the agent program and its version; empty while it is offline"`
	Created  time.Time `json:"created" doc:"when it joined"`
	Revoked  bool      `json:"revoked" doc:"whether its key is refused from now on"`
	Network  *Network  `json:"network,omitempty" doc:"what it last told of the network that it sits in; absent until it has, and after a restart of the surrogate until it does again"`
}

// Network is what a device says of the network that it sits in, in RFC 4787's words. Nobody has checked it.
type Network struct {
	Summary       string      `json:"summary" doc:"one plain sentence that goes on from 'the device is'" example:"behind a home router that allows direct connections"`
	Checked       time.Time   `json:"checked" doc:"when the device told it; an offline one keeps what it told last"`
	Blocked       bool        `json:"blocked" doc:"no UDP comes back at all; the rest is unknown then"`
	Public        Answer      `json:"public" enum:"yes,no,unknown" doc:"whether its own address is the one that the internet sees"`
	Mapping       Dependence  `json:"mapping" enum:"endpoint-independent,address-dependent,address and port-dependent,unknown" doc:"what the external port of its UDP socket depends on (RFC 4787 section 4.1)"`
	Filtering     Dependence  `json:"filtering" enum:"endpoint-independent,address-dependent,address and port-dependent,unknown" doc:"whose packets are let in (RFC 4787 section 5): unknown or an upper bound where the surrogate has one public address"`
	PortPreserved Answer      `json:"port_preserved" enum:"yes,no,unknown" doc:"whether the external port is the internal one"`
	PortStep      int         `json:"port_step" doc:"by how much the external ports of successive mappings differ; 0: not sequential, or unknown"`
	Hairpin       Answer      `json:"hairpin" enum:"yes,no,unknown" doc:"whether what it sends to its own external endpoint comes back (RFC 4787 section 6)"`
	Lifetime      int64       `json:"lifetime_seconds" doc:"how long a mapping without traffic lives at least; 0: unknown"`
	Double        Answer      `json:"double_nat" enum:"yes,no,unknown" doc:"whether it sits behind more than one NAT"`
	Reachable     Answer      `json:"reachable" enum:"yes,no,unknown" doc:"whether somebody got through whom it had never sent to"`
	Candidates    []Candidate `json:"candidates" nullable:"false" doc:"addresses at which its UDP socket may be reached, the most direct ones first"`
}

// Answer is "yes", "no" or "unknown".
type Answer string

// Dependence is what a NAT's behaviour depends on, in RFC 4787's words, or "unknown".
type Dependence string

// Candidate is an address at which a device may be reached.
type Candidate struct {
	Kind string `json:"kind" enum:"host,mapped,reflexive" doc:"an address of its own; a port that its router forwards on request; or where STUN servers see it"`
	Addr string `json:"addr" doc:"IP:PORT"`
	TCP  bool   `json:"tcp" doc:"whether it accepts peers there by TCP too"`
}

// Invite lets one device join, once.
type Invite struct {
	URL     string    `json:"url" doc:"for edgeagent join: simplebit://HOST:PORT/?pin=…&token=…; it is a secret"`
	Expires time.Time `json:"expires"`
}

// NewJob asks for a job. Exactly one of Magnet and Torrent is given.
type NewJob struct {
	Magnet  string         `json:"magnet,omitempty" maxLength:"65536" doc:"a magnet link (BEP 9)"`
	Torrent []byte         `json:"torrent,omitempty" doc:"the bytes of a .torrent file, in base64"`
	Target  string         `json:"target" minLength:"1" maxLength:"128" doc:"where the content goes: device:NAME" example:"device:attic"`
	Options *OptionsChange `json:"options,omitempty" doc:"those left out are the defaults"`
	Choices []Choice       `json:"choices,omitempty" maxItems:"100" doc:"which files to fetch; of a magnet only by patterns, which are kept until the files are known"`
}

// Rename asks for a new name of a device.
type Rename struct {
	Name string `json:"name" minLength:"1" maxLength:"32" pattern:"^[a-z0-9][a-z0-9-]*$" patternDescription:"lower-case letters, digits and hyphens" doc:"the wished name" example:"attic"`
}

// Error is a refusal by the surrogate: the body of every answer that is not a
// success, and the error that Client returns for it. Callers get it by
// errors.As.
type Error struct {
	Status  int    `json:"-"` // the HTTP status
	Message string `json:"error" doc:"one line: what was wrong and what to do"`
}

// Error returns the surrogate's line.
func (e *Error) Error() string { return e.Message }
