package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"simplebit/rendezvous/apiclient"
)

const unknownYet = "unknown yet"

func (p *program) showDevice(c *cli.Context) error {
	args, err := arguments(c, "the device's NAME")
	if err != nil {
		return err
	}
	client, err := p.client(c)
	if err != nil {
		return err
	}
	device, err := client.Device(c.Context, args[0])
	if err != nil {
		return err
	}
	if wantsJSON(c) {
		return p.printJSON(device)
	}
	fmt.Fprint(p.stdout, formatDevice(device, p.now, p.zone, p.columns()))
	return nil
}

// formatDevice is the page of "devices show". Width 0 is no limit.
func formatDevice(d apiclient.Device, now time.Time, zone *time.Location, width int) string {
	var b strings.Builder
	field := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "  %-16s%s\n", name, fmt.Sprintf(format, args...))
	}
	fmt.Fprintln(&b, clean(d.Name))
	summary := unknownYet
	if d.Network != nil {
		summary = clean(d.Network.Summary)
	}
	field("network", "%s", summary)
	field("state", "%s%s", deviceState(d), prefixed(" from ", clean(d.Addr)))
	switch d.Control {
	case "quic":
		field("control", "over QUIC")
	case "tcp":
		field("control", "over TCP, as QUIC does not get through")
	}
	if d.Software != "" {
		field("software", "%s", clean(d.Software))
	}
	field("joined", "%s", d.Created.In(zone).Format("2006-01-02 15:04"))
	field("id", "%s", clean(d.ID))
	if d.Network == nil {
		return b.String()
	}
	n := *d.Network
	b.WriteString("\nnetwork")
	if age := now.Sub(n.Checked); age >= 0 {
		fmt.Fprintf(&b, ", checked %s ago", formatDuration(age))
	}
	b.WriteString(":\n")
	if n.Blocked {
		field("UDP", "blocked")
	} else {
		formatBehaviour(n, field)
	}
	if len(n.Candidates) > 0 {
		fmt.Fprintf(&b, "\n%s:\n%s", formatCount(len(n.Candidates), "candidate"), indent(candidateTable(n.Candidates, width-2)))
	}
	return b.String()
}

// formatBehaviour writes what is known of address translation, in RFC 4787's words.
func formatBehaviour(n apiclient.Network, field func(name, format string, args ...any)) {
	field("public address", "%s", clean(string(n.Public)))
	field("mapping", "%s", clean(string(n.Mapping)))
	field("filtering", "%s", clean(string(n.Filtering)))
	field("port preserved", "%s", clean(string(n.PortPreserved)))
	if n.PortStep != 0 {
		field("port step", "%+d", n.PortStep)
	}
	field("hairpinning", "%s", clean(string(n.Hairpin)))
	field("double NAT", "%s", clean(string(n.Double)))
	lifetime := "unknown"
	if n.Lifetime > 0 {
		const most = 365 * 24 * 3600
		lifetime = formatDuration(time.Duration(min(n.Lifetime, most))*time.Second) + " at least"
	}
	field("mapping lives", "%s", lifetime)
	field("reachable", "%s", clean(string(n.Reachable)))
}

func candidateTable(candidates []apiclient.Candidate, width int) string {
	var rows [][]string
	for _, c := range candidates {
		rows = append(rows, []string{clean(c.Addr), clean(c.Kind), choose(c.TCP, "udp, tcp", "udp")})
	}
	return formatTable([]column{{title: "ADDRESS"}, {title: "KIND"}, {title: "TRANSPORTS"}}, rows, max(width, 0))
}

// networkWord is a device's network for a column of a table. The kinds of NAT are called as game consoles call them.
func networkWord(d apiclient.Device) string {
	n := d.Network
	switch {
	case d.Revoked, n == nil && !d.Online:
		return ""
	case n != nil && n.Blocked:
		return "UDP blocked"
	case n == nil:
		return unknownYet
	}
	const independent, byAddress, byPort = "endpoint-independent", "address-dependent", "address and port-dependent"
	filtered := n.Reachable != "yes" && (n.Reachable == "no" || n.Filtering == byAddress || n.Filtering == byPort)
	dependent := n.Mapping == byAddress || n.Mapping == byPort
	switch {
	case n.Public == "yes":
		return choose(filtered, "firewall", "public")
	case n.Reachable == "yes", !filtered && n.Filtering == independent && n.Mapping == independent:
		return "open NAT"
	case dependent && n.PortStep == 0:
		return "strict NAT"
	case dependent, n.Mapping == independent, n.Mapping == "unknown" && n.PortPreserved == "yes":
		return choose(n.Double == "yes", "double NAT", "moderate NAT")
	}
	return "unclear"
}
