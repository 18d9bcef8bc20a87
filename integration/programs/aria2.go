//go:build linux

package programs

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"strconv"
)

const aria2RPC = "http://127.0.0.1:6800/jsonrpc"

// Aria2 is a running aria2c, as of version 1.36, controlled by its JSON-RPC. What to know about it:
//
//   - It believes in existing files only with --check-integrity, or together with its own control file NAME.aria2. When
//     there are none it calls that a checksum error in its log, and goes on.
//   - It stops seeding at a ratio of 1.0 unless --seed-ratio=0, and saves torrents that it gets by RPC beside the content
//     unless --rpc-save-upload-metadata=false.
//   - It has no uTP, opens connections with MSE and dials again in plaintext a second after that failed.
//   - When it has several new pieces to announce it sends a bitfield in place of HAVE messages if that is shorter (three
//     pieces suffice in a torrent of 128), in the middle of a connection. rtorrent then closes the connection, and aria2 does
//     not dial again: these two finish no small torrent on a fast link.
//   - Its RPC does not tell whether an announce succeeded (ask the tracker), gives numbers as strings, and rejects "params":
//     null.
//   - An announce comes only a second after the start of a download.
//   - It forgets its downloads when it ends. Given the torrent again, it checks what is there.
type Aria2 struct {
	*Process
	addr   netip.AddrPort
	client *http.Client
}

// StartAria2 starts aria2c without downloads and returns when its RPC answers. It ends with ctx.
func StartAria2(ctx context.Context, c Config) (*Aria2, error) {
	c, err := c.prepared()
	if err != nil {
		return nil, err
	}
	port := strconv.Itoa(int(c.Port))
	args := []string{
		"--no-conf", "--enable-rpc", "--rpc-listen-port=6800", "--rpc-listen-all=false", "--rpc-max-request-size=64M", "--rpc-save-upload-metadata=false",
		"--listen-port=" + port, "--dht-listen-port=" + port,
		"--enable-dht=" + strconv.FormatBool(c.DHT), "--enable-dht6=" + strconv.FormatBool(c.DHT), "--dht-file-path=dht.dat", "--dht-file-path6=dht6.dat",
		"--enable-peer-exchange=" + strconv.FormatBool(c.PEX), "--bt-enable-lpd=false",
		"--bt-force-encryption=" + strconv.FormatBool(c.ForceEncryption),
		"--check-integrity=true", "--seed-ratio=0.0", "--file-allocation=none", "--bt-max-peers=0", "--max-concurrent-downloads=1000",
		"--console-log-level=notice", "--show-console-readout=false", "--summary-interval=0", "--enable-color=false",
	}
	if len(c.Bootstrap) > 0 {
		args = append(args, "--dht-entry-point="+c.Bootstrap[0].String()) // it takes one
	}
	p, err := start(ctx, c.Host, c.Dir, Aria2c, args...)
	if err != nil {
		return nil, err
	}
	a := &Aria2{Process: p, addr: c.addr(), client: httpFrom(c.Host)}
	err = p.waitAnswer(ctx, func(ctx context.Context) error {
		return a.call(ctx, "aria2.getVersion", nil, new(any))
	})
	if err != nil {
		return nil, err
	}
	return a, nil
}

// Addr returns where peers reach the client.
func (a *Aria2) Addr() netip.AddrPort { return a.addr }

// Seed adds a torrent whose content (a file or folder of the torrent's name) is in contentDir, and returns when it is
// checked and complete.
func (a *Aria2) Seed(ctx context.Context, torrentFile, contentDir string) error {
	if err := a.add(ctx, torrentFile, contentDir); err != nil {
		return err
	}
	return a.waitChecked(ctx, a.Status)
}

// Leech adds a torrent to be downloaded into downloadDir and returns at once.
func (a *Aria2) Leech(ctx context.Context, torrentFile, downloadDir string) error {
	return a.add(ctx, torrentFile, downloadDir)
}

// WaitComplete returns when all torrents are complete.
func (a *Aria2) WaitComplete(ctx context.Context) error { return a.waitComplete(ctx, a.Status) }

func (a *Aria2) add(ctx context.Context, torrentFile, dir string) error {
	metainfo, err := os.ReadFile(torrentFile)
	if err != nil {
		return err
	}
	params := []any{metainfo, []string{}, map[string]string{"dir": dir}}
	if err := a.call(ctx, "aria2.addTorrent", params, new(string)); err != nil {
		return a.fail(err)
	}
	return nil
}

// Status asks aria2. Its numbers come as strings.
func (a *Aria2) Status(ctx context.Context) (Status, error) {
	type download struct {
		Status, ErrorMessage                       string
		TotalLength, CompletedLength, UploadLength int64 `json:",string"`
		Connections                                int   `json:",string"`
		VerifiedLength, VerifyIntegrityPending     string
	}
	keys := []string{"status", "errorMessage", "totalLength", "completedLength", "uploadLength", "connections", "verifiedLength", "verifyIntegrityPending"}
	var s Status
	for _, list := range []struct {
		method string
		params []any
	}{
		{"aria2.tellActive", []any{keys}},
		{"aria2.tellWaiting", []any{0, 1000, keys}},
		{"aria2.tellStopped", []any{0, 1000, keys}},
	} {
		var downloads []download
		if err := a.call(ctx, list.method, list.params, &downloads); err != nil {
			return Status{}, a.fail(err)
		}
		for _, d := range downloads {
			s.Torrents++
			s.Size += d.TotalLength
			s.Have += d.CompletedLength
			s.Downloaded += d.CompletedLength
			s.Uploaded += d.UploadLength
			s.Peers += d.Connections
			s.Checking = s.Checking || d.VerifiedLength != "" || d.VerifyIntegrityPending == "true" || d.Status == "waiting"
			s.Error += d.ErrorMessage
		}
	}
	return s, nil
}

// call does one request of JSON-RPC 2.0.
func (a *Aria2) call(ctx context.Context, method string, params []any, out any) error {
	reply := struct {
		Result any
		Error  *struct{ Message string }
	}{Result: out}
	if params == nil {
		params = []any{} // it rejects null
	}
	request := map[string]any{"jsonrpc": "2.0", "id": "1", "method": method, "params": params}
	if _, err := postJSON(ctx, a.client, aria2RPC, http.Header{}, request, &reply); err != nil {
		return fmt.Errorf("%s: %w", method, err)
	}
	if reply.Error != nil {
		return fmt.Errorf("%s: %s", method, reply.Error.Message)
	}
	return nil
}
