//go:build linux

package programs_test

import (
	"context"
	"fmt"
	"net/netip"
	"path/filepath"
	"testing"
	"time"

	"simplebit/integration/programs"
)

// TestClientsMeetInTheDHT has no tracker: each client has to find a seeder, another client, by its first DHT nodes alone.
func TestClientsMeetInTheDHT(t *testing.T) {
	for leecher, seeder := range map[string]string{
		programs.TransmissionDaemon: programs.QBittorrentNox,
		programs.QBittorrentNox:     programs.TransmissionDaemon,
		programs.Aria2c:             programs.TransmissionDaemon,
		programs.RTorrent:           programs.QBittorrentNox,
	} {
		t.Run(leecher, func(t *testing.T) {
			programs.Require(t, leecher, seeder, programs.Mktorrent)
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
			defer cancel()
			dir := t.TempDir()
			lab := newLab(t)
			var first []netip.AddrPort
			for i := range 12 {
				h, err := lab.Host(fmt.Sprint("node", i))
				if err != nil {
					t.Fatal(err)
				}
				n, err := programs.StartDHTNode(ctx, programs.DHTConfig{Host: h, Bootstrap: first})
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(n.Stop)
				first = append(first, n.Addr())
			}
			writeContent(t, filepath.Join(dir, "album"))
			torrent, err := programs.MakeTorrent(ctx, programs.MakeConfig{Content: filepath.Join(dir, "album"), File: filepath.Join(dir, "a.torrent"), PieceLength: 64 << 10})
			if err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			s, _ := startOn(t, lab, seeder, "seeder", programs.Config{Dir: filepath.Join(dir, "seeder"), DHT: true, Bootstrap: first[:1]})
			if err := s.Seed(ctx, torrent.File, dir); err != nil {
				t.Fatal(err)
			}
			l, _ := startOn(t, lab, leecher, "leecher", programs.Config{Dir: filepath.Join(dir, "leecher"), DHT: true, Bootstrap: first[:1]})
			if err := l.Leech(ctx, torrent.File, filepath.Join(dir, "got")); err != nil {
				t.Fatal(err)
			}
			if err := l.WaitComplete(ctx); err != nil {
				t.Fatal(err)
			}
			t.Logf("%s found %s and was complete after %v", leecher, seeder, time.Since(began).Round(time.Second))
		})
	}
}
