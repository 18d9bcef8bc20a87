package discovery

import (
	"net/netip"
	"slices"
	"time"

	"simplebit/nat"
	"simplebit/nat/stun"
)

// MaxDatagrams is the most datagrams of one discovery, retransmissions included.
const MaxDatagrams = 60

// socketID is one of the sockets.
type socketID uint8

const (
	mainSocket socketID = iota
	mapper
	filterer
	silent1
	silent2
	silent3
	sockets // their number
)

// test is one thing to find out.
type test uint8

const (
	map1      test = iota // mapper, S1p1
	map2                  // S1p2
	map3                  // S2p1
	map4                  // S2p2
	reflexive             // main, S1p1
	fresh                 // filterer, S1p1
	filterBoth
	filterPort
	reach // main, by S2p2, or by S1p2 where there is only one address
	quiet1
	quiet2
	quiet3
	hairpin
	hop
	alive1
	alive2
	alive3
	tests // their number
)

// String is the test's name in transcripts and logs.
func (t test) String() string {
	return [...]string{"map1", "map2", "map3", "map4", "reflexive", "fresh", "filter-both", "filter-port", "reach",
		"quiet1", "quiet2", "quiet3", "hairpin", "hop", "alive1", "alive2", "alive3"}[t]
}

// reply is how a test ended.
type reply uint8

const (
	unknown  reply = iota // not asked yet, or nothing can be concluded
	answered              // what was asked for came
	silence               // it did not
)

// progress is how far a test is.
type progress uint8

const (
	waiting progress = iota
	running
	over
)

// trial is what is known of one test.
type trial struct {
	progress progress
	reply    reply
	mapped   netip.AddrPort // where the server sees the socket
	local    uint16         // the socket's own port
	reserved int            // datagrams, while it runs
	at       time.Time      // when it was over
}

// action is a test to carry out, whose outcome is told to done.
type action struct {
	test    test
	from    socketID
	hears   socketID       // the answer must arrive there
	to      netip.AddrPort // a server, or the hairpin's end
	options stun.Options   // without Via
	profile stun.Profile   // of hairpin and hop: Tries datagrams, First apart, then Last to wait
}

// outcome is how an action ended.
type outcome struct {
	reply  reply
	mapped netip.AddrPort // of questions
	other  netip.AddrPort // likewise: the server's other address and port, if it told them
	local  uint16         // port of the socket that asked
	hop    hopSeen
	sent   int // datagrams, at most the profile's Tries
}

// silences is for how long mappings are left alone before they are looked at: what home routers and carriers have is mostly
// 30, 60 or 120 s.
var silences = [3]time.Duration{25 * time.Second, time.Minute, 115 * time.Second}

// hopSeen is what routers told of themselves, by saying that the TTL of a datagram was exceeded.
type hopSeen struct {
	who    netip.Addr // the second one
	from   netip.Addr // the device's own address
	public int        // which is the first one with a public address; 0: it is not known
}

// machine decides what is asked when. It has no clock and does no I/O.
type machine struct {
	servers  servers
	own      []netip.Addr
	works    bool
	met      []netip.Addr
	silences [3]time.Duration

	trials [tests]trial
	hop    hopSeen
	rtt    time.Duration // the longest so far
	began  [tests]time.Time
	left   int // datagrams that may still be sent
}

func newMachine(c Config) *machine {
	m := &machine{servers: sortServers(c.Servers), works: c.Works, silences: silences, left: MaxDatagrams}
	for _, a := range c.Own {
		m.own = append(m.own, a.Unmap().WithZone(""))
	}
	for _, a := range c.Met {
		m.met = append(m.met, a.Unmap())
	}
	if c.silences != ([3]time.Duration{}) {
		m.silences = c.silences
	}
	return m
}

// poll returns what is to be done now. Actions are carried out side by side.
func (m *machine) poll(now time.Time) (do []action) {
	for again := true; again; {
		again = false
		for t := range tests {
			if m.trials[t].progress != waiting || !m.due(now, t) {
				continue
			}
			a, ok := m.action(t)
			if !ok || !m.reserve(&a) {
				m.trials[t].progress = over
				again = true // others may have waited for it
				continue
			}
			m.trials[t].progress, m.trials[t].reserved, m.began[t] = running, a.profile.Tries, now
			do = append(do, a)
		}
	}
	return do
}

// reserve sets the datagrams aside that the action may take. Who is not heard in fewer than were wanted need not be silent, so a
// doubtful test is left out then.
func (m *machine) reserve(a *action) bool {
	if a.test.doubtful() && m.left < a.profile.Tries {
		return false
	}
	a.profile.Tries = min(a.profile.Tries, m.left)
	m.left -= a.profile.Tries
	return a.profile.Tries > 0
}

// doubtful says whether silence would be a verdict.
func (t test) doubtful() bool {
	switch t {
	case filterBoth, filterPort, reach, hairpin, alive1, alive2, alive3:
		return true
	}
	return false
}

// done notes how an action ended.
func (m *machine) done(now time.Time, t test, o outcome) {
	r := &m.trials[t]
	m.left += r.reserved - min(o.sent, r.reserved)
	*r = trial{progress: over, reply: o.reply, mapped: o.mapped, local: o.local, at: now}
	switch {
	case t == hop:
		m.hop = o.hop
	case o.reply == answered && o.mapped.IsValid():
		m.rtt = max(m.rtt, now.Sub(m.began[t]))
	}
	if t == map1 && o.reply == answered {
		m.servers.learn(o.other)
	}
}

// wake is when poll must be called again though nothing ended; zero: never.
func (m *machine) wake() time.Time {
	if !m.settled() {
		return time.Time{}
	}
	for i := range m.silences {
		switch m.trials[alive1+test(i)].progress {
		case waiting:
			return m.silenceEnds(i)
		case running: // the later ones depend on it
			return time.Time{}
		}
	}
	return time.Time{}
}

func (m *machine) silenceEnds(i int) time.Time {
	return m.trials[quiet1+test(i)].at.Add(m.silences[i])
}

// settled reports whether all but the lifetime is known.
func (m *machine) settled() bool {
	return !slices.ContainsFunc(m.trials[:alive1], func(r trial) bool { return r.progress != over })
}

// finished reports whether all is known.
func (m *machine) finished() bool {
	return !slices.ContainsFunc(m.trials[:], func(r trial) bool { return r.progress != over })
}

// heard reports whether anybody has answered.
func (m *machine) heard() bool {
	return slices.ContainsFunc(m.trials[:alive1], func(r trial) bool { return r.reply == answered && r.mapped.IsValid() })
}

// result is what is known so far.
func (m *machine) result() Result {
	r := Result{Reflexive: m.trials[reflexive].mapped, Datagrams: MaxDatagrams - m.left}
	for _, t := range m.trials {
		r.Datagrams -= t.reserved // not sent, or not told yet
	}
	if !m.heard() {
		r.Behaviour.Blocked = m.settled() && !m.works
		return r
	}
	r.Behaviour = m.verdict()
	r.OpenerTTL = m.hop.public
	return r
}

// public reports whether the device's own address is the one that is seen.
func (m *machine) public() nat.Answer {
	for _, t := range m.trials {
		if t.mapped.IsValid() {
			return yesIf(slices.Contains(m.own, t.mapped.Addr()))
		}
	}
	return nat.Unsure
}
