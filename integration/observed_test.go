//go:build linux

package integration

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"simplebit/integration/natlab"
	"simplebit/rendezvous/apiclient"
)

func TestADeviceLearnsThatItsRouterHasGotAnotherAddress(t *testing.T) {
	t.Parallel()
	s := newSuburb(t)
	router, pc := s.home("home", natlab.RouterConfig{})
	s.untilKnown(pc, "it is known", known)
	first := netip.AddrPortFrom(router.External(), 6882)
	was, err := pc.Status()
	s.ok(err)
	if was.Observed != first.String() {
		t.Fatalf("the device is seen at %s, its router is at %s", was.Observed, first)
	}
	s.ok(router.Renumber())
	renewed := netip.AddrPortFrom(router.External(), 6882)
	begin := time.Now()

	// An agent that has nothing to say sends a datagram every 25 s; until then nobody can know.
	s.until("the status and the surrogate show the new address", patience, func() bool {
		st, err := pc.Status()
		d := s.device(pc)
		return err == nil && st.Observed == renewed.String() && slices.Contains(st.Network.Candidates, "reflexive "+renewed.String()) &&
			!slices.Contains(st.Network.Candidates, "reflexive "+first.String()) &&
			d.Addr == renewed.String() && d.Network != nil &&
			slices.Contains(d.Network.Candidates, apiclient.Candidate{Kind: "reflexive", Addr: renewed.String()})
	})
	t.Logf("known after %s", time.Since(begin).Round(time.Millisecond))
	s.until("it is found out anew what the device sits behind", patience, func() bool {
		st, err := pc.Status()
		return err == nil && st.Network.Checked.After(was.Network.Checked) && st.Network.Mapping == was.Network.Mapping && st.Since.Equal(was.Since)
	})
}
