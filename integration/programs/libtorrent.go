//go:build linux

package programs

import (
	"cmp"
	"context"
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

//go:embed libtorrent_driver.py
var libtorrentDriver []byte

// debianPython is the interpreter that Debian's packages are for; another may come first in PATH.
const debianPython = "/usr/bin/python3"

// Libtorrent is the name of the library's Python binding.
const Libtorrent = "python3-libtorrent"

// LibtorrentConfig says what one torrent's libtorrent does.
type LibtorrentConfig struct {
	Config
	Torrent string // file
	Content string // folder in which the torrent's file or folder is, or will be
	// Transport is "tcp", "utp" or "both". Default both.
	Transport string
	// Encryption is "enabled", "forced" or "disabled". Default enabled: it opens with MSE, and accepts both.
	Encryption string
}

// StartLibtorrent starts libtorrent, as Debian packages it for Python (2.0.8), with one torrent whose trackers it asks for peers. It
// checks what is there first; its event is Complete, also for what was complete before. What to know about it:
//
//   - It maps files into memory: its resident memory counts the pages of the content.
//   - It binds its sockets to the interface that has its address: nobody but itself reaches it from its own host.
//   - Over uTP it sends one datagram a system call, and gets through 6 MB/s or so on a link without limit.
func StartLibtorrent(ctx context.Context, c LibtorrentConfig) (*Driver, error) {
	var err error
	if c.Config, err = c.prepared(); err != nil {
		return nil, err
	}
	driver := filepath.Join(c.Dir, "driver.py") // of the library's own name it would be imported in its place
	if err := os.WriteFile(driver, libtorrentDriver, 0o644); err != nil {
		return nil, fmt.Errorf("programs: start libtorrent: %w", err)
	}
	return StartDriver(ctx, DriverConfig{Host: c.Host, Dir: c.Dir, Program: debianPython, Args: []string{
		driver, "--listen", c.addr().String(), "--transport", cmp.Or(c.Transport, "both"),
		"--encryption", cmp.Or(c.Encryption, "enabled"), "--dir", c.Content, c.Torrent,
	}})
}

// LibtorrentVersion returns the version of the installed binding, or an error that says what to install.
func LibtorrentVersion(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, debianPython, "-I", "-c", "import libtorrent; print(libtorrent.version)").Output()
	if err != nil {
		return "", fmt.Errorf("programs: libtorrent for Python not found: apt install %s", Libtorrent)
	}
	return strings.TrimSpace(string(out)), nil
}
