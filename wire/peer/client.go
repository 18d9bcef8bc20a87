package peer

import (
	"strconv"
	"strings"
	"unicode"
)

// maxClientName is the longest name ClientName gives, in bytes.
const maxClientName = 64

// clientNames are the two letters of Azureus-style peer ids (BEP 20) of the clients met most often.
var clientNames = map[string]string{
	"7T": "aTorrent", "A2": "aria2", "AZ": "Vuze", "BC": "BitComet", "BI": "BiglyBT", "BT": "BitTorrent", "DE": "Deluge",
	"FL": "Flud", "GT": "anacrolix/torrent", "KT": "KTorrent", "LT": "libtorrent", "lt": "rTorrent", "RN": "rain",
	"SB": "SimpleBit", "SD": "Xunlei", "TL": "Tribler", "TR": "Transmission", "TX": "Tixati", "UM": "µTorrent Mac",
	"UT": "µTorrent", "UW": "µTorrent Web", "WD": "WebTorrent Desktop", "WW": "WebTorrent", "XL": "Xunlei", "qB": "qBittorrent",
}

// ClientName names a peer's program for people: v, the `v` of its extension handshake, where it says something, else what
// its peer id tells (BEP 20), else "unknown". The result is printable and at most 64 bytes long, whatever the peer sent;
// it is not escaped for HTML.
func ClientName(peerID [20]byte, v string) string {
	if name := printable(v); name != "" {
		return name
	}
	if name := azureusName(peerID[:8]); name != "" {
		return name
	}
	if p := peerID[:]; p[0] == 'M' && p[2] == '-' && p[4] == '-' && p[6] == '-' {
		return printable("BitTorrent " + string(p[1]) + "." + string(p[3]) + "." + string(p[5]))
	}
	return "unknown"
}

// azureusName reads "-qB4650-": two characters for the client and four for its version, each a digit or a letter that goes
// on counting from ten. Trailing zeros beyond the second part are dropped.
func azureusName(id []byte) string {
	if id[0] != '-' {
		return ""
	}
	code := string(id[1:3])
	name, known := clientNames[code]
	if !known {
		if name = printable(code); len(name) != 2 {
			return ""
		}
	}
	var parts []string
	for _, c := range id[3:7] {
		n := versionDigit(c)
		if n < 0 {
			break
		}
		parts = append(parts, strconv.Itoa(n))
	}
	for len(parts) > 2 && parts[len(parts)-1] == "0" {
		parts = parts[:len(parts)-1]
	}
	if len(parts) < 2 {
		return name
	}
	return name + " " + strings.Join(parts, ".")
}

func versionDigit(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'A' && c <= 'Z':
		return int(c-'A') + 10
	case c >= 'a' && c <= 'z':
		return int(c-'a') + 36
	}
	return -1
}

// printable keeps the printable characters of s, without space at either end, as far as they fit.
func printable(s string) string {
	var b strings.Builder
	for _, c := range s {
		if c == unicode.ReplacementChar || !unicode.IsPrint(c) {
			continue
		}
		if c == ' ' && b.Len() == 0 {
			continue
		}
		if b.Len()+len(string(c)) > maxClientName {
			break
		}
		b.WriteRune(c)
	}
	return strings.TrimRight(b.String(), " ")
}
