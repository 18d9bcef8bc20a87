//go:build linux

package integration

import (
	"bytes"
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"math"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/anacrolix/torrent/bencode"

	"simplebit/integration/programs"
	"simplebit/rendezvous/apiclient"
	"simplebit/wire/peer"
)

// goodInfo is an info dictionary with two files, for a test to spoil.
func goodInfo() map[string]any {
	return map[string]any{
		"name": "album", "piece length": 16384, "pieces": strings.Repeat("h", 2*sha1.Size),
		"files": []any{entry(20000, "one"), entry(5000, "folder", "two")},
	}
}

func entry(length any, path ...string) map[string]any {
	return map[string]any{"length": length, "path": path}
}

func TestBadTorrentsAndMagnetsAreRefusedAndLeaveNoJob(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	attic := s.agent("attic")
	refused := func(what, argument, says string) {
		t.Helper()
		line := s.refusal(s.surrogate.Simplebit(t.Context(), "add", argument, "--to", "attic"))
		if !strings.HasPrefix(line, "simplebit: ") || !strings.Contains(line, says) {
			t.Errorf("%s: %q does not say %q", what, line, says)
		}
	}
	file := filepath.Join(s.dir, "bad.torrent")
	refusedFile := func(what string, b []byte, says string) {
		t.Helper()
		s.ok(os.WriteFile(file, b, 0o644))
		refused(what, file, says)
	}

	good := torrentFile(bencode.MustMarshal(goodInfo()), "http://198.18.9.2/announce")
	refusedFile("empty", nil, "is not a .torrent file")
	refusedFile("another kind of file", []byte("hello"), "is not a .torrent file")
	refusedFile("cut short", good[:len(good)-30], "bad torrent")
	refusedFile("something behind it", append(good, 'x'), "bad torrent")
	refusedFile("deeply nested", []byte("d4:info"+strings.Repeat("l", 1<<20)), "bad torrent")
	refusedFile("a length that is a lie", []byte("d4:info999999999999:x"), "bad torrent")
	refusedFile("no info", []byte("d8:announce3:abce"), "it has no info dictionary")
	refusedFile("larger than allowed", append([]byte("d"), make([]byte, apiclient.MaxTorrent)...), "too large")
	refused("no such file", filepath.Join(s.dir, "nowhere.torrent"), "cannot read the torrent")

	long := strings.Repeat("long", 1000)
	for _, c := range []struct {
		what   string
		change map[string]any
		says   string
	}{
		{"name is ..", map[string]any{"name": ".."}, "could leave the download folder"},
		{"name with a slash", map[string]any{"name": "../x"}, "slash"},
		{"empty name", map[string]any{"name": ""}, "empty name"},
		{"absolute name", map[string]any{"name": "/etc"}, "absolute path"},
		{".. in a path", map[string]any{"files": []any{entry(25000, "a", "..", "..", "x")}}, "could leave the download folder"},
		{"absolute path", map[string]any{"files": []any{entry(25000, "/etc", "passwd")}}, "absolute path"},
		{"drive", map[string]any{"files": []any{entry(25000, `C:\Windows`)}}, "absolute path"},
		{"backslashes", map[string]any{"files": []any{entry(25000, `a\..\..\b`)}}, "could leave the download folder"},
		{"slash in a path", map[string]any{"files": []any{entry(25000, "a/../../b")}}, "slash"},
		{"zero byte", map[string]any{"files": []any{entry(25000, "a\x00b")}}, "zero byte"},
		{"empty path", map[string]any{"files": []any{entry(25000)}}, "empty path"},
		{"empty element", map[string]any{"files": []any{entry(25000, "a", "", "b")}}, "empty name"},
		{"twice the same path", map[string]any{"files": []any{entry(20000, "a"), entry(5000, "a")}}, "is in it twice"},
		{"file and folder", map[string]any{"files": []any{entry(20000, "a"), entry(5000, "a", "b")}}, "both a file and a folder"},
		{"path beyond all limits", map[string]any{"files": []any{entry(25000, strings.Split(long, "o")...)}}, "bytes"},
		{"no files", map[string]any{"files": []any{}}, "0 files"},
		{"no pieces", map[string]any{"pieces": ""}, "no pieces"},
		{"part of a hash", map[string]any{"pieces": strings.Repeat("h", 39)}, "whole SHA-1 hashes"},
		{"too few pieces", map[string]any{"pieces": strings.Repeat("h", 20)}, "2 pieces of 16384 bytes, but it has hashes of 1"},
		{"too many pieces", map[string]any{"pieces": strings.Repeat("h", 60)}, "but it has hashes of 3"},
		{"piece length 0", map[string]any{"piece length": 0}, "piece length is 0 bytes"},
		{"negative piece length", map[string]any{"piece length": -16384}, "piece length is -16384 bytes"},
		{"piece length above 64 MiB", map[string]any{"piece length": 64<<20 + 1, "pieces": strings.Repeat("h", 20)}, "not between 1 and 67108864"},
		{"negative length", map[string]any{"files": []any{entry(30000, "a"), entry(-5000, "b")}}, "negative length"},
		{"lengths that overflow", map[string]any{"files": []any{entry(math.MaxInt64, "a"), entry(math.MaxInt64, "b")}}, "overflow"},
		{"length that is no number", map[string]any{"files": []any{entry("25000", "a")}}, "does not decode"},
		{"no content", map[string]any{"files": []any{entry(0, "a")}}, "no bytes of content"},
		{"version 2 only", map[string]any{"pieces": nil, "files": nil, "meta version": 2, "file tree": map[string]any{}}, "v2-only"},
	} {
		info := goodInfo()
		maps.Copy(info, c.change)
		maps.DeleteFunc(info, func(_ string, v any) bool { return v == nil })
		refusedFile(c.what, torrentFile(bencode.MustMarshal(info), "http://198.18.9.2/announce"), c.says)
	}
	many := goodInfo()
	files := make([]any, 200_001)
	for i := range files {
		files[i] = entry(1, fmt.Sprint(i))
	}
	many["files"] = files
	refusedFile("200,001 files", torrentFile(bencode.MustMarshal(many), ""), "200001 files, not between 1 and 200000")

	hash := strings.Repeat("ab", 20)
	for _, c := range []struct{ magnet, says string }{
		{"magnet:", "it does not start with magnet:?"},
		{"magnet:?dn=album", "it has no info-hash"},
		{"magnet:?xt=urn:btih:" + hash[1:], "is not 40 hexadecimal or 32 base32 characters"},
		{"magnet:?xt=urn:btih:" + strings.Repeat("zz", 20), "is not 40 hexadecimal or 32 base32 characters"},
		{"magnet:?xt=urn:btih:" + hash + "&xt=urn:btih:" + strings.Repeat("ba", 20), "it names two different torrents"},
		{"magnet:?xt=urn:btmh:1220" + strings.Repeat("ab", 32), "v2-only"},
		{"magnet:?xt=urn:btih:" + hash + "&dn=" + strings.Repeat("n", 64<<10), "65536"},
	} {
		refused(c.magnet[:min(len(c.magnet), 60)], c.magnet, c.says)
	}

	if out := s.simplebit("ls", "--json"); out != "[]\n" {
		t.Errorf("refused torrents left jobs: %s", out)
	}
	s.same(t.TempDir(), attic.Downloads())
	if st, err := attic.Status(); err != nil || len(st.Torrents) != 0 {
		t.Errorf("the agent holds %+v (%v)", st.Torrents, err)
	}
	s.ok(os.WriteFile(file, good, 0o644))
	s.says(s.simplebit("add", file, "--to", "attic"), "added album to device:attic")
}

