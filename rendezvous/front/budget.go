package front

import (
	"net/netip"
	"sync"
	"time"
)

// budget shares the handshakes that may be in progress, and begun per second, among all presences. Each gets one in its turn,
// and none may have more than nine times what is still free: so one alone gets nine tenths, and whoever comes later finds
// some free at once, however many dead addresses the others wait for.
type budget struct {
	mu       sync.Mutex
	max      int
	begun    []time.Time // the last handshakes, as many as may begin in a second
	at       int         // the oldest of them
	inFlight int
	claims   []*claim
	turn     int
	timer    *time.Timer
	held     map[netip.AddrPort][]*claim // who waits for each address with which a handshake is in progress
}

// greed is how many times what is free one claim may have.
const greed = 9

// claim is one presence's part in a budget.
type claim struct {
	budget   *budget
	ready    chan struct{} // gets a value when something was granted, or freed
	wanted   int
	granted  int              // and not taken
	inFlight int              // with those granted
	again    []netip.AddrPort // freed, and not told of yet
}

func newBudget(inProgress, perSecond int) *budget {
	return &budget{max: inProgress, begun: make([]time.Time, perSecond), held: map[netip.AddrPort][]*claim{}}
}

// join enters a claim that wants nothing yet.
func (b *budget) join() *claim {
	b.mu.Lock()
	defer b.mu.Unlock()
	c := &claim{budget: b, ready: make(chan struct{}, 1)}
	b.claims = append(b.claims, c)
	return c
}

// want says how many handshakes c would begin now, beyond those granted. It does not add up.
func (c *claim) want(n int) {
	b := c.budget
	b.mu.Lock()
	defer b.mu.Unlock()
	c.wanted = max(0, n-c.granted)
	if c.wanted > 0 {
		b.run()
	}
}

// take reports whether c may begin a handshake. It says done when that is over, or when it began none.
func (c *claim) take() bool {
	b := c.budget
	b.mu.Lock()
	defer b.mu.Unlock()
	if c.granted == 0 {
		return false
	}
	c.granted--
	return true
}

// done gives back what was taken.
func (c *claim) done() {
	b := c.budget
	b.mu.Lock()
	defer b.mu.Unlock()
	c.inFlight--
	b.inFlight--
	b.run()
}

// leave ends the claim. What it has taken and not given back comes back by done, as always.
func (c *claim) leave() {
	b := c.budget
	b.mu.Lock()
	defer b.mu.Unlock()
	for i, o := range b.claims {
		if o == c {
			b.claims = append(b.claims[:i], b.claims[i+1:]...)
			break
		}
	}
	c.inFlight -= c.granted
	b.inFlight -= c.granted
	c.granted, c.wanted = 0, 0
	b.run()
}

// run grants what can be granted now, and comes back when more can.
func (b *budget) run() {
	for _, c := range b.grant(time.Now()) {
		c.wake()
	}
	if b.timer != nil {
		b.timer.Stop()
		b.timer = nil
	}
	if free := b.begun[b.at].Add(time.Second); b.wanted() && b.inFlight < b.max {
		b.timer = time.AfterFunc(time.Until(free), func() {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.run()
		})
	}
}

// wanted reports whether a claim could take more if the rate permitted.
func (b *budget) wanted() bool {
	for _, c := range b.claims {
		if b.may(c) {
			return true
		}
	}
	return false
}

func (b *budget) may(c *claim) bool {
	return c.wanted > 0 && c.inFlight < greed*(b.max-b.inFlight)
}

// grant gives each claim in turn one handshake, as long as there are any, and returns those that got some.
func (b *budget) grant(now time.Time) (got []*claim) {
	for skipped := 0; skipped < len(b.claims) && now.Sub(b.begun[b.at]) >= time.Second; {
		b.turn = (b.turn + 1) % len(b.claims)
		c := b.claims[b.turn]
		if !b.may(c) {
			skipped++
			continue
		}
		skipped = 0
		b.begun[b.at] = now
		b.at = (b.at + 1) % len(b.begun)
		b.inFlight++
		c.inFlight++
		c.wanted--
		c.granted++
		got = append(got, c)
	}
	return got
}
