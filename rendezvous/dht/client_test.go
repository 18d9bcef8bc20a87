//go:build linux

package dht_test

import (
	"context"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"simplebit/integration/programs"
	"simplebit/rendezvous/dht"
)

func TestARealClientIsFoundAndFindsUs(t *testing.T) {
	programs.Require(t, programs.QBittorrentNox, programs.Aria2c, programs.Mktorrent)
	n := newNetwork(t, false)
	dir := t.TempDir()
	content := filepath.Join(dir, "album")
	if err := os.WriteFile(content, make([]byte, 1<<20), 0o644); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*patience)
	defer cancel()
	torrent, err := programs.MakeTorrent(ctx, programs.MakeConfig{Content: content, File: content + ".torrent", PieceLength: 64 << 10})
	if err != nil {
		t.Fatal(err)
	}
	host := n.host(t, "client")
	began := time.Now()
	client, err := programs.StartQBittorrent(ctx, programs.Config{Host: host, Dir: dir + "/client", DHT: true, Bootstrap: []netip.AddrPort{n.nodes[0].Addr()}})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Kill()
	t.Logf("qBittorrent has nodes after %v", time.Since(began))
	if err := client.Seed(ctx, torrent.File, dir); err != nil {
		t.Fatal(err)
	}
	t.Logf("qBittorrent seeds after %v", time.Since(began))

	peer := netip.AddrPortFrom(host.Addr(), 51413)
	n.waitAnnounced(t, torrent.InfoHash, peer, 1)
	t.Logf("it has announced itself after %v", time.Since(began))

	ln, err := n.home.Listen("tcp", ":6881")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	node := n.run(t, dht.Config{Dialable: testNet})
	t.Logf("it is found after %v", node.search(t, torrent.InfoHash).await(t, peer))
	n.waitAnnounced(t, torrent.InfoHash, netip.AddrPortFrom(n.home.Addr(), 6881), 6)

	// Ours is the only peer that is left.
	if err := client.Kill(); err != nil {
		t.Fatal(err)
	}
	began = time.Now()
	other, err := programs.StartAria2(ctx, programs.Config{Host: n.host(t, "other"), Dir: dir + "/other", DHT: true, Bootstrap: []netip.AddrPort{n.nodes[0].Addr()}})
	if err != nil {
		t.Fatal(err)
	}
	defer other.Kill()
	if err := other.Leech(ctx, torrent.File, dir+"/other"); err != nil {
		t.Fatal(err)
	}
	context.AfterFunc(ctx, func() { ln.Close() })
	if _, err := ln.Accept(); err != nil {
		t.Fatalf("aria2 does not come: %v", err)
	}
	t.Logf("aria2 comes after %v", time.Since(began))
}
