//go:build linux

package classify

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"simplebit/integration/natlab"
	"simplebit/nat"
)

// judge looks for what should not differ in a row, and explains what may.
func (r *Row) judge() {
	for _, c := range r.columns() {
		if c.Missing != "" {
			r.Explained = append(r.Explained, fmt.Sprintf("%s is %s", c.who, c.Missing))
			continue
		}
		got := c.Behaviour
		if c.who == "coturn" {
			r.explainCoturn(&got)
		}
		want := Verdict{Behaviour: r.Expect}
		if c.marks {
			want.Marks = r.Marks
		}
		if c.Behaviour = got; c.Verdict != want {
			r.suspects = append(r.suspects, c.who)
			r.Wrong = append(r.Wrong, fmt.Sprintf("%s says %s, natlab %s", c.who, c.whole(), want.whole()))
		}
	}
}

// ourAgent is the name of the witness that is to be tested.
const ourAgent = "agent"

type column struct {
	who   string
	marks bool // are looked for
	Verdict
}

func (r *Row) columns() []column {
	return []column{{"kernel", true, r.Kernel}, {"virtual", true, r.Virtual}, {ourAgent, false, r.Agent}, {"coturn", false, r.Coturn}}
}

// explainCoturn fills in what coturn's tool cannot tell.
func (r *Row) explainCoturn(got *nat.Behaviour) {
	// It never asks.
	got.Double = r.Expect.Double
	if got.Step != r.Expect.Step {
		got.Step = r.Expect.Step
		r.Explained = append(r.Explained, "coturn's tool does not look at steps between ports")
	}
	if r.Expect.Mapping == nat.AddressDependent && got.Mapping == nat.AddressAndPortDependent {
		got.Mapping = nat.AddressDependent
		r.Explained = append(r.Explained, "coturn's tool does its third test with the first address, where RFC 5780 section 4.3 has the "+
			"second, so it takes every mapping that depends on the address for one that depends on the port as well")
	}
}

// Brief is a verdict in a few letters, which Legend explains.
func Brief(b nat.Behaviour) string {
	if b.Blocked {
		return "blocked"
	}
	var s strings.Builder
	s.WriteString(short(b.Mapping) + "/" + short(b.Filtering) + " ")
	letters(&s, []nat.Answer{b.Public, b.Preserved, b.Hairpin, b.Double, b.Reachable}, "PKHDR")
	if b.Step != 0 {
		fmt.Fprintf(&s, "%+d", b.Step)
	}
	return s.String()
}

// letters writes one for each answer: a small one for no.
func letters(s *strings.Builder, answers []nat.Answer, yes string) {
	for i, a := range answers {
		switch a {
		case nat.Yes:
			s.WriteString(yes[i : i+1])
		case nat.No:
			s.WriteString(strings.ToLower(yes[i : i+1]))
		default:
			s.WriteString("?")
		}
	}
}

// Legend explains Brief, and the letters of marks.
const Legend = `mapping/filtering: EI endpoint-independent, AD address-dependent, APD address and port-dependent (RFC 4787)
P public address, K keeps the port, H hairpins, D double NAT, R reachable by strangers; small letter: not so; ?: not told
+n: by how much successive ports differ
S a stranger's packet that comes before the device's own spoils the port, O opens ports on request,
N neighbours behind one carrier reach each other by their public endpoints
`

func short(d nat.Dependence) string {
	switch d {
	case nat.EndpointIndependent:
		return "EI"
	case nat.AddressDependent:
		return "AD"
	case nat.AddressAndPortDependent:
		return "APD"
	}
	return "?"
}

// String returns what Print puts into the table: why there is no verdict, or the verdict in Legend's letters, without that
// of a second family.
func (v Verdict) String() string {
	if v.Missing != "" {
		return v.Missing
	}
	m := v.Marks
	if m.IPv6 = (nat.Behaviour{}); m == (natlab.Marks{}) {
		return Brief(v.Behaviour)
	}
	var s strings.Builder
	s.WriteString(Brief(v.Behaviour) + " ")
	letters(&s, []nat.Answer{m.Spoiled, m.Opens, m.Neighbours}, "SON")
	return s.String()
}

// second is the verdict on a second family; "": there is none.
func (v Verdict) second() string {
	if v.Marks.IPv6 == (nat.Behaviour{}) {
		return ""
	}
	return Brief(v.Marks.IPv6)
}

// whole is the verdict on all families.
func (v Verdict) whole() string {
	if six := v.second(); six != "" {
		return v.String() + ", by IPv6 " + six
	}
	return v.String()
}

// Print writes the table, with its legend and what is to be said about differences.
func Print(w io.Writer, rows []Row) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "NAT\tKERNEL\tVIRTUAL\tAGENT\tCOTURN\t")
	for _, r := range rows {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", r.Name, r.Kernel, r.Virtual, r.Agent, r.Coturn, r.remark())
		if r.Marks.IPv6 != (nat.Behaviour{}) {
			fmt.Fprintf(t, "  by IPv6\t%s\t%s\t\t\t\n", r.Kernel.second(), r.Virtual.second())
		}
	}
	if err := t.Flush(); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n"+Legend)
	for _, r := range rows {
		lines := slices.Concat(r.Explained, r.Wrong)
		if len(r.Wrong) == 0 {
			for _, line := range r.Before {
				lines = append(lines, "not again: "+line)
			}
		}
		for _, line := range lines {
			if err == nil {
				_, err = fmt.Fprintf(w, "%s: %s\n", r.Name, line)
			}
		}
	}
	return err
}

// remark is a word on the row.
func (r *Row) remark() string {
	switch {
	case len(r.Wrong) > 0:
		return "WRONG"
	case len(r.Explained) > 0:
		return "explained"
	}
	return "agree"
}
