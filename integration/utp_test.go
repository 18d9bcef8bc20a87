//go:build linux

package integration

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"simplebit/integration/programs"
)

// slowLink is what the links of uTP's clients pass, in bytes per second each way, so that the device reports during a transfer.
const slowLink = 2_000_000

// slow starts a client without TCP, as far as it can be without, behind a slow link.
func (s *scene) slow(program, host string, c programs.Config) client {
	s.Helper()
	c.Host, c.OnlyUTP = s.host(host), true
	s.ok(c.Host.Shape(slowLink, slowLink))
	return s.start(program, c)
}

// TestClientsAreServedBothWaysOverUTPAlone has a surrogate and an agent without TCP. From each client front gets the metadata that
// a magnet lacks, and the agent the content. To others, which know nobody but the agent and so have to dial it, the agent seeds.
// One more knows only the surrogate, and hears of the agent by PEX: it would stall if front did not answer.
func TestClientsAreServedBothWaysOverUTPAlone(t *testing.T) {
	t.Parallel()
	s := newScene(t, programs.QBittorrentNox, programs.TransmissionDaemon)
	agent := s.onlyUTP()
	device, surrogate := s.watchUTP(agent.Host()), s.watchUTP(s.surrogate.Host())
	tcp, frontTCP := s.sniff(agent.Host()), s.sniff(s.surrogate.Host())

	clients := []struct {
		program string
		config  programs.Config
	}{
		{programs.QBittorrentNox, programs.Config{}},
		{programs.QBittorrentNox, programs.Config{ForceEncryption: true}},
		{programs.TransmissionDaemon, programs.Config{}},
		{programs.TransmissionDaemon, programs.Config{ForceEncryption: true}},
	}
	var torrents []programs.Torrent
	var seeders, leechers []client
	var checks errgroup.Group
	for i, c := range clients {
		torrent, seeder := s.torrent(fmt.Sprint("album", i), 64<<10, 4<<20+i, 12345), s.slow(c.program, fmt.Sprint("seeder", i), c.config)
		torrents, seeders = append(torrents, torrent), append(seeders, seeder)
		leechers = append(leechers, s.slow(c.program, fmt.Sprint("leecher", i), c.config))
		checks.Go(func() error { return seeder.Seed(t.Context(), torrent.File, filepath.Join(s.dir, "content")) })
	}
	hearsay := s.slow(programs.TransmissionDaemon, "hearsay", programs.Config{PEX: true})
	s.ok(checks.Wait())
	var jobs []string
	for _, torrent := range torrents {
		s.ok(s.tracker.Await(t.Context(), torrent.InfoHash, 1, 0))
		jobs = append(jobs, s.add(torrent, "attic").ID)
	}
	transports := s.watchTransports(jobs...)

	const shared, told = 0, 1 // of quick clients: what all leech, and what nobody but the agent has when the one by hearsay comes
	s.wait(jobs[shared], "download", patience, seeding)
	only := s.knowing("knows-agent", torrents[shared], agent.Addr())
	for i, l := range leechers {
		s.ok(l.Leech(t.Context(), only.File, filepath.Join(s.dir, fmt.Sprint("into", i))))
	}
	s.wait(jobs[told], "download", patience, seeding)
	s.ok(seeders[told].Stop())
	began := time.Now()
	front := netip.AddrPortFrom(s.surrogate.Host().Addr(), 6881)
	s.ok(hearsay.Leech(t.Context(), s.knowing("knows-front", torrents[told], front).File, filepath.Join(s.dir, "into")))
	for i, torrent := range torrents {
		s.wait(jobs[i], "download", patience, seeding)
		s.same(s.content(torrent.Name), filepath.Join(agent.Downloads(), torrent.Name))
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for i, l := range leechers {
		s.ok(l.WaitComplete(ctx))
		s.same(s.content(torrents[shared].Name), filepath.Join(s.dir, fmt.Sprint("into", i), torrents[shared].Name))
	}
	s.ok(hearsay.WaitComplete(ctx))
	t.Logf("who knew only the surrogate has it after %v", time.Since(began).Round(time.Millisecond))
	s.same(s.content(torrents[told].Name), filepath.Join(s.dir, "into", torrents[told].Name))

	shown := transports()
	for i, seeder := range seeders {
		s.isShown(shown, seeder, "utp")
		s.isWhole(device, seeder, func(c *utpConn) bool { return int64(c.peer.bytes) >= torrents[i].Length })
		if len(surrogate.conns(seeder.Addr())) == 0 {
			t.Errorf("front had no uTP connection with seeder %d", i)
		}
	}
	for _, l := range append(leechers, hearsay) {
		of := torrents[shared]
		if l == hearsay {
			of = torrents[told]
		}
		s.isShown(shown, l, "utp")
		s.isWhole(device, l, func(c *utpConn) bool { return int64(c.us.bytes) >= of.Length })
	}
	isPeer := func(a netip.AddrPort) bool { return a.Port() != s.tracker.Addr().Port() }
	if dials := append(tcp.dialled(isPeer), frontTCP.dialled(isPeer)...); len(dials) > 0 {
		t.Errorf("without TCP they opened TCP connections: %v", dials)
	}
	s.noFaults(agent)
}

// onlyUTP restarts the surrogate without TCP, and starts such an agent.
func (s *scene) onlyUTP() *programs.Agent {
	s.Helper()
	s.restartSurrogate("--transport", "utp")
	return s.agent("attic", "--transport", "utp")
}

// isShown checks that the device has shown its connections with a peer, and always as those of one transport.
func (s *scene) isShown(shown map[netip.AddrPort][]string, peer client, transport string) {
	s.Helper()
	if got := shown[peer.Addr()]; !slices.Equal(got, []string{transport}) {
		s.Errorf("the peer %v was shown with transports %v, want %s", peer.Addr(), got, transport)
	}
}

// isWhole checks that one connection carried all that a peer gave or got, and that each connection with it was ended by a FIN
// before anybody reset it.
func (s *scene) isWhole(w *utpWatch, peer client, all func(*utpConn) bool) {
	s.Helper()
	whole := 0
	for _, c := range w.conns(peer.Addr()) {
		s.Logf("%v: %v", peer.Addr(), c)
		if all(c) {
			whole++
		}
		if c.unannounced {
			s.Errorf("a connection with %v was reset", peer.Addr())
		}
	}
	if whole != 1 {
		s.Errorf("%d connections with %v carried the whole torrent, want 1", whole, peer.Addr())
	}
}

// faultyEnd is the end of a uTP connection, as it is logged, that nobody wanted. One that we closed may be given up.
var faultyEnd = regexp.MustCompile(`utp connection ended" .* err=("[^"]*timed out"|"utp:[^"]*").*`)

// noFaults checks in the agent's log how its uTP connections ended.
func (s *scene) noFaults(a *programs.Agent) {
	s.Helper()
	b, err := os.ReadFile(a.Log())
	s.ok(err)
	for _, line := range faultyEnd.FindAllString(string(b), -1) {
		s.Error(line)
	}
	if !strings.Contains(string(b), "utp connection ended") {
		s.Error("the agent does not log how uTP connections ended")
	}
}

// knowing makes a torrent of content that is there already, with a tracker that knows one peer.
func (s *scene) knowing(host string, of programs.Torrent, peer netip.AddrPort) programs.Torrent {
	s.Helper()
	base := s.web(host, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write(reply(peer)) }))
	t, err := programs.MakeTorrent(s.Context(), programs.MakeConfig{
		Content: s.content(of.Name), File: filepath.Join(s.dir, host+".torrent"), Announce: []string{base + "/announce"}, PieceLength: 64 << 10,
	})
	s.ok(err)
	return t
}

// watchTransports polls the peers of jobs until the test ends, and returns the transports that were shown for each address.
func (s *scene) watchTransports(jobs ...string) func() map[netip.AddrPort][]string {
	var mu sync.Mutex
	shown := map[netip.AddrPort][]string{}
	ctx, cancel := context.WithCancel(s.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			for _, id := range jobs {
				j, err := s.surrogate.API().Job(ctx, id)
				mu.Lock()
				for _, p := range j.Peers {
					at, _ := netip.ParseAddrPort(p.Addr)
					if err == nil && !slices.Contains(shown[at], p.Transport) {
						shown[at] = append(shown[at], p.Transport)
					}
				}
				mu.Unlock()
			}
			select {
			case <-ctx.Done():
			case <-time.After(100 * time.Millisecond):
			}
		}
	}()
	s.Cleanup(func() {
		cancel()
		<-done
	})
	return func() map[netip.AddrPort][]string {
		mu.Lock()
		defer mu.Unlock()
		return maps.Clone(shown)
	}
}
