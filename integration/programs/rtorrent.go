//go:build linux

package programs

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

const rtorrentSCGI = "127.0.0.1:5000"

// RtorrentClient is a running rtorrent, as of version 0.9.8, controlled by XML-RPC over SCGI. What to know about it:
//
//   - Without a terminal it needs system.daemon.set = true, which exists since 0.9.7.
//   - The first parameter of an XML-RPC call is the target, an info-hash or "".
//   - A torrent that cannot be loaded is logged and nothing more: the call succeeds.
//   - It makes the torrent's folder but not those above it: the torrent then stays inactive, without a message.
//   - It checks files that it finds by itself, after load.start.
//   - It has no uTP. It refuses encrypted connections unless told to allow them; here it dials in plaintext and then, if that
//     fails, with MSE.
//   - What it does goes to a log only if one is opened, which empties that file.
//   - A killed rtorrent leaves a lock behind that names its process. It is taken over, unless another process has that number
//     by now, which is likely in a lab; so StartRtorrent removes it.
//   - It looks for peers in the DHT when a torrent starts, and after a failure only minutes later: StartRtorrent waits for nodes.
//   - It takes a bitfield for an error once other messages have come: see Aria2.
type RtorrentClient struct {
	*Process
	addr netip.AddrPort
	rpc  scgi
}

// StartRtorrent starts rtorrent without torrents and returns when its RPC answers. It ends with ctx. Torrents of an earlier
// run in the same folder are resumed.
func StartRtorrent(ctx context.Context, c Config) (*RtorrentClient, error) {
	c, err := c.prepared()
	if err != nil {
		return nil, err
	}
	session := filepath.Join(c.Dir, "session")
	if err := os.MkdirAll(session, 0o755); err != nil {
		return nil, fmt.Errorf("programs: configure rtorrent: %w", err)
	}
	if err := os.Remove(filepath.Join(session, "rtorrent.lock")); err != nil && !os.IsNotExist(err) {
		return nil, fmt.Errorf("programs: configure rtorrent: %w", err)
	}
	dht := "disable"
	if c.DHT {
		dht = "on"
	}
	pex := "no"
	if c.PEX {
		pex = "yes"
	}
	encryption := "allow_incoming,enable_retry"
	if c.ForceEncryption {
		encryption = "allow_incoming,try_outgoing,require,require_RC4"
	}
	// Paths are relative to the working folder: the syntax has its own ideas of commas, spaces and brackets.
	rc := fmt.Sprintf(`log.open_file = "log", rtorrent.log
log.add_output = "info", "log"
system.daemon.set = true
session.path.set = session
network.scgi.open_port = %[1]s
network.port_range.set = %[2]d-%[2]d
network.port_random.set = no
dht.mode.set = %[3]s
dht.port.set = %[2]d
protocol.pex.set = %[4]s
protocol.encryption.set = %[5]s
`, rtorrentSCGI, c.Port, dht, pex, encryption)
	for i, n := range c.Bootstrap {
		// Later: the DHT is not up yet when this is read.
		rc += fmt.Sprintf("schedule2 = bootstrap%d, 1, 0, \"dht.add_node=%s\"\n", i, n)
	}
	if err := os.WriteFile(filepath.Join(c.Dir, "rtorrent.rc"), []byte(rc), 0o644); err != nil {
		return nil, fmt.Errorf("programs: configure rtorrent: %w", err)
	}
	p, err := start(ctx, c.Host, c.Dir, RTorrent, "-n", "-o", "import=rtorrent.rc")
	if err != nil {
		return nil, err
	}
	r := &RtorrentClient{Process: p, addr: c.addr(), rpc: scgi{host: c.Host, addr: rtorrentSCGI}}
	err = p.waitAnswer(ctx, func(ctx context.Context) error {
		if c.DHT && len(c.Bootstrap) > 0 {
			return r.hasNodes(ctx)
		}
		_, err := r.rpc.call(ctx, "system.client_version")
		return err
	})
	if err != nil {
		return nil, err
	}
	return r, nil
}

// hasNodes fails while the client has no neighbours in the DHT.
func (r *RtorrentClient) hasNodes(ctx context.Context) error {
	statistics, err := r.rpc.call(ctx, "dht.statistics")
	if err != nil {
		return err
	}
	for _, m := range statistics.Struct {
		if n := m.Value.scalar(); m.Name == "nodes" && n != "0" {
			return nil
		}
	}
	return errors.New("it has no DHT nodes")
}

// Addr returns where peers reach the client.
func (r *RtorrentClient) Addr() netip.AddrPort { return r.addr }

// Seed adds a torrent whose content (a file or folder of the torrent's name) is in contentDir, and returns when it is
// checked and complete.
func (r *RtorrentClient) Seed(ctx context.Context, torrentFile, contentDir string) error {
	if err := r.add(ctx, torrentFile, contentDir); err != nil {
		return err
	}
	return r.waitChecked(ctx, r.Status)
}

// Leech adds a torrent to be downloaded into downloadDir and returns when it is listed.
func (r *RtorrentClient) Leech(ctx context.Context, torrentFile, downloadDir string) error {
	if err := os.MkdirAll(downloadDir, 0o755); err != nil {
		return r.fail(err)
	}
	return r.add(ctx, torrentFile, downloadDir)
}

// WaitComplete returns when all torrents are complete.
func (r *RtorrentClient) WaitComplete(ctx context.Context) error {
	return r.waitComplete(ctx, r.Status)
}

func (r *RtorrentClient) add(ctx context.Context, torrentFile, dir string) error {
	file, err := filepath.Abs(torrentFile)
	if err != nil {
		return err
	}
	if _, err := os.Stat(file); err != nil {
		return err
	}
	before, err := r.Status(ctx)
	if err != nil {
		return err
	}
	quoted := `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(dir) + `"`
	if _, err := r.rpc.call(ctx, "load.start_verbose", "", file, "d.directory.set="+quoted); err != nil {
		return r.fail(err)
	}
	return r.poll(ctx, "list the new torrent", func(ctx context.Context) (bool, error) {
		s, err := r.Status(ctx)
		return err == nil && s.Torrents > before.Torrents, err
	})
}

// Status asks rtorrent.
func (r *RtorrentClient) Status(ctx context.Context) (Status, error) {
	rows, err := r.rpc.call(ctx, "d.multicall2", "", "main", "d.size_bytes=", "d.completed_bytes=", "d.up.total=", "d.peers_connected=",
		"d.hashing=", "d.is_hash_checked=", "d.is_active=", "d.down.total=", "d.message=")
	if err != nil {
		return Status{}, r.fail(err)
	}
	s := Status{Torrents: len(rows.Array)}
	for _, row := range rows.Array {
		if len(row.Array) != 9 {
			return Status{}, r.fail(fmt.Errorf("d.multicall2: %d columns, want 9", len(row.Array)))
		}
		var n [8]int64
		for i := range n {
			if n[i], err = strconv.ParseInt(row.Array[i].scalar(), 10, 64); err != nil {
				return Status{}, r.fail(fmt.Errorf("d.multicall2: column %d: %w", i, err))
			}
		}
		s.Size += n[0]
		s.Have += n[1]
		s.Uploaded += n[2]
		s.Peers += int(n[3])
		s.Downloaded += n[7]
		s.Checking = s.Checking || n[4] != 0 || n[5] == 0
		if n[5] != 0 && n[6] == 0 {
			s.Error += "inactive"
		}
		s.Error += row.Array[8].scalar()
	}
	return s, nil
}
