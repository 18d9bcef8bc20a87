//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"simplebit/integration/natlab"
)

// etherHeader is what nft does not count of a packet, in bytes.
const etherHeader = 14

// surrogatePort is where agents' control connections end, by UDP as uTP does.
const surrogatePort = 4433

// countRules count what arrives by the link: uTP, and the TCP connection beside it. They count packet by packet, each with its
// headers.
var countRules = fmt.Sprintf(`table inet bench {
	counter by_utp { }
	counter by_tcp { }
	chain arrived {
		type filter hook prerouting priority raw; policy accept;
		iifname != "eth0" accept
		udp dport { %d, %d } accept
		meta l4proto udp counter name by_utp
		tcp dport %d counter name by_tcp
	}
}
`, probePort, surrogatePort, tcpPort)

// countPackets begins to count what a host receives from another. Both send packet by packet from now on: what the kernel joins has
// headers once that pass the bottleneck several times.
func countPackets(ctx context.Context, from, to *natlab.Host) error {
	for _, h := range []*natlab.Host{from, to} {
		if out, err := h.Command(ctx, "ip", "link", "set", "dev", "eth0", "gso_max_segs", "1").CombinedOutput(); err != nil {
			return fmt.Errorf("single packets on %s: %w: %s", h.Name(), err, out)
		}
	}
	nft := to.Command(ctx, "nft", "-f", "-")
	nft.Stdin = strings.NewReader(countRules)
	if out, err := nft.CombinedOutput(); err != nil {
		return fmt.Errorf("count packets on %s: %w: %s", to.Name(), err, out)
	}
	return nil
}

// passed is how many bytes had passed the bottleneck at a moment, with Ethernet's headers.
type passed struct {
	at       time.Time
	utp, tcp int64
}

// since returns the rates between two moments, in bytes/s.
func (p passed) since(before passed) (utp, tcp float64) {
	took := p.at.Sub(before.at).Seconds()
	return float64(p.utp-before.utp) / took, float64(p.tcp-before.tcp) / took
}

// passed reads the counters.
func (w *watch) passed(ctx context.Context) (passed, error) {
	asked := time.Now()
	out, err := w.leecher.Command(ctx, "nft", "-j", "list", "counters", "table", "inet", "bench").Output()
	if err != nil {
		return passed{}, fmt.Errorf("read what passed: %w", err)
	}
	// Somewhere in between nft has read the kernel's.
	return parseCounters(out, asked.Add(time.Since(asked)/2))
}

// parseCounters reads nft's JSON.
func parseCounters(b []byte, at time.Time) (passed, error) {
	var list struct {
		NFTables []struct {
			Counter *struct {
				Name           string
				Packets, Bytes int64
			}
		}
	}
	if err := json.Unmarshal(b, &list); err != nil {
		return passed{}, fmt.Errorf("what nft says of its counters: %w", err)
	}
	bytes := map[string]int64{}
	for _, entry := range list.NFTables {
		if c := entry.Counter; c != nil {
			bytes[c.Name] = c.Bytes + etherHeader*c.Packets
		}
	}
	if len(bytes) != 2 {
		return passed{}, errors.New("nft does not know the two counters")
	}
	return passed{at, bytes["by_utp"], bytes["by_tcp"]}, nil
}
