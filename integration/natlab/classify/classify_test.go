//go:build linux

package classify

import (
	"flag"
	"fmt"
	"net/netip"
	"os"
	"testing"
	"time"

	"simplebit/integration/natlab"
)

func TestMain(m *testing.M) {
	// A fuzzing worker talks with its parent by files that Enter does not hand on.
	flag.Parse()
	if flag.Lookup("test.fuzz").Value.String() == "" {
		Enter()
	}
	// Tests wait for what must not come, most of the time.
	if err := flag.Set("test.parallel", "12"); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

// places is every kind alone, and those that differ behind carriers.
func places() map[string]place {
	all := make(map[string]place)
	for _, k := range natlab.Kinds() {
		all[string(k)] = place{kind: k}
	}
	for _, k := range []natlab.Kind{natlab.None, natlab.FullCone, natlab.PortRestricted, natlab.Sequential, natlab.IPv6Open} {
		for _, hairpin := range []bool{false, true} {
			all[fmt.Sprintf("%s behind a carrier, hairpin %v", k, hairpin)] = place{k, true, hairpin}
		}
	}
	return all
}

// scene builds the lab of a place.
func (p place) scene(t *testing.T) *scene {
	t.Helper()
	natlab.Require(t)
	s, err := p.build()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.lab.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// worlds is a place in both worlds.
func (p place) worlds(t *testing.T) (*scene, map[string]World) {
	t.Helper()
	s := p.scene(t)
	k, err := s.kernel(p.only6())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := k.Close(); err != nil {
			t.Error(err)
		}
	})
	v, err := p.virtual(p.only6())
	if err != nil {
		t.Fatal(err)
	}
	return s, map[string]World{"kernel": k, "virtual": v}
}

func TestEveryKindIsWhatItSaysInBothWorlds(t *testing.T) {
	t.Parallel()
	for name, p := range places() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := p.scene(t)
			want := Verdict{Behaviour: s.router.Expect(), Marks: s.router.Marks()}
			for world, in := range map[string]worlds{"kernel": s.inKernel, "virtual": s.inVirtual} {
				if got, err := s.verdict(t.Context(), in); err != nil || got != want {
					t.Errorf("%s: %v\n got %+v\nwant %+v", world, err, got, want)
				}
			}
			if !p.carrier && (want.Behaviour != p.kind.Expect() || want.Marks != p.kind.Marks()) {
				t.Errorf("the router expects %+v, its kind %+v and %+v", want, p.kind.Expect(), p.kind.Marks())
			}
		})
	}
}

func TestMappingsLiveAsLongInBothWorlds(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		kind natlab.Kind
		want time.Duration
	}{
		{natlab.None, 5 * time.Second}, {natlab.FullCone, time.Second}, {natlab.AddressRestricted, time.Second},
		{natlab.PortRestricted, time.Second}, {natlab.Symmetric, time.Second}, {natlab.IPv6Firewalled, time.Second},
		{natlab.UDPBlocked, 0},
	} {
		t.Run(string(c.kind), func(t *testing.T) {
			t.Parallel()
			s, worlds := place{kind: c.kind}.worlds(t)
			if err := s.router.SetUDPTimeout(4 * time.Second); err != nil {
				t.Fatal(err)
			}
			worlds["virtual"].(*Virtual).here.home.SetTimeout(4 * time.Second)
			for world, w := range worlds {
				got, err := Lifetime(t.Context(), w, time.Second, 5*time.Second)
				if err != nil || got != c.want {
					t.Errorf("%s: mappings outlive %v, %v, want %v", world, got, err, c.want)
				}
			}
		})
	}
}

func TestNobodyAnswersWhatIsNoQuestion(t *testing.T) {
	from := place{}.mustVirtual(t).Servers()[0]
	good := question{number: 7, by: 3}.marshal()
	if answer, by, to, ok := respond(from, good); !ok || by != 3 || to != from {
		t.Errorf("%q: %d, %v, %v", answer, by, to, ok)
	} else if number, seen, ok := parseAnswer(answer); !ok || number != 7 || seen != from {
		t.Errorf("%q: %d, %v, %v", answer, number, seen, ok)
	}
	bad := [][]byte{append(good[:len(good)-1:len(good)-1], servers), append(good[:len(good):len(good)], "nobody:1"...)}
	for i := range good {
		bad = append(bad, good[:i])
	}
	for _, b := range bad {
		if answer, _, _, ok := respond(from, b); ok {
			t.Errorf("%q was answered: %q", b, answer)
		}
	}
}

func (place) mustVirtual(t *testing.T) *Virtual {
	t.Helper()
	v, err := place{kind: natlab.PortRestricted}.virtual(false)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestStepIsOnlyThatOfPortsInTurn(t *testing.T) {
	v := place{}.mustVirtual(t)
	for want, ports := range map[int][servers]uint16{1: {5, 6, 7, 8}, -2: {9, 7, 5, 3}, 0: {1, 500, 999, 1498}} {
		seen := v.Servers()
		for i, p := range ports {
			seen[i] = netip.AddrPortFrom(seen[i].Addr(), p)
		}
		if got := step(seen); got != want {
			t.Errorf("%v: step %d, want %d", ports, got, want)
		}
	}
}