// TestOddNamesAreSavedUnderSafeOnes has a scripted peer give what no real
// client could keep on its disk under these names.
func TestOddNamesAreSavedUnderSafeOnes(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	attic := s.agent("attic")
	long := strings.Repeat("lång", 100) // 500 bytes
	paths := [][]string{
		{"CON"}, {"aux.txt", "nul"}, {"a:b?*\"<>|"}, {"dot."}, {"space "}, {"tab\tand\u202eturn"}, {"not \xff utf-8"},
		{long + ".flac"}, {long + ".mp3"}, {long, "in a long folder"},
		{"Readme"}, {"README"}, {"song"}, {"song.part"}, {".hidden"}, {"..."},
	}
	var parts []part
	want := map[[32]byte]bool{}
	for i, p := range paths {
		parts = append(parts, part{path: p, content: noise(byte(i), 5000+i)})
	}
	c := craft("COM1", 16<<10, parts...)
	p := s.puppet("puppet", c, honest)
	base := s.web("web", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write(reply(p.addr)) }))
	var j apiclient.Job
	for _, w := range strings.Fields(s.simplebit("add", s.save(c, base+"/announce").File, "--to", "attic")) {
		if id, ok := strings.CutSuffix(w, ":"); ok && len(id) == 8 {
			j = s.wait(id, "download", patience, seeding)
		}
	}
	got := sums(t, attic.Downloads())
	for name := range got {
		for element := range strings.SplitSeq(name, "/") {
			if len(element) > 250 || strings.ContainsAny(element, "\\:*?\"<>|\t\u202e") || !utf8.ValidString(element) || strings.HasSuffix(element, ".") || strings.HasSuffix(element, " ") {
				t.Errorf("unsafe name %q", name)
			}
		}
		want[got[name]] = true
	}
	for _, name := range []string{"_COM1/_CON", "_COM1/_aux.txt/_nul", "_COM1/a_b______", "_COM1/dot_", "_COM1/space_", "_COM1/Readme", "_COM1/.hidden"} {
		if _, ok := got[name]; !ok {
			t.Errorf("there is no %q", name)
		}
	}
	if len(got) != len(paths) || len(want) != len(paths) {
		t.Errorf("%d files with %d contents, want %d: %v", len(got), len(want), len(paths), got)
	}
	s.simplebit("rm", "--data", j.ID)
	s.until("the folder is empty", patience, func() bool {
		left, err := os.ReadDir(attic.Downloads())
		return err == nil && len(left) == 0
	})
}

