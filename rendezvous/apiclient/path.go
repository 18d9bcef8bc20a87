package apiclient

import "time"

// Path is how a job's target and another device that holds the torrent stand to each other.
type Path struct {
	Device   string    `json:"device" doc:"the other device's name"`
	State    string    `json:"state" enum:"waiting,trying,path,connected,hopeless,relayed" doc:"waiting for the next attempt or for what it needs; trying now; there is a path that was punched; connected otherwise; no way between their networks; or the surrogate carries what the two say, and attempts go on unless there is no way"`
	Why      string    `json:"why" doc:"why the state is what it is, in a few words; empty where the attempts say it"`
	Next     time.Time `json:"next,omitzero" doc:"while it waits after a failure: no attempt comes before, unless a network changes"`
	Attempts []Attempt `json:"attempts" nullable:"false" doc:"the latest attempts between the two, for whatever torrent, the oldest first; a restart of the surrogate forgets them"`
}

// Attempt is one attempt to make a path by hole punching. All but Began, Outcome, Controlling, Try and Told is the target's own
// account, zero until it gives one.
type Attempt struct {
	Began       time.Time `json:"began" doc:"when both devices were asked for it"`
	Outcome     string    `json:"outcome" enum:"pending,connected,failed,impossible,busy,silent,lost,unused,replaced" doc:"by the word of both devices; silent: one told nothing; lost, unused: there was a path; replaced: there is a newer one"`
	Controlling bool      `json:"controlling" doc:"whether the target decided on the path"`
	Try         int       `json:"try" doc:"how many attempts had failed before, in a row"`
	Method      string    `json:"method" doc:"what was done: 'known addresses', or how ports were guessed"`
	Remote      string    `json:"remote" doc:"IP:PORT of the other device on the path; empty: there was none"`
	LAN         bool      `json:"lan" doc:"the path stays within a private network"`
	RTT         int64     `json:"rtt_us" doc:"microseconds of a round trip on the path"`
	Took        int64     `json:"took_ms" doc:"milliseconds from the beginning until it was decided"`
	Why         string    `json:"why" doc:"why this path, or none, in a few words"`
	Told        bool      `json:"told" doc:"whether the target has given its account"`
	Ended       string    `json:"ended" doc:"of a path that is lost: why it was, in a few words"`
	Kept        int64     `json:"kept_s" doc:"seconds from when it was made until it was lost; 0: not known"`
	Tries       []Try     `json:"tries" nullable:"false" doc:"the addresses that were tried, in their order"`
	Others      int       `json:"others" doc:"datagrams to guessed ports of which nothing was heard"`
}

// Try is what became of one address in an attempt. Times are milliseconds since the beginning, -1: never.
type Try struct {
	Addr      string `json:"addr" doc:"IP:PORT"`
	Kind      string `json:"kind" enum:"host,mapped,reflexive,learned,unknown" doc:"how the address was known: as the other device told, or learned on the way"`
	Began     int64  `json:"began_ms" doc:"the first datagram went there; -1: never"`
	Heard     int64  `json:"heard_ms" doc:"the other device was heard from there; -1: never"`
	Answered  int64  `json:"answered_ms" doc:"it answered from there; -1: never"`
	Datagrams int    `json:"datagrams" doc:"that went there"`
}
