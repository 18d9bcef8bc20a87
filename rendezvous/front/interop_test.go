//go:build linux

package front_test

import (
	"bytes"
	"context"
	"crypto/sha1"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"simplebit/integration/natlab"
	"simplebit/integration/programs"
	"simplebit/rendezvous/front"
	"simplebit/wire/dial"
	"simplebit/wire/peer"
)

const patience = 3 * time.Minute // for what real clients must do

func TestMain(m *testing.M) {
	natlab.Enter()
	os.Exit(m.Run())
}

// client is what the real clients have in common.
type client interface {
	Seed(ctx context.Context, torrentFile, contentDir string) error
	Leech(ctx context.Context, torrentFile, downloadDir string) error
	WaitComplete(ctx context.Context) error
	Addr() netip.AddrPort
}

func start(ctx context.Context, program string, c programs.Config) (client, error) {
	switch program {
	case programs.TransmissionDaemon:
		return programs.StartTransmission(ctx, c)
	case programs.QBittorrentNox:
		return programs.StartQBittorrent(ctx, c)
	case programs.Aria2c:
		return programs.StartAria2(ctx, c)
	default:
		return programs.StartRtorrent(ctx, c)
	}
}

// scene is a lab with a torrent whose info dictionary has several pieces.
type scene struct {
	t       *testing.T
	lab     *natlab.Lab
	hosts   map[string]*natlab.Host
	dir     string
	torrent programs.Torrent
	info    []byte

	trackers int
}

func newScene(t *testing.T, needed ...string) *scene {
	t.Helper()
	programs.Require(t, append(needed, programs.Mktorrent)...)
	lab, err := natlab.New(natlab.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := lab.Close(); err != nil {
			t.Error(err)
		}
	})
	s := &scene{t: t, lab: lab, hosts: map[string]*natlab.Host{}, dir: t.TempDir()}
	tracker := s.tracker() // rtorrent takes no torrent without one
	file := filepath.Join(s.dir, "album.bin")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(file, 64<<20); err != nil {
		t.Fatal(err)
	}
	s.torrent, err = programs.MakeTorrent(t.Context(), programs.MakeConfig{Content: file, File: filepath.Join(s.dir, "album.torrent"), PieceLength: 32 << 10, Announce: []string{tracker}})
	if err != nil {
		t.Fatal(err)
	}
	metainfo, err := os.ReadFile(s.torrent.File)
	if err != nil {
		t.Fatal(err)
	}
	from := bytes.Index(metainfo, []byte("4:infod")) + len("4:info")
	for to := len(metainfo); to > from && s.info == nil; to-- {
		if sha1.Sum(metainfo[from:to]) == s.torrent.InfoHash {
			s.info = metainfo[from:to]
		}
	}
	if len(s.info) <= 2*peer.MetadataPieceSize {
		t.Fatalf("the info dictionary has %d bytes", len(s.info))
	}
	return s
}

// host returns the host of a name, a new one the first time.
func (s *scene) host(name string) *natlab.Host {
	s.t.Helper()
	if s.hosts[name] == nil {
		h, err := s.lab.Host(name)
		if err != nil {
			s.t.Fatal(err)
		}
		s.hosts[name] = h
	}
	return s.hosts[name]
}

// start starts a client on a host of its own.
func (s *scene) start(ctx context.Context, program, host string) client {
	s.t.Helper()
	c, err := start(ctx, program, programs.Config{Host: s.host(host), Dir: filepath.Join(s.dir, host), PEX: true})
	if err != nil {
		s.t.Fatal(err)
	}
	return c
}

// sight is what a front saw.
type sight struct {
	*front.Presence
	addr      netip.AddrPort
	mu        sync.Mutex
	reachable []netip.AddrPort
	learned   chan []byte
}

// front enters the torrent on a host of its own, with a size of 0 where the metadata is to be fetched.
func (s *scene) front(ctx context.Context, name string, size int) *sight {
	s.t.Helper()
	h := s.host(name)
	ln, err := h.Listen("tcp", ":6881")
	if err != nil {
		s.t.Fatal(err)
	}
	v := &sight{addr: netip.AddrPortFrom(h.Addr(), 6881), learned: make(chan []byte, 1)}
	f := front.New(front.Config{Dialer: &dial.Dialer{TCP: h}, PeerID: peer.NewID(), Software: "SimpleBit/test", Port: 6881,
		Log: slog.New(slog.NewTextHandler(s.t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug})).With("at", name),
	})
	v.Presence, err = f.Enter(front.Torrent{
		InfoHash: s.torrent.InfoHash, InfoSize: size, Info: func(context.Context) ([]byte, error) { return s.info, nil },
		Reachable: func(list []front.Peer) {
			v.mu.Lock()
			defer v.mu.Unlock()
			for _, p := range list {
				v.reachable = append(v.reachable, p.Addr)
			}
		},
		Learned: func(info []byte) { v.learned <- info },
	})
	if err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(ctx)
	var serving sync.WaitGroup
	serving.Go(func() { f.Serve(ctx, ln) })
	s.t.Cleanup(func() {
		v.Leave()
		cancel()
		serving.Wait()
	})
	return v
}

// saw waits until an address was reported.
func (v *sight) saw(ctx context.Context, a netip.AddrPort) bool {
	for ; ctx.Err() == nil; time.Sleep(20 * time.Millisecond) {
		v.mu.Lock()
		ok := slices.Contains(v.reachable, a)
		v.mu.Unlock()
		if ok {
			return true
		}
	}
	return false
}