// TestPaddingFilesAreNotSaved takes a torrent laid out as hybrid ones are (BEP
// 47) from qBittorrent, which knows padding.
func TestPaddingFilesAreNotSaved(t *testing.T) {
	t.Parallel()
	s := newScene(t, programs.QBittorrentNox)
	attic := s.agent("attic")
	const piece = 32 << 10
	var parts []part
	for i, n := range []int{100_000, 1, piece, 70_001} {
		content := noise(byte(i), n)
		name := fmt.Sprint("track ", i)
		s.ok(os.MkdirAll(s.content("album"), 0o755))
		s.ok(os.WriteFile(filepath.Join(s.content("album"), name), content, 0o644))
		parts = append(parts, part{path: []string{name}, content: content})
		if pad := (piece - n%piece) % piece; pad > 0 && i < 3 {
			parts = append(parts, part{path: []string{".pad", fmt.Sprint(pad)}, content: make([]byte, pad), attr: "p"})
		}
	}
	torrent := s.save(craft("album", piece, parts...), s.tracker.URL())
	s.ok(s.tracker.Allow(t.Context(), torrent.InfoHash))
	s.seed(programs.QBittorrentNox, "seeder", torrent)
	j := s.wait(s.add(torrent, "attic").ID, "download", patience, seeding)
	s.same(s.content("album"), filepath.Join(attic.Downloads(), "album"))
	if want := int64(100_000 + 1 + piece + 70_001); j.Size != want || j.Have != want {
		t.Errorf("size %d, have %d, want %d without padding", j.Size, j.Have, want)
	}
}

func TestAHundredThousandFilesAreDescribedInSeconds(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	attic := s.agent("attic")
	parts := make([]part, 100_000)
	for i := range parts {
		parts[i] = part{path: []string{fmt.Sprint("folder ", i/500), fmt.Sprint("file ", i)}, content: []byte{byte(i)}}
	}
	c := craft("archive", 16<<10, parts...)
	file := s.save(c, "http://198.18.9.2/announce").File
	began := time.Now()
	s.simplebit("add", file, "--to", "attic")
	added := time.Since(began)
	var j apiclient.Job
	s.until("the device has the description", patience, func() bool {
		j = s.show("archive")
		return j.State == apiclient.StateDownloading
	})
	described := time.Since(began)
	t.Logf("%d bytes: added after %v, described to the device after %v", len(c.info), added, described)
	if j.Size != 100_000 || described > 30*time.Second {
		t.Errorf("size %d, described after %v", j.Size, described)
	}
	if st, err := attic.Status(); err != nil || st.Torrents[0].Size != 100_000 {
		t.Errorf("the agent says %+v (%v)", st, err)
	}
}

