//go:build linux

package matrix

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"simplebit/rendezvous/apiclient"
)

// Class says by which route the data of a try came.
type Class string

// The classes of routes.
const (
	LAN     Class = "lan"     // all of it, by the devices' own addresses in one home, or within the network of one carrier
	Direct  Class = "direct"  // all of it, otherwise: from one home to the other, or back from a router or carrier (hairpin)
	Relayed Class = "relayed" // the surrogate carried some of it
	None    Class = "none"    // nothing within Patience, not all within as much again, or one of our programs ended by itself
)

// Patience is how long a try waits for the first verified data, and then for the rest.
const Patience = 30 * time.Second

// Try is what became of one try.
type Try struct {
	Pair  string `json:"pair"`
	Index int    `json:"try"`
	Seed  Place  `json:"seed"` // whose device had the content
	Class Class  `json:"class"`
	// First and All are from time zero until the first piece was verified, and all were; 0: never.
	First time.Duration `json:"first_ns"`
	All   time.Duration `json:"all_ns"`
	// Relayed is how much the surrogate carried, in bytes, either way.
	Relayed int64 `json:"relayed_bytes"`
	// Why is what kept the data away, in one line.
	Why string `json:"why,omitempty"`
	// Peers and Paths are the surrogate's account of the device that fetches.
	Peers   []apiclient.Peer `json:"peers,omitempty"`
	Paths   []apiclient.Path `json:"paths,omitempty"`
	Message string           `json:"message,omitempty"`
	// Prepared is how long everything took that came before time zero.
	Prepared time.Duration `json:"prepared_ns"`
}

// classOf is how data came of which the surrogate carried so many bytes, between devices whose connections and paths ended there,
// IP:PORT. It stayed local if all of those lie within the networks, and there is one.
func classOf(relayed int64, within []netip.Prefix, ends []string) Class {
	if relayed > 0 {
		return Relayed
	}
	outside := func(end string) bool {
		at, err := netip.ParseAddrPort(end)
		return err != nil || !slices.ContainsFunc(within, func(p netip.Prefix) bool { return p.Contains(at.Addr().Unmap()) })
	}
	if len(ends) == 0 || slices.ContainsFunc(ends, outside) {
		return Direct
	}
	return LAN
}

// end notes what the try came to: nothing where it failed, or where one of the programs has ended.
func (t *Try) end(err error, programs []*program) {
	for _, p := range programs {
		if p.over() {
			err = p.fate() // the reason of what else went wrong
		}
	}
	if err != nil {
		t.Class, t.Why = None, oneLine(err.Error())
	}
}

// oneLine is a text without line breaks.
func oneLine(s string) string { return strings.ReplaceAll(s, "\n", "; ") }

// Account is the surrogate's account of a try in one line: how the two devices stood to each other in the end, and what was tried.
func (t Try) Account() string {
	var parts []string
	for _, p := range t.Paths {
		part := p.State
		if p.Why != "" {
			part += " (" + p.Why + ")"
		}
		for i, a := range p.Attempts {
			part += fmt.Sprintf("%s %s %s after %d ms: %s", [2]string{":", ";"}[min(i, 1)], a.Method, a.Outcome, a.Took, a.Why)
		}
		parts = append(parts, part)
	}
	return strings.Join(parts, "; ")
}

// Quantile returns the time to the first verified data that so many of the tries were as fast as, 0.5 for the median. It is not
// ok when that many had none.
func Quantile(tries []Try, q float64) (d time.Duration, ok bool) {
	var times []time.Duration
	for _, t := range tries {
		if t.Class != None {
			times = append(times, t.First)
		}
	}
	slices.Sort(times)
	// The nearest rank, among all tries: one without data is slower than all others.
	i := int(q*float64(len(tries))+0.999999) - 1
	if i = max(i, 0); i >= len(times) {
		return 0, false
	}
	return times[i], true
}

// Share returns how many of the tries, in percent, were of the class.
func Share(tries []Try, class Class) float64 {
	n := 0
	for _, t := range tries {
		if t.Class == class {
			n++
		}
	}
	return 100 * float64(n) / float64(max(len(tries), 1))
}
