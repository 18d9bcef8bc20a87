//go:build linux

package programs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
)

const transmissionRPC = "http://127.0.0.1:9091/transmission/rpc"

// sessionHeader carries the token against request forgery that a 409 reply gives.
const sessionHeader = "X-Transmission-Session-Id"

// Transmission is a running transmission-daemon, as of version 3.00. What to know about it:
//
//   - With uTP on it sends one uTP SYN to a peer and stalls for more than a minute if no datagram at all comes back: it
//     neither repeats the SYN nor tries TCP.
//   - Over uTP it takes its input packet by packet. What came in one packet with the end of the handshake waits until another
//     brings bytes: a seed that has nothing more to say is never asked for anything.
//   - It unchokes on a tick of ten seconds, so the first piece takes up to that long, whatever the bandwidth.
//   - Unfinished files have the suffix ".part". Empty files are not made at all.
//   - With its default, encryption preferred, it opens with MSE and insists on RC4 there; here it prefers plaintext.
//   - It uses the DHT only when it knows of more than eight nodes, four of which have answered it.
//   - It refuses peers on loopback addresses and rewrites settings.json when it ends.
type Transmission struct {
	*Process
	addr    netip.AddrPort
	client  *http.Client
	session http.Header
}

// StartTransmission starts a daemon without torrents and returns when its RPC answers. The daemon ends with ctx.
func StartTransmission(ctx context.Context, c Config) (*Transmission, error) {
	c, err := c.prepared()
	if err != nil {
		return nil, err
	}
	encryption := 0 // tolerated
	if c.ForceEncryption {
		encryption = 2
	}
	settings, err := json.MarshalIndent(map[string]any{
		"rpc-bind-address":            "127.0.0.1",
		"rpc-port":                    9091,
		"rpc-whitelist-enabled":       false,
		"rpc-host-whitelist-enabled":  false,
		"rpc-authentication-required": false,
		"peer-port":                   c.Port,
		"peer-port-random-on-start":   false,
		"port-forwarding-enabled":     false,
		"lpd-enabled":                 false,
		"dht-enabled":                 c.DHT,
		"pex-enabled":                 c.PEX,
		"utp-enabled":                 c.UTP || c.OnlyUTP,
		"encryption":                  encryption,
		"download-dir":                filepath.Join(c.Dir, "downloads"),
		"incomplete-dir-enabled":      false,
		"download-queue-enabled":      false,
		"seed-queue-enabled":          false,
		"start-added-torrents":        true,
		"message-level":               2,
	}, "", "\t")
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(c.Dir, "settings.json"), settings, 0o644); err != nil {
		return nil, fmt.Errorf("programs: configure transmission-daemon: %w", err)
	}
	var nodes strings.Builder
	for _, n := range c.Bootstrap {
		fmt.Fprintln(&nodes, n.Addr(), n.Port())
	}
	if err := os.WriteFile(filepath.Join(c.Dir, "dht.bootstrap"), []byte(nodes.String()), 0o644); err != nil {
		return nil, fmt.Errorf("programs: configure transmission-daemon: %w", err)
	}
	p, err := start(ctx, c.Host, c.Dir, TransmissionDaemon, "--foreground", "--config-dir", c.Dir)
	if err != nil {
		return nil, err
	}
	t := &Transmission{Process: p, addr: c.addr(), client: httpFrom(c.Host)}
	err = p.waitAnswer(ctx, func(ctx context.Context) error {
		// This first reply is a refusal that brings the session's token.
		header, err := postJSON(ctx, t.client, transmissionRPC, http.Header{}, struct{}{}, nil)
		var status *statusError
		if errors.As(err, &status) && status.code == http.StatusConflict {
			t.session, err = http.Header{sessionHeader: {header.Get(sessionHeader)}}, nil
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return t, nil
}

// Addr returns where peers reach the client.
func (t *Transmission) Addr() netip.AddrPort { return t.addr }

// Seed adds a torrent whose content (a file or folder of the torrent's name) is in contentDir, and returns when it is
// checked and complete.
func (t *Transmission) Seed(ctx context.Context, torrentFile, contentDir string) error {
	if err := t.add(ctx, torrentFile, contentDir); err != nil {
		return err
	}
	return t.waitChecked(ctx, t.Status)
}

// Leech adds a torrent to be downloaded into downloadDir and returns at once.
func (t *Transmission) Leech(ctx context.Context, torrentFile, downloadDir string) error {
	return t.add(ctx, torrentFile, downloadDir)
}

// WaitComplete returns when all torrents are complete.
func (t *Transmission) WaitComplete(ctx context.Context) error { return t.waitComplete(ctx, t.Status) }

func (t *Transmission) add(ctx context.Context, torrentFile, dir string) error {
	metainfo, err := os.ReadFile(torrentFile)
	if err != nil {
		return err
	}
	var added struct {
		Torrent *struct {
			Hash string `json:"hashString"`
		} `json:"torrent-added"`
	}
	err = t.call(ctx, "torrent-add", map[string]any{"metainfo": metainfo, "download-dir": dir, "paused": false}, &added)
	if err == nil && added.Torrent == nil {
		err = errors.New("torrent-add: it has this torrent already")
	}
	if err != nil {
		return t.fail(err)
	}
	return nil
}

// Status asks the daemon. The number of peers counts connections.
func (t *Transmission) Status(ctx context.Context) (Status, error) {
	var reply struct {
		Torrents []struct {
			Status int
			SizeWhenDone, LeftUntilDone,
			HaveValid, DownloadedEver, UploadedEver int64
			PeersConnected int
			ErrorString    string
		}
	}
	fields := []string{"status", "sizeWhenDone", "leftUntilDone", "haveValid", "downloadedEver", "uploadedEver", "peersConnected", "errorString"}
	if err := t.call(ctx, "torrent-get", map[string]any{"fields": fields}, &reply); err != nil {
		return Status{}, t.fail(err)
	}
	const checkWaiting, checking = 1, 2
	s := Status{Torrents: len(reply.Torrents)}
	for _, r := range reply.Torrents {
		s.Size += r.SizeWhenDone
		s.Have += r.HaveValid
		s.Downloaded += r.DownloadedEver
		s.Uploaded += r.UploadedEver
		s.Peers += r.PeersConnected
		s.Checking = s.Checking || r.Status == checkWaiting || r.Status == checking
		s.Error += r.ErrorString
	}
	return s, nil
}

// call does one request of the daemon's RPC, old dialect.
func (t *Transmission) call(ctx context.Context, method string, arguments, out any) error {
	reply := struct {
		Result    string
		Arguments any
	}{Arguments: out}
	request := map[string]any{"method": method, "arguments": arguments}
	if _, err := postJSON(ctx, t.client, transmissionRPC, t.session, request, &reply); err != nil {
		return fmt.Errorf("%s: %w", method, err)
	}
	if reply.Result != "success" {
		return fmt.Errorf("%s: %s", method, reply.Result)
	}
	return nil
}