func TestHostilePeersDoNotStopADownload(t *testing.T) {
	t.Parallel()
	s := newScene(t, programs.RTorrent)
	torrent := s.torrent("album", 64<<10, 3<<20, 100, 1<<20)
	attic := s.agent("attic")
	seeder := s.host("seeder")
	s.ok(seeder.Shape(0, 100_000)) // so that the others are of interest until all of them have had their turn
	rtorrent, err := programs.StartRtorrent(t.Context(), programs.Config{Host: seeder, Dir: filepath.Join(s.dir, "seeder")})
	s.ok(err)
	s.ok(rtorrent.Seed(t.Context(), torrent.File, filepath.Join(s.dir, "content")))
	s.ok(s.tracker.Await(t.Context(), torrent.InfoHash, 1, 0))
	meta, err := os.ReadFile(torrent.File)
	s.ok(err)
	var outer struct {
		Info bencode.Bytes `bencode:"info"`
	}
	s.ok(bencode.Unmarshal(meta, &outer))
	c := crafted{info: outer.Info, content: make([]byte, torrent.Length), pieceLength: 64 << 10}
	hostile := []*puppet{
		s.puppet("liar", c, lying), s.puppet("flooder", c, flooding), s.puppet("garbler", c, garbling),
		s.puppet("stutterer", c, stuttering),
	}
	magnet := torrent.Magnet(s.tracker.URL())
	for _, p := range hostile {
		magnet += "&x.pe=" + p.addr.String()
	}
	s.simplebit("add", magnet, "--to", "attic")
	s.until("the surrogate has met each of them and keeps them from the device", patience, func() bool {
		return !slices.ContainsFunc(hostile, func(p *puppet) bool { return p.met.Load() == 0 })
	})
	s.until("the device downloads", patience, func() bool { return s.show("album").State == apiclient.StateDownloading })
	for _, p := range hostile {
		s.ok(p.visit(t.Context(), attic.Addr()))
	}
	for _, why := range []string{"corrupt data and is banned", "not asked for", "longer than the limit", "peer broke the encryption handshake"} {
		s.until("the device says: "+why, patience, func() bool {
			b, err := os.ReadFile(attic.Log())
			return err == nil && bytes.Contains(b, []byte(why))
		})
	}
	s.ok(seeder.Shape(0, 0))
	s.until("download", patience, func() bool { return seeding(s.show("album")) })
	s.same(s.content("album"), filepath.Join(attic.Downloads(), "album"))
	// A first bad piece tells, while what is under way still comes.
	if n := hostile[0].blocks.Load(); n == 0 || n > 100 {
		t.Errorf("the liar was asked for %d blocks, want 1 to 100", n)
	}
}

