//go:build linux

package programs

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/anacrolix/torrent/bencode"
	"golang.org/x/sys/unix"

	"simplebit/integration/natlab"
)

// TrackerConfig says where a tracker runs. Host and Dir are required.
type TrackerConfig struct {
	// Host is where the tracker runs.
	Host *natlab.Host
	// Dir is the tracker's own folder: whitelist and log. It is made if it is not there.
	Dir string
	// Port is where the tracker listens, TCP for HTTP and UDP. Default 6969.
	Port uint16
}

// Tracker is a running opentracker, as Debian 12 builds it. What to know about it:
//
//   - It serves only info-hashes in the whitelist, a file of lines in hex, which it reads again on SIGHUP. Others are
//     refused with "Requested download is not authorized for use with this tracker."
//   - As root it changes its root folder and becomes nobody: then it cannot find the whitelist again, and in a user
//     namespace with one user it ends at once. So it runs in a further user namespace, in which it is not root.
//   - It takes a peer's address from the connection, answers with IPv4 addresses in the compact form only, and asks to
//     wait about 27 minutes between announces: a peer that announces before others finds them only if these dial it.
//   - It does not decode "+" in a query: spaces in an info-hash have to be sent as "%20", not as url.Values encodes them.
//   - It prints nothing, not even that its port is taken.
type Tracker struct {
	*Process
	addr      netip.AddrPort
	client    *http.Client
	whitelist string
}

// StartTracker starts opentracker with an empty whitelist and returns when it answers. It ends with ctx.
func StartTracker(ctx context.Context, c TrackerConfig) (*Tracker, error) {
	if c.Port == 0 {
		c.Port = 6969
	}
	client, err := Config{Host: c.Host, Dir: c.Dir, Port: c.Port}.prepared()
	if err != nil {
		return nil, err
	}
	whitelist := filepath.Join(client.Dir, "whitelist")
	if err := os.WriteFile(whitelist, nil, 0o644); err != nil {
		return nil, fmt.Errorf("programs: configure opentracker: %w", err)
	}
	port := strconv.Itoa(int(c.Port))
	p, err := startAs(ctx, c.Host, client.Dir, Opentracker, "unshare", "--user", "--map-user=65534", "--map-group=65534", "--",
		Opentracker, "-i", c.Host.Addr().String(), "-p", port, "-P", port, "-d", client.Dir, "-w", whitelist)
	if err != nil {
		return nil, err
	}
	t := &Tracker{Process: p, addr: client.addr(), client: httpFrom(c.Host), whitelist: whitelist}
	err = p.waitAnswer(ctx, func(ctx context.Context) error {
		// Any answer will do; that of its main loop comes only after SIGHUP is no longer deadly.
		_, err := t.get(ctx, "/stats", nil)
		return err
	})
	if err != nil {
		return nil, err
	}
	return t, nil
}

// URL returns the announce URL for HTTP.
func (t *Tracker) URL() string { return "http://" + t.addr.String() + "/announce" }

// Addr returns the tracker's address, the same for HTTP and UDP.
func (t *Tracker) Addr() netip.AddrPort { return t.addr }

// Allow adds torrents to the whitelist and returns when the tracker accepts them.
func (t *Tracker) Allow(ctx context.Context, infoHashes ...[20]byte) error {
	var lines strings.Builder
	for _, h := range infoHashes {
		lines.WriteString(hex.EncodeToString(h[:]) + "\n")
	}
	f, err := os.OpenFile(t.whitelist, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return t.fail(err)
	}
	_, err = f.WriteString(lines.String())
	if err := errors.Join(err, f.Close()); err != nil {
		return t.fail(err)
	}
	if err := unix.Kill(t.Pid(), unix.SIGHUP); err != nil {
		return t.fail(err)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, startWait, fmt.Errorf("not within %v", startWait))
	defer cancel()
	for _, h := range infoHashes {
		err := t.poll(ctx, fmt.Sprintf("allow %x", h), func(ctx context.Context) (bool, error) {
			err := t.visit(ctx, h)
			return err == nil, err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// visit announces a peer that comes and goes, before there are others. It fails if the torrent is not allowed: who goes is answered whether it is or not.
func (t *Tracker) visit(ctx context.Context, infoHash [20]byte) error {
	if err := t.announce(ctx, infoHash, "started"); err != nil {
		return err
	}
	return t.announce(ctx, infoHash, "stopped")
}

func (t *Tracker) announce(ctx context.Context, infoHash [20]byte, event string) error {
	body, err := t.get(ctx, "/announce", url.Values{
		"info_hash": {string(infoHash[:])}, "peer_id": {"-NL0000-nobody------"}, "port": {"1"},
		"uploaded": {"0"}, "downloaded": {"0"}, "left": {"0"}, "event": {event},
	})
	if err != nil {
		return err
	}
	var reply struct {
		Failure string `bencode:"failure reason"`
	}
	if err := bencode.Unmarshal(body, &reply); err != nil {
		return err
	}
	if reply.Failure != "" {
		return errors.New(reply.Failure)
	}
	return nil
}

// Swarm returns how many peers of a torrent have announced themselves with all of it, and with less.
func (t *Tracker) Swarm(ctx context.Context, infoHash [20]byte) (seeders, leechers int, err error) {
	body, err := t.get(ctx, "/scrape", url.Values{"info_hash": {string(infoHash[:])}})
	if err != nil {
		return 0, 0, t.fail(err)
	}
	var reply struct {
		Files map[string]struct {
			Complete   int `bencode:"complete"`
			Incomplete int `bencode:"incomplete"`
		} `bencode:"files"`
	}
	if err := bencode.Unmarshal(body, &reply); err != nil {
		return 0, 0, t.fail(fmt.Errorf("scrape: %w", err))
	}
	f := reply.Files[string(infoHash[:])]
	return f.Complete, f.Incomplete, nil
}

// Await returns when at least so many seeders and leechers of a torrent have announced themselves. A leecher that starts
// before the seeders have may have to wait for them to dial it.
func (t *Tracker) Await(ctx context.Context, infoHash [20]byte, seeders, leechers int) error {
	return t.poll(ctx, fmt.Sprintf("see %d seeders and %d leechers", seeders, leechers), func(ctx context.Context) (bool, error) {
		s, l, err := t.Swarm(ctx, infoHash)
		if err == nil && (s < seeders || l < leechers) {
			err = fmt.Errorf("it saw %d and %d", s, l)
		}
		return err == nil, err
	})
}

func (t *Tracker) get(ctx context.Context, path string, query url.Values) ([]byte, error) {
	// A "+" would stand for itself.
	raw := strings.ReplaceAll(query.Encode(), "+", "%20")
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+t.addr.String()+path+"?"+raw, nil)
	if err != nil {
		return nil, err
	}
	resp, err := t.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	return io.ReadAll(io.LimitReader(resp.Body, replyLimit))
}
