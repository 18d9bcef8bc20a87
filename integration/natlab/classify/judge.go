//go:build linux

package classify

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

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
		if got != r.Expect {
			r.suspects = append(r.suspects, c.who)
			r.Wrong = append(r.Wrong, fmt.Sprintf("%s says %s, natlab %s", c.who, Brief(c.Behaviour), Brief(r.Expect)))
		}
	}
}

// ourAgent is the name of the witness that is to be tested.
const ourAgent = "agent"

type column struct {
	who string
	Verdict
}

func (r *Row) columns() []column {
	return []column{{"kernel", r.Kernel}, {"virtual", r.Virtual}, {ourAgent, r.Agent}, {"coturn", r.Coturn}}
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
	for _, a := range []struct {
		nat.Answer
		yes, no string
	}{{b.Public, "P", "p"}, {b.Preserved, "K", "k"}, {b.Hairpin, "H", "h"}, {b.Double, "D", "d"}, {b.Reachable, "R", "r"}} {
		switch a.Answer {
		case nat.Yes:
			s.WriteString(a.yes)
		case nat.No:
			s.WriteString(a.no)
		default:
			s.WriteString("?")
		}
	}
	if b.Step != 0 {
		fmt.Fprintf(&s, "%+d", b.Step)
	}
	return s.String()
}

// Legend explains Brief.
const Legend = `mapping/filtering: EI endpoint-independent, AD address-dependent, APD address and port-dependent (RFC 4787)
P public address, K keeps the port, H hairpins, D double NAT, R reachable by strangers; small letter: not so; ?: not told
+n: by how much successive ports differ
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

// String returns what Print puts into the table: why there is no verdict, or the verdict in Brief's letters.
func (v Verdict) String() string {
	if v.Missing != "" {
		return v.Missing
	}
	return Brief(v.Behaviour)
}

// Print writes the table, with its legend and what is to be said about differences.
func Print(w io.Writer, rows []Row) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "NAT\tKERNEL\tVIRTUAL\tAGENT\tCOTURN\t")
	for _, r := range rows {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", r.Name, r.Kernel, r.Virtual, r.Agent, r.Coturn, r.remark())
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

// MarshalJSON writes a verdict in RFC 4787's words: "yes", "no" and "unknown", or as a string why there is none.
func (v Verdict) MarshalJSON() ([]byte, error) {
	if v.Missing != "" {
		return json.Marshal(v.Missing)
	}
	return json.Marshal(struct {
		Blocked   bool   `json:"blocked"`
		Public    string `json:"public"`
		Mapping   string `json:"mapping"`
		Filtering string `json:"filtering"`
		Preserved string `json:"port_preserved"`
		Step      int    `json:"port_step"`
		Hairpin   string `json:"hairpin"`
		Double    string `json:"double_nat"`
		Reachable string `json:"reachable"`
	}{v.Blocked, v.Public.String(), v.Mapping.String(), v.Filtering.String(), v.Preserved.String(), v.Step,
		v.Hairpin.String(), v.Double.String(), v.Reachable.String()})
}
