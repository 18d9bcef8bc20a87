//go:build linux

package programs

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
)

const qbittorrentAPI = "http://127.0.0.1:8080/api/v2/"

// QBittorrent is a running qbittorrent-nox, as of version 4.5.2 on libtorrent 2.0.8, controlled by its web API. What to
// know about it:
//
//   - Without a legal notice accepted in the configuration it waits for a key on its terminal, for ever.
//   - Settings live in PROFILE/qBittorrent/config/qBittorrent.conf, with "\" between the parts of a key. An unknown key or
//     value counts as unset, without a word.
//   - LocalHostAuth=false spares the login for connections from loopback only.
//   - Adding answers "Ok." before the torrent is listed, and 415 if it is not a torrent.
//   - What the API tells is up to RefreshInterval old: 1.5 s by default, 0.25 s here.
//   - Its first DHT nodes are fixed names: a mount of its own gives it an /etc/hosts in which they are ours. It announces a
//     torrent that comes before it has nodes only a quarter of an hour later, so StartQBittorrent waits for nodes.
//   - It keeps one connection with each address, whatever the ports and peer ids.
//   - After a SIGKILL it checks all content anew.
type QBittorrent struct {
	*Process
	addr   netip.AddrPort
	client *http.Client
}

// StartQBittorrent starts qbittorrent-nox without torrents and returns when its API answers. It ends with ctx.
func StartQBittorrent(ctx context.Context, c Config) (*QBittorrent, error) {
	c, err := c.prepared()
	if err != nil {
		return nil, err
	}
	if err := c.writeQBittorrentConf(); err != nil {
		return nil, fmt.Errorf("programs: configure qbittorrent-nox: %w", err)
	}
	hosts, err := c.writeHosts()
	if err != nil {
		return nil, fmt.Errorf("programs: configure qbittorrent-nox: %w", err)
	}
	p, err := startAs(ctx, c.Host, c.Dir, QBittorrentNox, "unshare", "--mount", "--", "sh", "-ec", `mount --bind "$1" /etc/hosts; shift; exec "$@"`, "sh",
		hosts, QBittorrentNox, "--profile="+c.Dir)
	if err != nil {
		return nil, err
	}
	q := &QBittorrent{Process: p, addr: c.addr(), client: httpFrom(c.Host)}
	err = p.waitAnswer(ctx, func(ctx context.Context) error {
		if c.DHT && len(c.Bootstrap) > 0 {
			return q.hasNodes(ctx)
		}
		_, err := q.get(ctx, "app/version")
		return err
	})
	if err != nil {
		return nil, err
	}
	return q, nil
}

// routers are the DHT nodes that qBittorrent starts with, on port 6881; the last one's is another.
var routers = []string{"router.bittorrent.com", "router.utorrent.com", "dht.transmissionbt.com", "dht.aelitis.com", "dht.libtorrent.org"}

// writeHosts writes the client's own table of names, in which the routers are the nodes to start with.
func (c Config) writeHosts() (file string, err error) {
	text := "127.0.0.1 localhost\n"
	for i, name := range routers {
		// All are there, because a name that nobody resolves would keep it waiting.
		addr := netip.AddrFrom4([4]byte{127, 0, 0, 1})
		if len(c.Bootstrap) > 0 {
			n := c.Bootstrap[i%len(c.Bootstrap)]
			if n.Port() != 6881 {
				return "", fmt.Errorf("DHT node %v: want port 6881", n)
			}
			addr = n.Addr()
		}
		text += fmt.Sprintln(addr, name)
	}
	file = filepath.Join(c.Dir, "hosts")
	return file, os.WriteFile(file, []byte(text), 0o644)
}

func (c Config) writeQBittorrentConf() error {
	protocol := "TCP"
	switch {
	case c.OnlyUTP:
		protocol = "UTP"
	case c.UTP:
		protocol = "Both"
	}
	encryption := 0 // allowed, as are connections without
	if c.ForceEncryption {
		encryption = 1
	}
	conf := fmt.Sprintf(`[LegalNotice]
Accepted=true

[BitTorrent]
Session\AddTorrentPaused=false
Session\BTProtocol=%s
Session\DHTEnabled=%v
Session\DefaultSavePath=%s
Session\Encryption=%d
Session\LSDEnabled=false
Session\PeXEnabled=%v
Session\Port=%d
Session\QueueingSystemEnabled=false
Session\RefreshInterval=250
Session\TempPathEnabled=false
Session\UseRandomPort=false

[Network]
PortForwardingEnabled=false

[Preferences]
Connection\ResolvePeerCountries=false
Connection\UPnP=false
WebUI\Address=127.0.0.1
WebUI\CSRFProtection=false
WebUI\HostHeaderValidation=false
WebUI\LocalHostAuth=false
WebUI\Port=8080
WebUI\UseUPnP=false
`, protocol, c.DHT, filepath.Join(c.Dir, "downloads"), encryption, c.PEX, c.Port)
	dir := filepath.Join(c.Dir, "qBittorrent", "config")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "qBittorrent.conf"), []byte(conf), 0o644)
}

