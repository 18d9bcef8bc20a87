//go:build linux

package classify

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"simplebit/integration/natlab"
	"simplebit/nat"
)

func TestAllWitnessesAgreeOrTheDifferenceIsExplained(t *testing.T) {
	natlab.Require(t)
	t.Parallel()
	began := time.Now()
	rows, err := Table(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	if err := Print(&b, rows); err != nil {
		t.Fatal(err)
	}
	t.Logf("%v\n%s", time.Since(began).Round(time.Second), &b)
	for _, r := range rows {
		for _, wrong := range r.Wrong {
			t.Errorf("%s: %s", r.Name, wrong)
		}
	}
	for _, s := range repeated(rows) {
		t.Error(s)
	}
}

// repeated says what was done again too often for chance.
func repeated(rows []Row) (complaints []string) {
	var again []string
	for _, r := range rows {
		if len(r.Before) > 0 {
			again = append(again, fmt.Sprintf("%s: %q", r.Name, r.Before))
		}
		if n := r.Again[ourAgent]; n > 1 {
			complaints = append(complaints, fmt.Sprintf("%s was done again %d times for our agent's sake", r.Name, n))
		}
	}
	if len(again) > 1 {
		complaints = append(complaints, fmt.Sprintf("%d rows were done again, at most one may be: %s", len(again), strings.Join(again, "; ")))
	}
	return complaints
}

func TestARowIsDoneAgainWhereAWitnessMayHaveLostAnswers(t *testing.T) {
	good := Row{Explained: []string{"why"}}
	wrong := Row{Wrong: []string{"agent says no", "coturn says no"}, suspects: []string{ourAgent, "coturn"}}
	lost, broken := silent("kernel", errors.New("server 2 does not answer, others do")), errors.New("no lab")
	ended, stop := context.WithCancel(t.Context())
	stop()
	type try struct {
		Row
		error
	}
	for name, c := range map[string]struct {
		ctx    context.Context
		tries  []try
		before []string
		again  map[string]int
		err    error
	}{
		"good":                {t.Context(), []try{{good, nil}}, nil, map[string]int{}, nil},
		"lost answers":        {t.Context(), []try{{Row{}, lost}, {good, nil}}, []string{lost.Error()}, map[string]int{"kernel": 1}, nil},
		"both":                {t.Context(), []try{{wrong, nil}, {Row{}, lost}, {good, nil}}, []string{"agent says no", "coturn says no", lost.Error()}, map[string]int{ourAgent: 1, "coturn": 1, "kernel": 1}, nil},
		"always silent":       {t.Context(), []try{{Row{}, lost}, {Row{}, lost}, {Row{}, lost}}, []string{lost.Error(), lost.Error()}, map[string]int{"kernel": 2}, lost},
		"always wrong":        {t.Context(), []try{{wrong, nil}, {wrong, nil}, {wrong, nil}}, slices.Repeat(wrong.Wrong, 2), map[string]int{ourAgent: 2, "coturn": 2}, nil},
		"no lab":              {t.Context(), []try{{Row{}, broken}}, nil, map[string]int{}, broken},
		"ended while it asks": {ended, []try{{Row{}, lost}}, nil, map[string]int{}, lost},
	} {
		n := 0
		r, err := settle(c.ctx, func(context.Context) (Row, error) {
			n++
			return c.tries[n-1].Row, c.tries[n-1].error
		})
		if n != len(c.tries) || err != c.err || !slices.Equal(r.Before, c.before) || !maps.Equal(r.Again, c.again) || !slices.Equal(r.Wrong, c.tries[n-1].Wrong) {
			t.Errorf("%s: %d times, %v, before %q, again %v, wrong %q", name, n, err, r.Before, r.Again, r.Wrong)
		}
	}
}

func TestARepetitionIsChanceButNotTwo(t *testing.T) {
	once := Row{Name: "full-cone", Before: []string{"odd"}, Again: map[string]int{ourAgent: 1}}
	twice := Row{Name: "cgnat", Before: []string{"odd", "odd"}, Again: map[string]int{ourAgent: 2}}
	other := Row{Name: "cgnat", Before: []string{"odd", "odd"}, Again: map[string]int{"coturn": 2}}
	for _, c := range []struct {
		rows []Row
		want int
	}{
		{[]Row{{}, {}}, 0}, {[]Row{once, {}}, 0}, {[]Row{other}, 0}, {[]Row{twice}, 1}, {[]Row{once, other}, 1}, {[]Row{once, twice}, 2},
	} {
		if got := repeated(c.rows); len(got) != c.want {
			t.Errorf("%v: %q", c.rows, got)
		}
	}
}

// What turnutils_natdiscovery 4.6.1 says, shortened.
const (
	coturnNoNAT = "RFC 5780 response 1\n0: : IPv6. UDP reflexive addr: 2001:db8:1:3::a:42356\n0: : IPv6. Local addr: : 2001:db8:1:3::a:42356\n" +
		"No NAT! (Endpoint Independent Mapping)\n"
	coturnNAT = "RFC 5780 response 1\n0: : IPv4. UDP reflexive addr: 198.18.3.2:20000\n0: : IPv4. Local addr: : 192.168.1.10:44954\n"
)

func TestWhatCoturnSaysIsUnderstood(t *testing.T) {
	for _, c := range []struct {
		mapping, filtering, hairpin string
		want                        nat.Behaviour
	}{
		{
			coturnNoNAT, coturnNoNAT + "STUN receive timeout..\nNAT with Address and Port Dependent Filtering!", "Received a request (maybe a successful hairpinning)",
			nat.Behaviour{Public: nat.Yes, Mapping: nat.EndpointIndependent, Filtering: nat.AddressAndPortDependent, Preserved: nat.Yes, Hairpin: nat.Yes, Reachable: nat.No},
		},
		{
			coturnNAT + "NAT with Address Dependent Mapping!", coturnNAT + "NAT with Endpoint Independent Filtering!", "STUN receive timeout..",
			nat.Behaviour{Public: nat.No, Mapping: nat.AddressDependent, Filtering: nat.EndpointIndependent, Preserved: nat.No, Hairpin: nat.No, Reachable: nat.Yes},
		},
		{coturnNAT, "", "", nat.Behaviour{Public: nat.No, Preserved: nat.No}},
		{"STUN receive timeout..", "STUN receive timeout..", "Bad file descriptor", nat.Behaviour{Blocked: true}},
	} {
		if got, err := parseCoturn(c.mapping, c.filtering, c.hairpin); err != nil || got.Behaviour != c.want {
			t.Errorf("%q:\n got %+v, %v\nwant %+v", c.mapping, got.Behaviour, err, c.want)
		}
	}
	for _, bad := range []string{"", "core dumped", strings.Replace(coturnNAT, ":20000", "", 1), strings.Replace(coturnNAT, "192.168", "192.168.1", 1)} {
		if got, err := parseCoturn(bad, "", ""); err == nil {
			t.Errorf("%q is taken for %+v", bad, got)
		}
	}
}

func TestDifferencesAreWrongUnlessExplained(t *testing.T) {
	expect := natlab.AddressDependent.Expect()
	good := Verdict{Behaviour: expect}
	deaf := good
	deaf.Mapping, deaf.Double = nat.AddressAndPortDependent, nat.Unsure
	for _, c := range []struct {
		row              Row
		explained, wrong int
		remark           string
	}{
		{Row{Expect: expect, Kernel: good, Virtual: good, Agent: good, Coturn: good}, 0, 0, "agree"},
		{Row{Expect: expect, Kernel: good, Virtual: good, Agent: good, Coturn: deaf}, 1, 0, "explained"},
		{Row{Expect: expect, Kernel: good, Virtual: good, Agent: good, Coturn: Verdict{Missing: "not installed"}}, 1, 0, "explained"},
		{Row{Expect: expect, Kernel: good, Virtual: good, Agent: deaf, Coturn: deaf}, 1, 1, "WRONG"},
		{Row{Expect: expect, Kernel: good, Virtual: Verdict{Behaviour: nat.Behaviour{Blocked: true}}, Agent: good, Coturn: good}, 0, 1, "WRONG"},
	} {
		c.row.judge()
		if len(c.row.Explained) != c.explained || len(c.row.Wrong) != c.wrong || c.row.remark() != c.remark {
			t.Errorf("%s: explained %q, wrong %q", c.row.remark(), c.row.Explained, c.row.Wrong)
		}
	}
}

func TestUnknownNamesAreRefusedBeforeAnythingIsBuilt(t *testing.T) {
	if rows, err := Table(t.Context(), "full-cone", "cone"); err == nil || rows != nil || !strings.Contains(err.Error(), CGNATHairpin) {
		t.Errorf("%v, %v, want the list of names", rows, err)
	}
}

func TestWhatNobodySaysAgainIsPrintedAsSuch(t *testing.T) {
	good := Verdict{Behaviour: natlab.FullCone.Expect()}
	row := Row{Name: "full-cone", Expect: good.Behaviour, Kernel: good, Virtual: good, Agent: good, Coturn: good, Before: []string{"odd"}}
	var b strings.Builder
	if err := Print(&b, []Row{row}); err != nil || !strings.Contains(b.String(), "full-cone: not again: odd\n") {
		t.Errorf("%v\n%s", err, &b)
	}
	row.Wrong = []string{"worse"}
	b.Reset()
	if err := Print(&b, []Row{row}); err != nil || !strings.Contains(b.String(), "full-cone: worse\n") || strings.Contains(b.String(), "odd") {
		t.Errorf("%v\n%s", err, &b)
	}
}
