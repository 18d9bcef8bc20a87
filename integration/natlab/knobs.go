//go:build linux

package natlab

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"strings"
	"sync"
	"time"
)

var errTimeout = errors.New("a UDP timeout is at least one second")

// defaultTimeout is the least that RFC 4787 REQ-5 allows.
const defaultTimeout = 2 * time.Minute

// gateway is a machine that packets of others pass, with the knobs that can be turned while they do.
type gateway struct {
	*machine
	file   string // of the rules for IPv4; "": it translates nothing
	tracks bool   // connections

	mu       sync.Mutex
	external netip.Addr
	rules    ruleSet
	daemon   *daemon
}

// External returns the address of the machine's interface wan0. It is public, or in 100.64.0.0/10 for a home behind a
// carrier. What the machine translates comes from there.
func (g *gateway) External() netip.Addr {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.external
}

// SetUDPTimeout sets how long UDP mappings live without traffic, in whole seconds and at least one. It holds for each
// mapping from its next packet on. Packets of either direction keep an association of two endpoints alive, but only
// outgoing ones keep what a full cone or address-restricted router lets in beyond it (RFC 4787 REQ-6). Nothing happens on
// a router that keeps no mappings.
func (g *gateway) SetUDPTimeout(d time.Duration) error {
	timeout, err := timeoutOr(d, 0)
	if err != nil {
		return fmt.Errorf("natlab: %s: %w", g.name, err)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.rules.Timeout = timeout
	return g.applyTimeout()
}

// timeoutOr converts a UDP timeout to seconds; 0 is the default.
func timeoutOr(d, fallback time.Duration) (int, error) {
	if d == 0 {
		d = fallback
	}
	if d < time.Second {
		return 0, errTimeout
	}
	return seconds(d), nil
}

// applyTimeout tells the kernel, and the rules that learn.
func (g *gateway) applyTimeout() error {
	if !g.tracks {
		return nil
	}
	// The files appear with the first rule that tracks connections.
	err := g.near.ns.do(func() error {
		return setSysctls(
			fmt.Sprintf("netfilter/nf_conntrack_udp_timeout=%d", g.rules.Timeout),
			fmt.Sprintf("netfilter/nf_conntrack_udp_timeout_stream=%d", g.rules.Timeout),
		)
	})
	if err != nil || g.file == "" {
		return err
	}
	learned, err := fill(g.file, "learned", g.rules)
	if err != nil || strings.TrimSpace(learned) == "" {
		return err
	}
	return g.load(g.near.ns, "flush chain ip natlab learned\ntable ip natlab {\n\tchain learned {"+learned+"\n\t}\n}\n")
}

// reload replaces the rules, which forget what they learned.
func (g *gateway) reload() error {
	if g.file == "" {
		return nil
	}
	g.rules.WAN = g.external
	rules, err := fill(g.file, "", g.rules)
	if err != nil {
		return err
	}
	return g.load(g.near.ns, replaceTable("ip", "natlab")+rules)
}

// Reboot makes the machine forget every mapping and connection, and the ports that were opened on request, as if it had
// been switched off and on. Its address stays.
func (g *gateway) Reboot() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if err := g.reload(); err != nil {
		return err
	}
	return errors.Join(g.forget(), g.restartMapping())
}

// forget drops all connections.
func (g *gateway) forget() error {
	if err := g.near.ns.do(flushConntrack); err != nil {
		return fmt.Errorf("natlab: %s: %w", g.name, err)
	}
	return nil
}

// Renumber gives the machine the next IPv4 address outside, as a provider does after a new login, and forgets all mappings.
// External returns it then. What is sent to the old address is lost. It is an error on a router that translates nothing.
func (g *gateway) Renumber() error {
	if g.file == "" {
		return fmt.Errorf("natlab: renumber %s: it translates nothing", g.name)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	old, renewed := g.external, g.external.Next()
	if renewed == withLast(renewed, 255) {
		renewed = withLast(renewed, 2)
	}
	if err := g.batch(g.near.ns, toolIP,
		fmt.Sprintf("addr del %s/24 dev %s", old, g.near.device),
		fmt.Sprintf("addr add %s/24 dev %s", renewed, g.near.device),
		fmt.Sprintf("route replace default via %s", g.far.addr),
	); err != nil {
		return fmt.Errorf("natlab: renumber %s: %w", g.name, err)
	}
	g.external = renewed
	for i := range g.rules.Blocks {
		g.rules.Blocks[i].WAN = renewed
	}
	return errors.Join(
		g.reload(),
		g.forget(),
		// Who still knew where the old address was would send there, and the router would send it back.
		g.batch(g.far.ns, toolIP, "neigh flush dev "+g.far.device),
		g.restartMapping(),
	)
}

// SetLoss makes the link between the machine and the internet lose that share of its packets, in percent, each way, at
// random. Segments of TCP, and UDP sent with UDP_SEGMENT, are lost together as they travel together within a lab. 0 is
// none; it replaces an earlier loss and holds from the next packet on.
func (g *gateway) SetLoss(percent float64) error {
	if !(percent >= 0 && percent <= 100) {
		return fmt.Errorf("natlab: loss of %v percent on %s", percent, g.name)
	}
	perMille := int(math.Round(percent * 10))
	for i, e := range []end{g.near, g.far} {
		if i == 1 && g.core != nil {
			g.core.lose(g.machine, perMille)
			continue
		}
		rules, err := fill("loss.nft", "", struct {
			Table, Device string
			PerMille      int
		}{"loss_" + strings.ReplaceAll(e.device, "-", "_"), e.device, perMille})
		if err != nil {
			return err
		}
		if err := g.load(e.ns, rules); err != nil {
			return err
		}
	}
	return nil
}
