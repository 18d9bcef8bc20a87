//go:build linux

package programs

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"simplebit/integration/natlab"
)

// checkWait bounds how long a client may take to check content that it is to seed.
const checkWait = 2 * time.Minute

// How many times in a row a client must say that it checks nothing. It says so before it begins, too, and has found nothing then.
const (
	checkedPolls = 30
	idlePolls    = 300
)

// replyLimit bounds what is read of a reply of a program's control interface, in bytes.
const replyLimit = 16 << 20

// Config says where and how a client runs. Host and Dir are required.
type Config struct {
	// Host is where the client runs.
	Host *natlab.Host
	// Dir is the client's own folder: settings, state and log. It is made if it is not there.
	Dir string
	// Port is where the client listens for peers, TCP and (with DHT or UTP) UDP. Default 51413.
	Port uint16
	// DHT lets the client take part in the distributed hash table (BEP 5). Default off.
	DHT bool
	// Bootstrap are DHT nodes that the client asks for others when it starts. Without DHT they are ignored. qBittorrent knows
	// its own by name: it takes at most five, on port 6881. aria2 takes one.
	Bootstrap []netip.AddrPort
	// PEX lets the client exchange peers with its peers (BEP 11). Default off.
	PEX bool
	// ForceEncryption has the client take RC4 streams only (message stream encryption), in either direction.
	ForceEncryption bool
	// UTP lets the client use uTP (BEP 29) beside TCP. Default off. aria2 and rtorrent have none and ignore it.
	UTP bool
	// OnlyUTP is UTP without TCP. Transmission cannot switch TCP off: there it is UTP alone.
	OnlyUTP bool
}

// prepared checks the configuration, fills in the defaults and makes the folder.
func (c Config) prepared() (Config, error) {
	if c.Host == nil || c.Dir == "" {
		return c, errors.New("programs: Config needs a Host and a Dir")
	}
	if c.Port == 0 {
		c.Port = 51413
	}
	dir, err := filepath.Abs(c.Dir)
	if err != nil {
		return c, err
	}
	c.Dir = dir
	return c, os.MkdirAll(dir, 0o755)
}

// addr is where peers reach the client.
func (c Config) addr() netip.AddrPort { return netip.AddrPortFrom(c.Host.Addr(), c.Port) }

// Status sums up all torrents of a client, as it tells them itself.
type Status struct {
	Torrents int    // how many there are
	Size     int64  // bytes wanted
	Have     int64  // bytes downloaded or found, and verified
	Uploaded int64  // payload bytes sent to peers
	Peers    int    // connections with peers
	Checking bool   // content is being verified, or waits for it
	Error    string // what the client complains about, tracker errors included; empty if nothing
	// Downloaded are payload bytes received from peers. aria2 does not count them: its are those that it has.
	Downloaded int64
}

// Complete reports whether there is something and all of it is there and verified.
func (s Status) Complete() bool {
	return s.Torrents > 0 && !s.Checking && s.Have == s.Size
}

// String is for error messages.
func (s Status) String() string {
	return fmt.Sprintf("%d torrents, %d of %d bytes, %d peers, checking %v, error %q", s.Torrents, s.Have, s.Size, s.Peers, s.Checking, s.Error)
}

// waitComplete polls a client until it has everything.
func (p *Process) waitComplete(ctx context.Context, status func(context.Context) (Status, error)) error {
	return p.poll(ctx, "complete its torrents", func(ctx context.Context) (bool, error) {
		s, err := status(ctx)
		if err == nil && !s.Complete() {
			err = fmt.Errorf("it has %v", s)
		}
		return err == nil, err
	})
}

// waitChecked is waitComplete for a client that was given all content and has only to look at it: once it has, and still
// wants something, the content is wrong.
func (p *Process) waitChecked(ctx context.Context, status func(context.Context) (Status, error)) error {
	ctx, cancel := context.WithTimeoutCause(ctx, checkWait, fmt.Errorf("not within %v", checkWait))
	defer cancel()
	ctx, giveUp := context.WithCancelCause(ctx)
	defer giveUp(nil)
	checked := 0
	return p.waitComplete(ctx, func(ctx context.Context) (Status, error) {
		s, err := status(ctx)
		if err != nil || s.Checking || s.Torrents == 0 {
			checked = 0
		} else if checked++; checked >= checkedPolls && s.Have > 0 || checked >= idlePolls {
			giveUp(errors.New("the content is not the torrent's"))
		}
		return s, err
	})
}

// waitAnswer polls a program that was just started until it answers.
func (p *Process) waitAnswer(ctx context.Context, ask func(context.Context) error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, startWait, fmt.Errorf("not within %v", startWait))
	defer cancel()
	err := p.poll(ctx, "answer", func(ctx context.Context) (bool, error) {
		err := ask(ctx)
		return err == nil, err
	})
	if err != nil {
		return errors.Join(err, p.Kill())
	}
	return nil
}

// httpFrom returns an HTTP client whose connections are the host's.
func httpFrom(h *natlab.Host) *http.Client {
	return &http.Client{
		Transport: &http.Transport{DialContext: h.DialContext, DisableKeepAlives: true},
		Timeout:   10 * time.Second,
	}
}

// postJSON posts a JSON document and decodes the JSON reply. A status other than 200 is an error, with the header for
// those who understand it.
func postJSON(ctx context.Context, client *http.Client, url string, header http.Header, in, out any) (http.Header, error) {
	body, err := json.Marshal(in)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header = header.Clone()
	req.Header.Set("Content-Type", "application/json")
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	reply, err := io.ReadAll(io.LimitReader(resp.Body, replyLimit))
	if err != nil {
		return resp.Header, err
	}
	if resp.StatusCode != http.StatusOK {
		return resp.Header, &statusError{resp.StatusCode, string(reply)}
	}
	return resp.Header, json.Unmarshal(reply, out)
}

// statusError is an HTTP reply that is not 200.
type statusError struct {
	code int
	body string
}

func (e *statusError) Error() string {
	return fmt.Sprintf("status %d: %.200q", e.code, e.body)
}
