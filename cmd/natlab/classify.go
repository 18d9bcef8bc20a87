//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"simplebit/integration/natlab"
	"simplebit/integration/natlab/classify"
	"simplebit/nat"
)

func classifyCommand() *cli.Command {
	return &cli.Command{
		Name: "classify", Usage: "find out what each kind of NAT does", ArgsUsage: "[KIND…]", Action: classifyKinds,
		Description: `Prints for each KIND, or all, what four witnesses say of it: a classifier in a lab
of the kernel, the same in a model of the NAT, SimpleBit's agent, and coturn's
turnutils_natdiscovery where it is installed. Carriers are classified by themselves,
as cgnat and cgnat-hairpin: KIND@NAME is not taken. The exit status is 1 if something is
not as it should be.`,
		Flags: []cli.Flag{&cli.BoolFlag{Name: "json", Usage: "print JSON"}},
	}
}

func classifyKinds(c *cli.Context) error {
	names, err := classifiable(c.Args().Slice())
	if err != nil {
		return usageError{err}
	}
	if err := enter(); err != nil {
		return err
	}
	ctx, stop := untilAsked(c.Context)
	defer stop()
	rows, err := classify.Table(ctx, names...)
	if err != nil {
		return err
	}
	if c.Bool("json") {
		err = printRows(c, rows)
	} else {
		err = classify.Print(c.App.Writer, rows)
	}
	if err == nil && slices.ContainsFunc(rows, func(r classify.Row) bool { return len(r.Wrong) > 0 }) {
		err = exitStatus(1)
	}
	return err
}

// classifiable returns what to classify: the names, all of which there must be, or everything that this machine can do.
func classifiable(names []string) ([]string, error) {
	for _, name := range names {
		kind, _, behind := strings.Cut(name, "@")
		if behind && slices.Contains(classify.Names(), kind) {
			return nil, fmt.Errorf("%s: carriers are classified by themselves: want %s, and %s or %s for the carrier", name, kind, classify.CGNAT, classify.CGNATHairpin)
		}
		if !slices.Contains(classify.Names(), name) {
			return nil, fmt.Errorf("there is no NAT of kind %q; `natlab list` prints the kinds", name)
		}
		if err := missing(name); err != nil {
			return nil, err
		}
	}
	if len(names) > 0 {
		return names, nil
	}
	var reason error
	for _, name := range classify.Names() {
		if err := missing(name); err != nil {
			reason = err
			continue
		}
		names = append(names, name)
	}
	// Without nft only a home without a NAT is left, which is not what was asked for.
	if natlab.PortRestricted.Missing() != nil {
		return nil, reason
	}
	return names, nil
}

// verify fails if a kind of the plan's homes is not what it says.
func (p plan) verify(ctx context.Context) error {
	rows, err := classify.Table(ctx, p.kinds()...)
	for _, r := range rows {
		if len(r.Wrong) > 0 {
			err = errors.Join(err, fmt.Errorf("%s is not what it says: %s", r.Name, strings.Join(r.Wrong, "; ")))
		}
	}
	return err
}

// kinds is what classify knows the plan's homes and their carriers by, each once.
func (p plan) kinds() (names []string) {
	add := func(name string) {
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	for _, h := range p.homes {
		if h.carrier == "" || h.kind != natlab.PortRestricted { // which is what is behind classify's carriers
			add(string(h.kind))
		}
		switch {
		case strings.HasSuffix(h.carrier, hairpinSuffix):
			add(classify.CGNATHairpin)
		case h.carrier != "":
			add(classify.CGNAT)
		}
	}
	return names
}

// missing returns what this machine lacks for what classify knows by that name.
func missing(name string) error {
	h, err := parseHome(name)
	if err != nil {
		return err
	}
	return h.kind.Missing()
}

// row is a classify.Row, as `natlab classify --json` has it.
type row struct {
	Name      string   `json:"name"`
	Expect    verdict  `json:"expect"`
	Kernel    verdict  `json:"kernel"`
	Virtual   verdict  `json:"virtual"`
	Agent     verdict  `json:"agent"`
	Coturn    verdict  `json:"coturn"`
	Explained []string `json:"explained,omitempty"`
	Wrong     []string `json:"wrong,omitempty"`
}

// verdict is a nat.Behaviour in the words of RFC 4787.
type verdict struct {
	Missing   string `json:"missing,omitempty"`
	Blocked   bool   `json:"blocked,omitempty"`
	Public    string `json:"public,omitempty"`
	Mapping   string `json:"mapping,omitempty"`
	Filtering string `json:"filtering,omitempty"`
	Preserved string `json:"port_preserved,omitempty"`
	Step      int    `json:"port_step,omitempty"`
	Hairpin   string `json:"hairpin,omitempty"`
	Double    string `json:"double_nat,omitempty"`
	Reachable string `json:"reachable,omitempty"`
	marks
}

// marks is a natlab.Marks. What is not looked for is left out.
type marks struct {
	Spoiled    string   `json:"port_spoiled_by_strangers,omitempty"`
	Opens      string   `json:"opens_ports_on_request,omitempty"`
	Neighbours string   `json:"neighbours_by_public_endpoint,omitempty"`
	IPv6       *verdict `json:"ipv6,omitempty"`
}

func newMarks(m natlab.Marks) (out marks) {
	for to, a := range map[*string]nat.Answer{&out.Spoiled: m.Spoiled, &out.Opens: m.Opens, &out.Neighbours: m.Neighbours} {
		if a != nat.Unsure {
			*to = a.String()
		}
	}
	if m.IPv6 != (nat.Behaviour{}) {
		six := newVerdict(classify.Verdict{Behaviour: m.IPv6})
		out.IPv6 = &six
	}
	return out
}

func newVerdict(v classify.Verdict) verdict {
	b := v.Behaviour
	if v.Missing != "" || b.Blocked {
		return verdict{Missing: v.Missing, Blocked: b.Blocked}
	}
	return verdict{
		Public: b.Public.String(), Mapping: b.Mapping.String(), Filtering: b.Filtering.String(), Preserved: b.Preserved.String(),
		Step: b.Step, Hairpin: b.Hairpin.String(), Double: b.Double.String(), Reachable: b.Reachable.String(), marks: newMarks(v.Marks),
	}
}

func printRows(c *cli.Context, rows []classify.Row) error {
	out := make([]row, len(rows))
	for i, r := range rows {
		out[i] = row{
			Name: r.Name, Expect: newVerdict(classify.Verdict{Behaviour: r.Expect, Marks: r.Marks}),
			Kernel: newVerdict(r.Kernel), Virtual: newVerdict(r.Virtual), Agent: newVerdict(r.Agent), Coturn: newVerdict(r.Coturn),
			Explained: r.Explained, Wrong: r.Wrong,
		}
	}
	encoder := json.NewEncoder(c.App.Writer)
	encoder.SetIndent("", "  ")
	return encoder.Encode(out)
}
