package control

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

// maxInvite is the longest text that ParseInvite looks at, in bytes.
const maxInvite = 1 << 10

// ErrInvite is a text that is not an invite. The error says what is wrong and never shows the token.
var ErrInvite = errors.New("control: not an invite: copy the whole line simplebit://HOST:PORT/?pin=…&token=…")

// Invite is what lets a new device join: where the surrogate is, whom to trust there, and the secret that admits once.
type Invite struct {
	Addr  string // host:port of the surrogate's control endpoint
	Pin   Pin    // of the deployment key
	Token string // a secret: 1 to MaxToken letters, digits and "-._~"
	TCP   uint16 // port of the same host for control over TCP, where UDP does not work; 0: none
}

// String returns the invite as a URL, simplebit://HOST:PORT/?pin=…&token=… and &tcp=PORT if it has that. It holds the secret:
// not for logs.
func (i Invite) String() string {
	s := "simplebit://" + i.Addr + "/?pin=" + i.Pin.String() + "&token=" + url.QueryEscape(i.Token)
	if i.TCP != 0 {
		s += "&tcp=" + strconv.Itoa(int(i.TCP))
	}
	return s
}

// ParseInvite is the inverse of String; it ignores white space around the text and parameters it does not know. The error
// is ErrInvite.
func ParseInvite(s string) (Invite, error) {
	s = strings.TrimSpace(s)
	if len(s) > maxInvite {
		return Invite{}, badInvite("it is too long")
	}
	// The errors of net/url quote the text, hence the token.
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "simplebit" || u.Opaque != "" || u.User != nil || u.Fragment != "" {
		return Invite{}, badInvite("it is no simplebit:// address")
	}
	if u.Path != "" && u.Path != "/" {
		return Invite{}, badInvite("it has a path")
	}
	addr, err := inviteAddr(u.Host)
	if err != nil {
		return Invite{}, err
	}
	q, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return Invite{}, badInvite("the part after ? is garbled")
	}
	if len(q["pin"]) != 1 || len(q["token"]) != 1 {
		return Invite{}, badInvite("it needs one pin and one token")
	}
	pin, err := ParsePin(q.Get("pin"))
	if err != nil {
		return Invite{}, badInvite("the pin is garbled")
	}
	token := q.Get("token")
	if token == "" || len(token) > MaxToken || strings.Trim(token, tokenAlphabet) != "" {
		return Invite{}, badInvite("the token is garbled")
	}
	var tcp uint64
	if q.Has("tcp") {
		if tcp, err = strconv.ParseUint(q.Get("tcp"), 10, 16); err != nil || tcp == 0 || len(q["tcp"]) != 1 {
			return Invite{}, badInvite("the TCP port is not 1 to 65535")
		}
	}
	return Invite{addr, pin, token, uint16(tcp)}, nil
}

const tokenAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"

// inviteAddr checks host:port and returns it in its usual form.
func inviteAddr(hostport string) (string, error) {
	host, port, err := net.SplitHostPort(hostport)
	if err != nil {
		return "", badInvite("it needs a host and a port")
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 {
		return "", badInvite("the port is not 1 to 65535")
	}
	if ip, err := netip.ParseAddr(host); (err != nil || ip.Zone() != "") && !isHostName(host) {
		return "", badInvite("the host is no name and no IP address")
	}
	return net.JoinHostPort(host, strconv.FormatUint(n, 10)), nil
}

func isHostName(s string) bool {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._"
	return s != "" && len(s) <= 253 && strings.Trim(s, alphabet) == ""
}

func badInvite(why string) error { return fmt.Errorf("%w (%s)", ErrInvite, why) }
