//go:build linux

package integration

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sync/errgroup"

	"simplebit/integration/natlab"
	"simplebit/integration/programs"
)

// TestTheTransportThatWorkedForFrontIsTheDevices has clients with both transports, some in networks that pass no UDP, or no TCP
// between peers. The device tries nothing but what worked for front.
func TestTheTransportThatWorkedForFrontIsTheDevices(t *testing.T) {
	t.Parallel()
	s := newScene(t, programs.QBittorrentNox, programs.TransmissionDaemon, programs.Nft)
	agent := s.agent("attic")
	device, surrogate := s.watchUTP(agent.Host()), s.watchUTP(s.surrogate.Host())
	tcp, frontTCP := s.sniff(agent.Host()), s.sniff(s.surrogate.Host())
	cases := []struct {
		name, program, blocked, want string
	}{
		{"open", programs.QBittorrentNox, "", "utp"},
		{"no-udp", programs.QBittorrentNox, "meta l4proto udp", "tcp"},
		{"no-tcp", programs.QBittorrentNox, "tcp dport { 51413, 6881, 6882 }", "utp"},
		{"tr-no-udp", programs.TransmissionDaemon, "meta l4proto udp", "tcp"},
	}
	var checks errgroup.Group
	var torrents []programs.Torrent
	var seeders []client
	for _, c := range cases {
		host := s.host(c.name)
		s.ok(host.Shape(slowLink, slowLink))
		if c.blocked != "" {
			s.block(host, c.blocked)
		}
		torrent, seeder := s.torrent(c.name, 64<<10, 4<<20), s.start(c.program, programs.Config{Host: host, UTP: true})
		torrents, seeders = append(torrents, torrent), append(seeders, seeder)
		checks.Go(func() error { return seeder.Seed(t.Context(), torrent.File, filepath.Join(s.dir, "content")) })
	}
	s.ok(checks.Wait())
	var jobs []string
	for _, torrent := range torrents {
		s.ok(s.tracker.Await(t.Context(), torrent.InfoHash, 1, 0))
		jobs = append(jobs, s.add(torrent, "attic").ID)
	}
	transports := s.watchTransports(jobs...)
	for i, c := range cases {
		s.wait(jobs[i], "download", patience, seeding)
		s.same(s.content(c.name), filepath.Join(agent.Downloads(), c.name))
	}
	for i, c := range cases {
		at := seeders[i].Addr()
		isIt := func(a netip.AddrPort) bool { return a == at }
		t.Logf("%s: front dialled TCP %d times and has had uTP connections %v; the device %d and %v",
			c.name, len(frontTCP.dialled(isIt)), surrogate.conns(at), len(tcp.dialled(isIt)), device.conns(at))
		if c.blocked == "" && len(frontTCP.dialled(isIt)) > 0 {
			// Both are open, and uTP's answer took so long that TCP was tried too: whichever came first, the device has it alone.
			if got := transports()[at]; len(got) == 1 {
				c.want = got[0]
			}
		}
		s.isShown(transports(), seeders[i], c.want)
		if c.want == "tcp" && len(device.with(at)) > 0 {
			t.Errorf("%s: the device tried uTP", c.name)
		}
		if c.want == "utp" && len(tcp.dialled(isIt)) > 0 {
			t.Errorf("%s: the device tried TCP", c.name)
		}
	}
	s.noFaults(agent)
}

// block has a host drop what matches a rule of nft, whether it comes or goes.
func (s *scene) block(h *natlab.Host, match string) {
	s.Helper()
	rules := "table inet filter {\n"
	for _, hook := range []string{"input", "output"} {
		rules += fmt.Sprintf("chain %s { type filter hook %s priority 0; %s drop; }\n", hook, hook, match)
	}
	cmd := h.Command(s.Context(), programs.Nft, "-f", "-")
	cmd.Stdin = strings.NewReader(rules + "}\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		s.Fatalf("nft on %s: %v: %s", h.Name(), err, out)
	}
}
