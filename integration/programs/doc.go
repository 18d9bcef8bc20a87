//go:build linux

// Package programs starts the real BitTorrent programs that SimpleBit has to get on with, on hosts of a natlab, and knows
// when they are ready: opentracker, transmission-daemon, qbittorrent-nox, aria2 and rtorrent; mktorrent makes the torrents.
//
//	programs.Require(t, programs.Opentracker, programs.TransmissionDaemon)
//	tracker, err := programs.StartTracker(ctx, programs.TrackerConfig{Host: hub, Dir: dir})
//	torrent, err := programs.MakeTorrent(ctx, programs.MakeConfig{Content: dir + "/album", File: dir + "/album.torrent", Announce: []string{tracker.URL()}})
//	err = tracker.Allow(ctx, torrent.InfoHash)
//	seeder, err := programs.StartTransmission(ctx, programs.Config{Host: attic, Dir: atticDir})
//	err = seeder.Seed(ctx, torrent.File, dir)
//	err = tracker.Await(ctx, torrent.InfoHash, 1, 0)
//
// For measurements there are drivers: libtorrent, aria2 and transmission-cli with one torrent each, which nobody has to ask, because they
// say themselves when they are complete.
//
// The four clients have the same methods: Seed, Leech, Status, WaitComplete and those of Process. They listen and dial on
// their host's own addresses, never on loopback, which peers refuse; only their control interfaces (RPC) are on the host's
// loopback, at fixed ports out of the other hosts' sight: a host runs one client of each kind.
//
// What all of them have in common: each has a folder of its own, which is its home, so that it reads no configuration of
// the calling user; its environment is empty but for PATH, because aria2 and everything with libcurl send announces to a
// proxy that http_proxy names; what it prints goes to a log file in that folder, and errors quote its end. DHT, peer
// exchange and uTP are off unless wanted, local service discovery and port mapping always. Encryption is neither asked for
// nor refused, unless it is forced.
package programs
