//go:build linux

package programs

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"simplebit/integration/natlab"
)

// The programs, by the names of their executables.
const (
	Opentracker        = "opentracker"
	TransmissionDaemon = "transmission-daemon"
	QBittorrentNox     = "qbittorrent-nox"
	Aria2c             = "aria2c"
	RTorrent           = "rtorrent"
	Mktorrent          = "mktorrent"
	NATSServer         = "nats-server"
	Nft                = "nft"
)

// All lists every program that this package can start.
func All() []string {
	return []string{Opentracker, TransmissionDaemon, QBittorrentNox, Aria2c, RTorrent, Mktorrent, NATSServer}
}

// Missing returns an error that names those of the programs that are not installed, and the Debian packages that they are
// in, or nil.
func Missing(names ...string) error {
	var missing, packages []string
	for _, name := range names {
		if _, err := find(name); err != nil {
			missing = append(missing, name)
			packages = append(packages, Package(name))
		}
	}
	if missing == nil {
		return nil
	}
	return fmt.Errorf("programs: %s not found: apt install %s", strings.Join(missing, ", "), strings.Join(packages, " "))
}

// find returns the path of a program, also of one that Debian puts where only root's PATH leads.
func find(name string) (string, error) {
	if path, err := exec.LookPath(name); err == nil {
		return path, nil
	}
	return exec.LookPath("/usr/sbin/" + name)
}

// Package returns the name of the Debian package that a program is in.
func Package(name string) string {
	switch name {
	case Aria2c:
		return "aria2"
	case Nft:
		return "nftables"
	}
	return name
}

// Require skips the test, with the reason, unless networks can be emulated here and the named programs are installed. Under
// CI=true it fails it instead. To be called from the test's goroutine.
func Require(t testing.TB, names ...string) {
	t.Helper()
	natlab.Require(t)
	err := Missing(names...)
	switch {
	case err == nil:
	case os.Getenv("CI") == "true":
		t.Fatal(err)
	default:
		t.Skip(err)
	}
}