func TestMetadataComesFromEveryRealClient(t *testing.T) {
	all := []string{programs.QBittorrentNox, programs.TransmissionDaemon, programs.Aria2c, programs.RTorrent}
	s := newScene(t, all...)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var seeding sync.WaitGroup
	for i, program := range all {
		c := s.start(ctx, program, fmt.Sprint("seeder", i))
		v := s.front(ctx, fmt.Sprint("front", i), 0)
		seeding.Go(func() {
			if err := c.Seed(ctx, s.torrent.File, s.dir); err != nil {
				t.Error(err)
				return
			}
			began := time.Now()
			v.Add([]netip.AddrPort{c.Addr()}, front.SourceMagnet)
			select {
			case info := <-v.learned:
				if !bytes.Equal(info, s.info) {
					t.Errorf("%s: %d other bytes", program, len(info))
				}
				t.Logf("%s gave %d bytes of metadata within %v", program, len(info), time.Since(began).Round(time.Millisecond))
			case <-ctx.Done():
				t.Errorf("%s gave no metadata: %+v", program, v.Status())
			}
		})
	}
	seeding.Wait()
}

// tracker runs a tracker that names the peers given, whatever it is asked.
func (s *scene) tracker(peers ...netip.AddrPort) (url string) {
	s.t.Helper()
	s.trackers++
	h := s.host(fmt.Sprint("tracker", s.trackers))
	ln, err := h.Listen("tcp", ":80")
	if err != nil {
		s.t.Fatal(err)
	}
	var compact []byte
	for _, p := range peers {
		compact = append(append(compact, p.Addr().AsSlice()...), byte(p.Port()>>8), byte(p.Port()))
	}
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, "d8:intervali60e5:peers%d:%se", len(compact), compact)
	})}
	go srv.Serve(ln)
	s.t.Cleanup(func() { srv.Close() })
	return fmt.Sprintf("http://%v/announce", h.Addr())
}

func TestRealMagnetClientsGetTheMetadataFromFront(t *testing.T) {
	s := newScene(t, programs.Aria2c, programs.QBittorrentNox)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	v := s.front(ctx, "front", len(s.info))
	magnet := s.torrent.Magnet(s.tracker(v.addr))

	began := time.Now()
	h, saved := s.host("aria"), filepath.Join(s.dir, "aria")
	if err := os.Mkdir(saved, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := h.Command(ctx, programs.Aria2c, "--no-conf", "--enable-dht=false", "--enable-dht6=false", "--bt-enable-lpd=false", "--bt-metadata-only=true", "--bt-save-metadata=true", "--dir="+saved, "--listen-port=6999", magnet)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	got, err := os.ReadFile(filepath.Join(saved, fmt.Sprintf("%x.torrent", s.torrent.InfoHash)))
	if err != nil || !bytes.Contains(got, s.info) {
		t.Errorf("aria2 saved %d bytes, %v", len(got), err)
	}
	t.Logf("aria2 had the metadata after %v", time.Since(began).Round(time.Millisecond))

	q := s.start(ctx, programs.QBittorrentNox, "qbittorrent").(*programs.QBittorrent)
	began = time.Now()
	api := http.Client{Transport: &http.Transport{DialContext: s.host("qbittorrent").DialContext}}
	defer api.CloseIdleConnections()
	post := func(path string, form url.Values) string {
		t.Helper()
		r, err := api.PostForm("http://127.0.0.1:8080/api/v2/"+path, form)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		var b bytes.Buffer
		b.ReadFrom(r.Body)
		return b.String()
	}
	if answer := post("torrents/add", url.Values{"urls": {magnet}}); !strings.HasPrefix(answer, "Ok") {
		t.Fatalf("qBittorrent says %q", answer)
	}
	for {
		st, err := q.Status(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if st.Size == s.torrent.Length {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Logf("qBittorrent had the metadata after %v", time.Since(began).Round(time.Millisecond))
	if v.Status().Metadata != (front.MetadataStatus{}) {
		t.Error("front fetches what it has")
	}
}

// A seeder and a leecher that know of nobody but front meet through it, and then tell other fronts of each other.
func TestRealClientsExchangePeersWithFront(t *testing.T) {
	s := newScene(t, programs.TransmissionDaemon, programs.QBittorrentNox)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	seeder, leecher := s.start(ctx, programs.QBittorrentNox, "seeder"), s.start(ctx, programs.TransmissionDaemon, "leecher")
	if err := seeder.Seed(ctx, s.torrent.File, s.dir); err != nil {
		t.Fatal(err)
	}
	if err := leecher.Leech(ctx, s.torrent.File, filepath.Join(s.dir, "got")); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	v := s.front(ctx, "front", len(s.info))
	v.Hungry(true)
	v.Add([]netip.AddrPort{seeder.Addr(), leecher.Addr()}, front.SourceTracker)
	if err := leecher.WaitComplete(ctx); err != nil {
		t.Fatalf("%v: %+v", err, v.Status())
	}
	t.Logf("Transmission had all of it after %v", time.Since(began).Round(time.Millisecond))
	began = time.Now()
	var telling sync.WaitGroup
	for name, c := range map[string]struct{ told, other client }{"qbittorrent": {seeder, leecher}, "transmission": {leecher, seeder}} {
		w := s.front(ctx, "front-"+name[:5], len(s.info))
		w.Add([]netip.AddrPort{c.told.Addr()}, front.SourceTracker)
		telling.Go(func() {
			if !w.saw(ctx, c.other.Addr()) {
				t.Errorf("%s told nobody of the other: %+v", name, w.Status())
			}
			t.Logf("%s told of the other after %v", name, time.Since(began).Round(time.Millisecond))
		})
	}
	telling.Wait()
}
