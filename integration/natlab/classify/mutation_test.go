//go:build linux

package classify

import (
	"slices"
	"strings"
	"testing"

	"simplebit/integration/natlab"
)

// load gives more rules to the home's router, or to the carrier.
func (s *scene) load(t *testing.T, carrier bool, rules string) {
	t.Helper()
	command := s.router.Command
	if carrier {
		command = s.before.Command
	}
	cmd := command(t.Context(), "nft", "-f", "-")
	cmd.Stdin = strings.NewReader(rules)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

func TestAKindThatLostWhatMakesItIsNotTakenForIt(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		at          place
		behind      bool // the rules are the carrier's
		rules, says string
	}{
		"bare with a firewall": {place{kind: natlab.Bare}, false, `table ip spoil { chain input {
			type filter hook input priority filter; policy accept; iifname "wan0" ct state new drop; }; }`, "so?, natlab EI/APD pKhdr So?"},
		"mapping that opens nothing": {place{kind: natlab.Mapping}, false, `table ip spoil { chain forward {
			type filter hook forward priority filter - 1; policy accept; iifname "wan0" ct state new drop; }; }`, "so?, natlab EI/APD pKhdr sO?"},
		"mapping that does not answer": {place{kind: natlab.Mapping}, false, `table ip spoil { chain input {
			type filter hook input priority filter - 1; policy accept; udp dport 5351 drop; }; }`, "so?, natlab EI/APD pKhdr sO?"},
		"a carrier that hairpins no more": {place{natlab.PortRestricted, true, true}, true, "flush chain ip natlab pre", "son, natlab EI/APD pkhDr soN"},
		"a carrier that does not send back": {place{natlab.PortRestricted, true, true}, true, `table ip spoil { chain forward {
			type filter hook forward priority filter - 1; policy accept; iifname "to-next" oifname "to-home" drop; }; }`, "son, natlab EI/APD pkhDr soN"},
		"dual stack without its firewall": {place{kind: natlab.DualStack}, false, "flush ruleset ip6", "by IPv6 EI/EI PKHdR, natlab"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := c.at.scene(t)
			s.load(t, c.behind, c.rules)
			r, err := s.row(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if !slices.ContainsFunc(r.Wrong, func(w string) bool { return strings.HasPrefix(w, "kernel says") && strings.Contains(w, c.says) }) {
				t.Errorf("wrong is %q, want the kernel's %q", r.Wrong, c.says)
			}
		})
	}
}

func TestAVirtualKindIsNotTakenForAnother(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ is, called place }{
		"bare":          {place{kind: natlab.PortRestricted}, place{kind: natlab.Bare}},
		"mapping":       {place{kind: natlab.PortRestricted}, place{kind: natlab.Mapping}},
		"cgnat-hairpin": {place{natlab.PortRestricted, true, false}, place{natlab.PortRestricted, true, true}},
		"cgnat":         {place{natlab.PortRestricted, true, true}, place{natlab.PortRestricted, true, false}},
		"dual-stack":    {place{kind: natlab.PortRestricted}, place{kind: natlab.DualStack}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := c.called.scene(t)
			want := Verdict{Behaviour: s.router.Expect(), Marks: s.router.Marks()}
			*s.place = c.is
			got, err := s.verdict(t.Context(), s.inVirtual)
			if err != nil || got.Behaviour != want.Behaviour || got.Marks == want.Marks {
				t.Errorf("%v: it is %+v, which must differ in its marks from %+v", err, got, want)
			}
		})
	}
}