// hasNodes fails while the client has no neighbours in the DHT.
func (q *QBittorrent) hasNodes(ctx context.Context) error {
	var info struct {
		Nodes int `json:"dht_nodes"`
	}
	reply, err := q.get(ctx, "transfer/info")
	if err == nil {
		err = json.Unmarshal(reply, &info)
	}
	if err == nil && info.Nodes == 0 {
		err = errors.New("it has no DHT nodes")
	}
	return err
}

// Addr returns where peers reach the client.
func (q *QBittorrent) Addr() netip.AddrPort { return q.addr }

// Seed adds a torrent whose content (a file or folder of the torrent's name) is in contentDir, and returns when it is
// checked and complete.
func (q *QBittorrent) Seed(ctx context.Context, torrentFile, contentDir string) error {
	if err := q.add(ctx, torrentFile, contentDir); err != nil {
		return err
	}
	return q.waitChecked(ctx, q.Status)
}

// Leech adds a torrent to be downloaded into downloadDir and returns when it is listed.
func (q *QBittorrent) Leech(ctx context.Context, torrentFile, downloadDir string) error {
	return q.add(ctx, torrentFile, downloadDir)
}

// WaitComplete returns when all torrents are complete.
func (q *QBittorrent) WaitComplete(ctx context.Context) error { return q.waitComplete(ctx, q.Status) }

func (q *QBittorrent) add(ctx context.Context, torrentFile, dir string) error {
	metainfo, err := os.ReadFile(torrentFile)
	if err != nil {
		return err
	}
	before, err := q.Status(ctx)
	if err != nil {
		return err
	}
	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	for _, field := range [][2]string{{"savepath", dir}, {"autoTMM", "false"}, {"paused", "false"}, {"contentLayout", "Original"}} {
		form.WriteField(field[0], field[1])
	}
	part, err := form.CreateFormFile("torrents", filepath.Base(torrentFile))
	if err != nil {
		return err
	}
	part.Write(metainfo)
	form.Close()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, qbittorrentAPI+"torrents/add", &body)
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", form.FormDataContentType())
	answer, err := q.do(req)
	if err == nil && strings.TrimSpace(string(answer)) != "Ok." {
		err = fmt.Errorf("torrents/add: %.100q", answer)
	}
	if err != nil {
		return q.fail(err)
	}
	return q.poll(ctx, "list the new torrent", func(ctx context.Context) (bool, error) {
		s, err := q.Status(ctx)
		return err == nil && s.Torrents > before.Torrents, err
	})
}

// Status asks qBittorrent.
func (q *QBittorrent) Status(ctx context.Context) (Status, error) {
	var torrents []struct {
		State                                 string
		Size, Completed, Downloaded, Uploaded int64
		Seeds                                 int `json:"num_seeds"`
		Leechers                              int `json:"num_leechs"`
	}
	reply, err := q.get(ctx, "torrents/info")
	if err == nil {
		err = json.Unmarshal(reply, &torrents)
	}
	if err != nil {
		return Status{}, q.fail(err)
	}
	s := Status{Torrents: len(torrents)}
	for _, t := range torrents {
		s.Size += t.Size
		s.Have += t.Completed
		s.Downloaded += t.Downloaded
		s.Uploaded += t.Uploaded
		s.Peers += t.Seeds + t.Leechers
		s.Checking = s.Checking || strings.HasPrefix(t.State, "checking")
		if t.State == "error" || t.State == "missingFiles" {
			s.Error += t.State
		}
	}
	return s, nil
}

func (q *QBittorrent) get(ctx context.Context, path string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, qbittorrentAPI+path, nil)
	if err != nil {
		return nil, err
	}
	return q.do(req)
}

func (q *QBittorrent) do(req *http.Request) ([]byte, error) {
	resp, err := q.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, replyLimit))
	if err == nil && resp.StatusCode != http.StatusOK {
		err = &statusError{resp.StatusCode, string(body)}
	}
	return body, err
}
