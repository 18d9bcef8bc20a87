//go:build linux

package integration

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"simplebit/integration/natlab"
	"simplebit/integration/programs"
	"simplebit/wire/dial"
	"simplebit/wire/mse"
	"simplebit/wire/peer"
)

// TestClientsThatInsistOnEncryptionAreServedBothWays has real clients that take RC4 streams only. From each as seeder front
// gets the metadata that a magnet lacks, and the agent the content: both dial in plaintext first, and are hung up on. To
// others, which know nobody but the agent and so have to dial it, the agent seeds.
func TestClientsThatInsistOnEncryptionAreServedBothWays(t *testing.T) {
	t.Parallel()
	clients := []string{programs.RTorrent, programs.QBittorrentNox, programs.Aria2c, programs.TransmissionDaemon}
	s := newScene(t, clients...)
	agent := s.agent("attic")
	probe := s.host("probe")
	forced := func(program, host string) client {
		return s.start(program, programs.Config{Host: s.host(host), ForceEncryption: true})
	}
	var torrents []programs.Torrent
	var seeders []client
	var checks errgroup.Group
	for i, program := range clients {
		torrent, seeder := s.torrent(program, 64<<10, 3<<20+i, 12345), forced(program, fmt.Sprint("seeder", i))
		torrents, seeders = append(torrents, torrent), append(seeders, seeder)
		checks.Go(func() error { return seeder.Seed(t.Context(), torrent.File, filepath.Join(s.dir, "content")) })
	}
	s.ok(checks.Wait())
	var jobs []string
	for i, torrent := range torrents {
		s.insists(probe, seeders[i].Addr(), torrent)
		s.ok(s.tracker.Await(t.Context(), torrent.InfoHash, 1, 0))
		jobs = append(jobs, s.add(torrent, "attic").ID)
	}

	first := clients[0]
	s.wait(jobs[0], "download", patience, seeding)
	only, err := programs.MakeTorrent(t.Context(), programs.MakeConfig{
		Content: s.content(first), File: filepath.Join(s.dir, "only.torrent"), Announce: []string{s.trackerOf(agent.Addr())}, PieceLength: 64 << 10,
	})
	s.ok(err)
	began := time.Now()
	var leechers []client
	for i, program := range clients {
		leechers = append(leechers, forced(program, fmt.Sprint("leecher", i)))
		s.ok(leechers[i].Leech(t.Context(), only.File, filepath.Join(s.dir, fmt.Sprint("into", i))))
	}
	for i, program := range clients {
		s.wait(jobs[i], "download", patience, seeding)
		s.same(s.content(program), filepath.Join(agent.Downloads(), program))
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for i, program := range clients {
		s.ok(leechers[i].WaitComplete(ctx))
		t.Logf("%s has it from the agent after %v", program, time.Since(began).Round(time.Millisecond))
		s.same(s.content(first), filepath.Join(s.dir, fmt.Sprint("into", i), first))
	}
}

// insists checks that the client takes no plaintext, so that what works does so by encryption.
func (s *scene) insists(from *natlab.Host, at netip.AddrPort, t programs.Torrent) {
	s.Helper()
	ours := peer.Handshake{Reserved: peer.Reserved(false, true), InfoHash: t.InfoHash, PeerID: peer.NewID()}
	s.until("an encrypted handshake", patience, func() bool { // some hang up while they start
		c, err := (&dial.Dialer{TCP: from, Encryption: mse.Require}).Dial(s.Context(), at, ours, dial.Way{})
		if err != nil {
			return false
		}
		defer c.Close()
		if e, ok := c.Conn.(*mse.Conn); !ok || e.Method != mse.RC4 {
			s.Errorf("the connection is a %T, want RC4", c.Conn)
		}
		return true
	})
	c, err := (&dial.Dialer{TCP: from, Encryption: mse.Off}).Dial(s.Context(), at, ours, dial.Way{})
	if err == nil {
		c.Close()
		s.Fatal("the client takes plaintext")
	}
	if errors.Is(err, context.DeadlineExceeded) {
		s.Fatalf("the client does not refuse plaintext: %v", err)
	}
}

// trackerOf starts a tracker that knows one peer for every torrent, and returns its URL.
func (s *scene) trackerOf(at netip.AddrPort) string {
	s.Helper()
	hub := s.host("hub")
	ln, err := hub.Listen("tcp", ":80")
	s.ok(err)
	s.Cleanup(func() { ln.Close() })
	ip := at.Addr().As4()
	reply := "d8:intervali1800e5:peers6:" + string(ip[:]) + string([]byte{byte(at.Port() >> 8), byte(at.Port())}) + "e"
	go http.Serve(ln, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte(reply)) }))
	return "http://" + hub.Addr().String() + "/announce"
}
