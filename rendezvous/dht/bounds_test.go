package dht

import (
	"encoding/binary"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
)

// when is the time at which the cores start.
var when = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

// addr4 is the i-th address of as many /24 networks.
func addr4(i int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 18 + byte(i>>16), byte(i >> 8), byte(i)}), 6881)
}

// far is an id that has n leading bits in common with the id of zeros, and is otherwise random enough.
func far(n, i int) (id [20]byte) {
	id[n/8] = 0x80 >> (n % 8)
	binary.BigEndian.PutUint32(id[16:], uint32(i))
	return id
}

func TestAHostIsAnsweredFiftyTimesInTenSeconds(t *testing.T) {
	var q quota
	count := func(n int, addr func(int) netip.Addr, now time.Time) (taken int) {
		for i := range n {
			if q.take(addr(i), now) {
				taken++
			}
		}
		return taken
	}
	one := func(int) netip.Addr { return addr4(1).Addr() }
	subnet := func(i int) netip.Addr {
		return netip.MustParseAddr(fmt.Sprintf("2001:db8:0:1::%x", i+1)) // one customer
	}
	all := func(i int) netip.Addr { return addr4(i).Addr() }
	if n := count(1000, one, when); n != quotaHost {
		t.Errorf("a host was answered %d times", n)
	}
	if n := count(1000, subnet, when); n != quotaHost {
		t.Errorf("a /64 was answered %d times", n)
	}
	if n := count(10000, all, when.Add(5*time.Second)); n != quotaAll-2*quotaHost {
		t.Errorf("10,000 hosts were answered %d times", n)
	}
	if len(q.hosts) > quotaAll {
		t.Errorf("%d hosts are remembered", len(q.hosts))
	}
	if n := count(1000, one, when.Add(quotaWindow)); n != quotaHost {
		t.Errorf("after ten seconds the host was answered %d times", n)
	}
}

func TestTokensAreForOneAddressAndAFewMinutes(t *testing.T) {
	tokens, others := newTokens(), newTokens()
	a := addr4(1).Addr()
	token := tokens.issue(a, when)
	for _, c := range []struct {
		what  string
		valid bool
		want  bool
	}{
		{"at once", tokens.valid(token, a, when), true},
		{"after five minutes", tokens.valid(token, a, when.Add(5*time.Minute)), true},
		{"after ten minutes", tokens.valid(token, a, when.Add(10*time.Minute)), false},
		{"from another address", tokens.valid(token, addr4(2).Addr(), when), false},
		{"of another node", others.valid(token, a, when), false},
		{"without one", tokens.valid("", a, when), false},
	} {
		if c.valid != c.want {
			t.Errorf("a token is valid %s: %v", c.what, c.valid)
		}
	}
}

func TestNobodyFillsTheTable(t *testing.T) {
	for _, c := range []struct {
		who  string
		node func(i int) node
		most int
	}{
		{"one address with many ids", func(i int) node { return node{far(i%160, i+1), addr4(1)} }, 1},
		{"one host with many ports", func(i int) node {
			return node{far(i%160, i+1), netip.AddrPortFrom(addr4(1).Addr(), uint16(i+1))}
		}, 1},
		{"one /64", func(i int) node {
			return node{far(i%160, i+1), netip.AddrPortFrom(netip.MustParseAddr(fmt.Sprintf("2001:db8::%x", i+1)), 6881)}
		}, 1},
		{"one /24", func(i int) node { return node{far(i%160, i+1), addr4(i % 256)} }, perNetwork},
		{"ids of one bucket", func(i int) node { return node{far(3, i+1), addr4(i << 8)} }, perBucket},
		{"our id", func(i int) node { return node{[20]byte{}, addr4(i << 8)} }, 0},
	} {
		contacts := newContacts([20]byte{})
		admitted := 0
		for i := range 500 {
			if contacts.met(c.node(i), when) {
				admitted++
			}
		}
		if admitted != c.most || contacts.good(when) != c.most {
			t.Errorf("%s: %d were let in and %d are there, want %d", c.who, admitted, contacts.good(when), c.most)
		}
	}
}

func TestNodesThatFellSilentMakeRoom(t *testing.T) {
	contacts := newContacts([20]byte{})
	for i := range perBucket {
		contacts.met(node{far(0, i+1), addr4(i << 8)}, when.Add(time.Duration(i)*time.Second))
	}
	newcomer, later := node{far(0, 99), addr4(99 << 8)}, when.Add(goodFor)
	if contacts.met(newcomer, later.Add(-time.Second)) {
		t.Error("a newcomer displaced a good node")
	}
	if !contacts.met(newcomer, later) {
		t.Error("a newcomer was refused though a node has fallen silent")
	}
	if contacts.has(addr4(0).Addr()) || !contacts.has(addr4(1<<8).Addr()) {
		t.Error("not the node that fell silent first made room")
	}
	// Another client at the same address takes over when the one before has fallen silent.
	if !contacts.met(node{far(1, 7), addr4(1 << 8)}, later.Add(time.Second)) {
		t.Error("a node with a new id was refused")
	}
	if got := contacts.good(later.Add(goodFor - 1)); got != 2 {
		t.Errorf("%d nodes are good, want 2", got)
	}
}

func TestTheClosestGoodNodesAreNamed(t *testing.T) {
	contacts := newContacts([20]byte{})
	for i := range 40 {
		n := node{far(i, 1), addr4(i << 8)}
		contacts.met(n, when.Add(time.Duration(i%2)*time.Minute))
	}
	var want []node
	for i := 39; len(want) < perAnswer; i -= 2 {
		want = append(want, node{far(i, 1), addr4(i << 8)})
	}
	if got := contacts.closest([20]byte{}, when.Add(goodFor)); !slices.Equal(got, want) {
		t.Errorf("named are %v, want %v", got, want)
	}
}

