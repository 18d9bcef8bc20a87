package tracker

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// startOpentracker runs a real tracker for one torrent and returns its address for announces.
func startOpentracker(t *testing.T, infoHash [20]byte) string {
	t.Helper()
	if _, err := exec.LookPath("opentracker"); err != nil {
		reason := "opentracker is not installed: install the Debian package opentracker"
		if os.Getenv("CI") == "true" {
			t.Fatal(reason)
		}
		t.Skip(reason)
	}
	// It drops to an unprivileged user before it reads the list.
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "list"), fmt.Appendf(nil, "%x\n", infoHash), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, d := range []string{dir, filepath.Dir(dir)} {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	// An address that nobody else uses: ports of 127.0.0.1 come and go.
	pid := os.Getpid()
	addr := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 1, byte(pid >> 8), byte(pid)}), 6969)
	port := fmt.Sprint(addr.Port())
	cmd := exec.Command("opentracker", "-i", addr.Addr().String(), "-p", port, "-P", port, "-d", dir, "-w", "list")
	cmd.Dir = dir
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	// It answers before its other thread has read the list, and does not look there when somebody leaves.
	url := fmt.Sprintf("http://%v/announce", addr)
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		var err error
		for _, e := range []Event{EventStarted, EventStopped} {
			if err == nil {
				_, err = NewClient(Config{}).Announce(t.Context(), url, Request{InfoHash: infoHash, Port: 1, Event: e})
			}
		}
		if err == nil {
			return url
		}
		if time.Now().After(deadline) {
			t.Fatalf("opentracker does not start: %v", err)
		}
	}
}

func TestRealTrackerCountsUsAndHandsOutPeers(t *testing.T) {
	infoHash := [20]byte{0: 0xff, 1: ' ', 2: '%', 3: '+', 4: '&', 19: 0x7f}
	http := startOpentracker(t, infoHash)
	udp := "udp" + strings.TrimPrefix(http, "http") + "?passkey=k"
	client := NewClient(Config{})
	url := http
	peer := func(n byte, left int64, e Event) Response {
		t.Helper()
		r, err := client.Announce(t.Context(), url, Request{
			InfoHash: infoHash, PeerID: [20]byte{0: '-', 1: n}, Port: 7000 + uint16(n), Left: left, Event: e, Key: 1,
		})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	want := func(r Response, seeders, leechers int, ports ...uint16) {
		t.Helper()
		var got []uint16
		for _, p := range r.Peers {
			if p.Addr() != netip.MustParseAddr("127.0.0.1") {
				t.Errorf("peer %v", p)
			}
			got = append(got, p.Port())
		}
		slices.Sort(got)
		if r.Seeders != seeders || r.Leechers != leechers || !slices.Equal(got, ports) {
			t.Errorf("%d seeders, %d leechers, ports %v, want %d, %d, %v", r.Seeders, r.Leechers, got, seeders, leechers, ports)
		}
	}
	want(peer(1, 0, EventStarted), 1, 0, 7001)
	want(peer(2, 5, EventStarted), 1, 1, 7001, 7002)
	url = udp // the same swarm
	want(peer(2, 0, EventCompleted), 2, 0, 7001, 7002)
	want(peer(3, 5, EventStarted), 2, 1, 7001, 7002, 7003)
	for _, url := range []string{http, udp} {
		got, err := client.Scrape(t.Context(), url, infoHash)
		if err != nil || got != (Scrape{Seeders: 2, Leechers: 1, Downloads: 1}) {
			t.Errorf("scrape of %s: %+v, %v", url, got, err)
		}
	}
	want(peer(3, 5, EventStopped), 2, 0)
	want(peer(1, 0, EventStopped), 1, 0)
	url = http
	want(peer(2, 0, EventNone), 1, 0, 7002)

	for _, url := range []string{http, udp} {
		_, err := client.Announce(t.Context(), url, Request{InfoHash: [20]byte{1}, PeerID: [20]byte{1}, Port: 1})
		var refused *FailureError
		if !errors.As(err, &refused) {
			t.Errorf("a torrent that is not on the list of %s gives %v", url, err)
		}
	}
}