func TestHostileTrackersDoNotStopADownload(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	attic := s.agent("attic")
	c := craft("album", 16<<10, part{path: []string{"one"}, content: noise(1, 300_000)})
	p := s.puppet("puppet", c, honest)

	// What a stranger must not make the surrogate reach: its own machine.
	inside, err := s.surrogate.Host().Listen("tcp", "127.0.0.1:99")
	s.ok(err)
	t.Cleanup(func() { inside.Close() })
	reached := make(chan string, 1)
	go http.Serve(inside, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case reached <- r.URL.String():
		default:
		}
	}))
	mux := http.NewServeMux()
	mux.HandleFunc("/garbage", func(w http.ResponseWriter, _ *http.Request) { w.Write(noise(9, 5000)) })
	mux.HandleFunc("/nested", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, strings.Repeat("l", 900<<10)) })
	mux.HandleFunc("/large", func(w http.ResponseWriter, _ *http.Request) { io.Copy(w, bytes.NewReader(make([]byte, 10<<20))) })
	mux.HandleFunc("/inside", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://127.0.0.1:99/secret", http.StatusFound)
	})
	mux.HandleFunc("/endless", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/endless", http.StatusFound) })
	mux.HandleFunc("/refusing", func(w http.ResponseWriter, _ *http.Request) {
		w.Write(bencode.MustMarshal(map[string]any{"failure reason": "go\naway\x1b[2J, stranger"}))
	})
	mux.HandleFunc("/page", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusNotFound)
		io.WriteString(w, "<html>")
	})
	mux.HandleFunc("/honest", func(w http.ResponseWriter, _ *http.Request) {
		own := netip.MustParseAddrPort("127.0.0.1:99")
		w.Write(reply(own, netip.MustParseAddrPort("10.0.0.1:80"), netip.AddrPortFrom(p.addr.Addr(), 0), p.addr))
	})
	base := s.web("web", mux)
	says := map[string]string{
		"/garbage": "the answer is not a tracker's", "/nested": "the answer is not a tracker's", "/large": "more than 1 MiB",
		"/inside": "127.0.0.1 is a private address", "/endless": "more than 5 redirects",
		"/refusing": "refused: go_away_[2J, stranger", "/page": "HTTP status 404",
	}
	hash := sha1.Sum(c.info)
	magnet := "magnet:?xt=urn:btih:" + hex.EncodeToString(hash[:]) + "&tr=http%3A%2F%2F10.0.0.1%2Fannounce&tr=http%3A%2F%2F127.0.0.1%3A99%2Fsecret"
	for path := range says {
		magnet += "&tr=" + url.QueryEscape(base+path)
	}
	says["http://10.0.0.1/announce"], says["http://127.0.0.1:99/secret"] = "10.0.0.1 is a private address", "127.0.0.1 is a private address"
	magnet += "&tr=" + url.QueryEscape(base+"/honest")
	s.simplebit("add", magnet, "--to", "attic")
	var j apiclient.Job
	s.until("download", patience, func() bool {
		j = s.show(hex.EncodeToString(hash[:]))
		return seeding(j)
	})
	for _, tr := range j.Trackers {
		want, ok := says[strings.TrimPrefix(tr.URL, base)]
		if !ok && tr.Error != "" || !strings.Contains(tr.Error, want) || strings.ContainsAny(tr.Error, "\n\x1b") {
			t.Errorf("%s: %q does not say %q", tr.URL, tr.Error, want)
		}
	}
	if len(j.Trackers) != len(says)+1 {
		t.Errorf("%d trackers are shown, want %d", len(j.Trackers), len(says)+1)
	}
	got, err := os.ReadFile(filepath.Join(attic.Downloads(), "album", "one"))
	if err != nil || !bytes.Equal(got, c.content) {
		t.Errorf("the download differs (%v)", err)
	}
	select {
	case what := <-reached:
		t.Errorf("the surrogate was led to its own %s", what)
	default:
	}
}

func TestGarbageOnOpenPortsIsHarmless(t *testing.T) {
	t.Parallel()
	s := newScene(t, programs.RTorrent)
	attic := s.agent("attic")
	torrent := s.torrent("album", 64<<10, 1<<20)
	s.seed(programs.RTorrent, "seeder", torrent)

	stranger := s.host("stranger")
	udp, err := stranger.ListenPacket("udp", ":0")
	s.ok(err)
	t.Cleanup(func() { udp.Close() })
	control := netip.AddrPortFrom(s.surrogate.Host().Addr(), 4433)
	for i := range 500 {
		b := noise(byte(i), 40+2*i)
		b[0] |= byte(i) & 0xc0 // long and short headers of QUIC (RFC 8999), and others
		for _, at := range []netip.AddrPort{control, attic.Addr()} {
			_, err := udp.WriteTo(b, net.UDPAddrFromAddrPort(at))
			s.ok(err)
		}
	}
	id := sha1.Sum([]byte("another torrent"))
	for _, greeting := range [][]byte{
		nil, noise(1, 3), noise(2, 1<<10), []byte("GET / HTTP/1.1\r\n\r\n"), peer.Handshake{InfoHash: id}.AppendMarshal(nil),
		append(peer.Handshake{InfoHash: torrent.InfoHash}.AppendMarshal(nil), noise(3, 64<<10)...),
	} {
		for range 10 {
			c, err := stranger.DialContext(t.Context(), "tcp", attic.Addr().String())
			s.ok(err)
			t.Cleanup(func() { c.Close() }) // until then an empty greeting waits for its end
			c.Write(greeting)
		}
	}
	s.wait(s.addBy(torrent.Magnet(s.tracker.URL()), "attic").ID, "download", patience, seeding)
	s.same(s.content("album"), filepath.Join(attic.Downloads(), "album"))
}