func TestAnnouncedPeersAreBounded(t *testing.T) {
	hash := func(i int) [20]byte { return far(i%150, i) }
	for _, c := range []struct {
		what string
		add  func(i int) ([20]byte, netip.AddrPort)
		want int
	}{
		{"one peer again and again", func(int) ([20]byte, netip.AddrPort) { return hash(1), addr4(1) }, 1},
		{"peers of one torrent", func(i int) ([20]byte, netip.AddrPort) { return hash(1), addr4(i) }, perHash},
		{"torrents of one host", func(i int) ([20]byte, netip.AddrPort) { return hash(i), addr4(1) }, perHost},
		{"torrents", func(i int) ([20]byte, netip.AddrPort) { return hash(i), addr4(i) }, maxHashes},
		{"all", func(i int) ([20]byte, netip.AddrPort) { return hash(i % 1000), addr4(i) }, maxAnnounced},
	} {
		s := newAnnounced([20]byte{})
		for i := range 30000 {
			hash, peer := c.add(i)
			s.add(hash, peer, when)
		}
		total := 0
		for _, swarm := range s.swarms {
			total += len(swarm)
		}
		// A torrent makes room as a whole.
		if total > c.want || total < c.want-c.want/100 || s.total != total {
			t.Errorf("%s: %d peers are kept and %d counted, want %d", c.what, total, s.total, c.want)
		}
	}
}

func TestTorrentsCloseToUsDisplaceOthers(t *testing.T) {
	s := newAnnounced([20]byte{})
	for i := range maxHashes {
		s.add(far(10, i), addr4(i), when)
	}
	if s.add(far(9, 0), addr4(0), when) {
		t.Error("a torrent that is farther displaced another")
	}
	if !s.add(far(11, 0), addr4(0), when) || len(s.swarms) != maxHashes {
		t.Error("a torrent that is closer found no room")
	}
}

func TestAnnouncedPeersAreForgotten(t *testing.T) {
	s := newAnnounced([20]byte{})
	s.add(id('a'), addr4(1), when)
	s.add(id('a'), addr4(2), when.Add(10*time.Minute))
	if got := s.peers(id('a'), 100, when.Add(30*time.Minute)); !slices.Equal(got, []netip.AddrPort{addr4(2)}) {
		t.Errorf("after half an hour there are %v", got)
	}
	s.add(id('b'), addr4(3), when.Add(time.Hour))
	if len(s.swarms) != 1 || s.total != 1 || len(s.hosts) != 1 {
		t.Errorf("after an hour there are %d torrents, %d peers, %d hosts", len(s.swarms), s.total, len(s.hosts))
	}
}

func TestOurAddressIsWhatMostNetworksSay(t *testing.T) {
	truth, lie := netip.MustParseAddr("198.18.1.2"), netip.MustParseAddr("198.18.66.6")
	var v votes
	say := func(n, first int, a netip.Addr) {
		for i := range n {
			v.vote(addr4((first+i)<<8).Addr(), a)
		}
	}
	say(leastVote-1, 0, truth)
	if got := v.elected(); got.IsValid() {
		t.Errorf("%d voices elected %v", leastVote-1, got)
	}
	for range 100 {
		v.vote(addr4(500<<8).Addr(), lie) // one network has one voice
	}
	say(leastVote, 0, truth)
	if got := v.elected(); got != truth {
		t.Errorf("elected is %v", got)
	}
	say(1000, 1000, lie)
	if len(v.voices) != maxVoters {
		t.Errorf("%d voices are remembered", len(v.voices))
	}
}

func TestAnAnswerIsTakenOnceAndInTime(t *testing.T) {
	var a asked
	q := question{addr4(1), "ours"}
	a.add(q, "theirs", when)
	if _, ok := a.take(question{addr4(2), "ours"}, when); ok {
		t.Error("another node answered")
	}
	if _, ok := a.take(question{addr4(1), "other"}, when); ok {
		t.Error("another transaction was answered")
	}
	if got, ok := a.take(q, when); !ok || got != "theirs" {
		t.Errorf("the answer is for %q, %v", got, ok)
	}
	if _, ok := a.take(q, when); ok {
		t.Error("the answer was taken twice")
	}
	for i := range maxAsked + 10 {
		if ok := a.add(question{addr4(i), "x"}, "y", when); ok != (i < maxAsked) {
			t.Fatalf("question %d was taken: %v", i, ok)
		}
	}
	if _, ok := a.take(question{addr4(5), "x"}, when.Add(answerFor)); ok {
		t.Error("an answer was taken too late")
	}
	if !a.add(q, "theirs", when.Add(answerFor)) || len(a.open) != 1 {
		t.Errorf("after %v %d questions are open", answerFor, len(a.open))
	}
}

func TestRefusalsDoNotFillTheLog(t *testing.T) {
	var log strings.Builder
	r := refused{log: slog.New(slog.NewTextHandler(&log, nil))}
	for i := range 1000 {
		r.note(becauseUnasked, addr4(i), when.Add(time.Duration(i)*time.Second))
	}
	if got := strings.Count(log.String(), "\n"); got != 2 || !strings.Contains(log.String(), "times=600") {
		t.Errorf("1000 refusals in 1000 s are logged as %d lines: %s", got, &log)
	}
}
