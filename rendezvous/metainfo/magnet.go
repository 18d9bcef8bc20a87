package metainfo

import (
	"encoding/base32"
	"encoding/hex"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Limits of a magnet link.
const (
	MaxMagnet      = 64 << 10 // bytes of the whole link
	MaxMagnetPeers = 50       // peers; those after are left out
)

// Magnet is a magnet link (BEP 9): a torrent's info-hash with hints about where to find it.
type Magnet struct {
	InfoHash [20]byte // of the version 1 or hybrid torrent
	Name     string   // what the link calls the torrent, for people to read only; at most 250 bytes, may be empty
	Trackers []string // http, https and udp addresses, each once, at most MaxTrackers
	Peers    []string // host:port of peers (x.pe), each once, at most MaxMagnetPeers; hosts may be names
}

// ParseMagnet reads a magnet link of at most MaxMagnet bytes. The info-hash (xt=urn:btih:) is written in hex or in
// base32; numbered parameters such as tr.1 count like the plain ones; unknown ones, and trackers and peers that cannot
// be used, are ignored. Errors are *MagnetError, or ErrV2Only when the link has a version 2 hash (urn:btmh:) only.
func ParseMagnet(link string) (Magnet, error) {
	if len(link) > MaxMagnet {
		return Magnet{}, badMagnet("it has %d bytes, more than the limit of %d", len(link), MaxMagnet)
	}
	scheme, query, ok := strings.Cut(strings.TrimSpace(link), ":?")
	if !ok || !strings.EqualFold(scheme, "magnet") {
		return Magnet{}, badMagnet("it does not start with magnet:?")
	}
	query, _, _ = strings.Cut(query, "#")
	var m Magnet
	var trackers trackerSet
	var hashed, v2 bool
	for param := range strings.SplitSeq(query, "&") {
		key, raw, _ := strings.Cut(param, "=")
		value, err := url.QueryUnescape(raw)
		switch plainKey(key) {
		case "xt":
			hash, kind, hashErr := parseTopic(value)
			if err != nil || hashErr != nil {
				return Magnet{}, badMagnet("its hash %.80q is not 40 hexadecimal or 32 base32 characters", raw)
			}
			if kind == "btih" && hashed && hash != m.InfoHash {
				return Magnet{}, badMagnet("it names two different torrents")
			}
			if kind == "btih" {
				m.InfoHash, hashed = hash, true
			}
			v2 = v2 || kind == "btmh"
		case "dn":
			if err == nil && m.Name == "" {
				m.Name = displayName(value)
			}
		case "tr":
			if err == nil {
				m.Trackers = trackers.add(m.Trackers, value)
			}
		case "x.pe":
			if err == nil && len(m.Peers) < MaxMagnetPeers && isHostPort(value) && !slices.Contains(m.Peers, value) {
				m.Peers = append(m.Peers, value)
			}
		}
	}
	switch {
	case hashed:
		return m, nil
	case v2:
		return Magnet{}, ErrV2Only
	}
	return Magnet{}, badMagnet("it has no info-hash (xt=urn:btih:…)")
}

// String writes the link in its usual form, with the hash in hex.
func (m Magnet) String() string {
	s := "magnet:?xt=urn:btih:" + hex.EncodeToString(m.InfoHash[:])
	if m.Name != "" {
		s += "&dn=" + url.QueryEscape(m.Name)
	}
	for _, t := range m.Trackers {
		s += "&tr=" + url.QueryEscape(t)
	}
	for _, p := range m.Peers {
		s += "&x.pe=" + url.QueryEscape(p)
	}
	return s
}

// plainKey drops the number of a numbered parameter: xt.1, tr.2.
func plainKey(key string) string {
	key = strings.ToLower(key)
	if plain, number, ok := strings.Cut(key, "."); ok && number != "" && strings.Trim(number, "0123456789") == "" {
		return plain
	}
	return key
}

// parseTopic reads the value of an xt parameter. Topics of other networks have an empty kind.
func parseTopic(topic string) (hash [20]byte, kind string, err error) {
	colon := strings.LastIndexByte(topic, ':')
	text := topic[colon+1:]
	switch strings.ToLower(topic[:max(colon, 0)]) {
	case "urn:btmh":
		return hash, "btmh", nil
	case "urn:btih":
	default:
		return hash, "", nil
	}
	var b []byte
	if len(text) == 32 {
		b, err = base32.StdEncoding.DecodeString(strings.ToUpper(text))
	} else {
		b, err = hex.DecodeString(text)
	}
	if err == nil && len(b) != len(hash) {
		err = hex.ErrLength
	}
	copy(hash[:], b)
	return hash, "btih", err
}

// displayName makes a text fit for one line on a terminal or page. It is no file name.
func displayName(s string) string {
	s = strings.Map(visibleRune, strings.ToValidUTF8(s, "_"))
	for len(s) > maxName {
		_, n := utf8.DecodeLastRuneInString(s)
		s = s[:len(s)-n]
	}
	return strings.TrimSpace(s)
}

// isHostPort tells whether s is a host name or address with a port, as x.pe has it.
func isHostPort(s string) bool {
	host, port, err := net.SplitHostPort(s)
	if err != nil || host == "" || len(host) > 253 || strings.ContainsFunc(host, isNotHost) {
		return false
	}
	n, err := strconv.ParseUint(port, 10, 16)
	return err == nil && n > 0
}

// isNotHost tells which characters host names and addresses do not have. Names in other scripts come as punycode.
func isNotHost(r rune) bool {
	return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune(".:-_", r))
}
