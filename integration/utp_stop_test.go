//go:build linux

package integration

import (
	"fmt"
	"path/filepath"
	"testing"

	"simplebit/integration/natlab"
	"simplebit/integration/programs"
)

// mostResets is how many RESETs one connection may cost: one says that nobody listens any more.
const mostResets = 1

// TestJobsThatStopEndTheirUTPConnections pauses and removes jobs while content comes from clients, or goes to them. The other end
// gets a FIN, and answers it.
func TestJobsThatStopEndTheirUTPConnections(t *testing.T) {
	t.Parallel()
	s := newScene(t, programs.QBittorrentNox, programs.TransmissionDaemon)
	agent := s.onlyUTP()
	device := s.watchUTP(agent.Host())
	const size, enough, slower = 8 << 20, 256 << 10, 500_000 // the rest lasts until all are stopped
	fast := s.start(programs.QBittorrentNox, programs.Config{Host: s.host("fast"), OnlyUTP: true})
	type job struct {
		what, command, id string
		torrent           programs.Torrent
		peer              client
		stopped           bool
	}
	seeded := func(torrent programs.Torrent, by client) programs.Torrent {
		s.ok(by.Seed(t.Context(), torrent.File, filepath.Join(s.dir, "content")))
		s.ok(s.tracker.Await(t.Context(), torrent.InfoHash, 1, 0))
		return torrent
	}
	var downs, ups []*job
	slow := func(program string, host *natlab.Host) client {
		s.ok(host.Shape(slower, slower))
		return s.start(program, programs.Config{Host: host, OnlyUTP: true})
	}
	first := s.host("seeder0")
	for i, program := range []string{programs.QBittorrentNox, programs.TransmissionDaemon} {
		seeder := first
		if i > 0 {
			seeder = s.host(fmt.Sprint("seeder", i))
		}
		down := &job{what: "from " + program, command: []string{"pause", "rm"}[i], peer: slow(program, seeder)}
		down.torrent = seeded(s.torrent(fmt.Sprint("down", i), 64<<10, size+i), down.peer)
		up := &job{what: "to " + program, command: []string{"rm", "pause"}[i], peer: slow(program, s.host(fmt.Sprint("leecher", i)))}
		up.torrent = seeded(s.torrent(fmt.Sprint("up", i), 64<<10, size+10+i), fast)
		up.id = s.add(up.torrent, "attic").ID
		downs, ups = append(downs, down), append(ups, up)
	}
	for i, up := range ups {
		s.wait(up.id, "download", patience, seeding)
		only := s.knowing(fmt.Sprint("knows", i), up.torrent, agent.Addr())
		s.ok(up.peer.Leech(t.Context(), only.File, filepath.Join(s.dir, fmt.Sprint("into", i))))
	}
	for _, down := range downs {
		down.id = s.add(down.torrent, "attic").ID
	}
	all := append(downs, ups...)
	s.until("stop all on the way", patience, func() bool {
		left := 0
		for _, j := range all {
			if c := device.busiest(j.peer.Addr()); !j.stopped && c != nil && c.us.bytes+c.peer.bytes > enough {
				s.simplebit(j.command, j.id)
				j.stopped = true
			}
			if !j.stopped {
				left++
			}
		}
		return left == 0
	})
	for _, j := range all {
		s.until("end the connection "+j.what, patience, func() bool { return device.busiest(j.peer.Addr()).over() })
	}
	s.ok(first.Shape(slowLink, slowLink))
	s.simplebit("resume", downs[0].id)
	s.wait(downs[0].id, "download after all", patience, seeding)
	s.same(s.content(downs[0].torrent.Name), filepath.Join(agent.Downloads(), downs[0].torrent.Name))
	for _, j := range all {
		for i, c := range device.conns(j.peer.Addr()) {
			t.Logf("%s, %s: %v", j.what, j.command, c)
			if i == 0 && int64(c.us.bytes+c.peer.bytes) > j.torrent.Length*9/10 {
				t.Errorf("the connection %s ended by itself", j.what)
			}
			if c.unannounced && i == 0 { // who comes again for a torrent that is gone is refused by a RESET
				t.Errorf("a connection %s was reset", j.what)
			}
			if len(c.us.resets) > mostResets {
				t.Errorf("%d RESETs were sent for a connection %s, want %d at most", len(c.us.resets), j.what, mostResets)
			}
		}
	}
	s.noFaults(agent)
}
