package stun

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/pion/stun/v2"
)

// Profile is how often a question is repeated (RFC 5389 section 7.2.1): the first time after First, then after twice as
// long each, up to Longest. After the last of Tries transmissions the answer has Last to come.
type Profile struct {
	First, Longest, Last time.Duration
	Tries                int // all transmissions, 1 to 16
}

// The profiles. Standard is RFC 5389's and gives up after 39.5 s. Quick asks 7 times within 1.1 s and gives up after 2.1 s,
// for questions that somebody waits for, or whose answer a NAT may well not let in.
var (
	Standard = Profile{First: 500 * time.Millisecond, Longest: 16 * time.Second, Last: 8 * time.Second, Tries: 7}
	Quick    = Profile{First: 100 * time.Millisecond, Longest: 200 * time.Millisecond, Last: time.Second, Tries: 7}
)

func (p Profile) check() error {
	if p.First <= 0 || p.Longest < p.First || p.Last <= 0 || p.Tries < 1 || p.Tries > 16 {
		return fmt.Errorf("stun: profile %+v: want 0 < First <= Longest, 0 < Last, and 1 to 16 Tries", p)
	}
	return nil
}

// Options change how a question is answered (RFC 5780 section 4). The zero value asks for the mapped address only.
type Options struct {
	// ChangeIP and ChangePort ask for the answer to come from the server's other address, or other port.
	ChangeIP, ChangePort bool

	// Other is the server's other address and port, needed with ChangeIP or ChangePort to know who may answer. It is what
	// Result.Other was, or what is known of the server. With ChangeIP alone its port does not matter, with ChangePort alone
	// its address.
	Other netip.AddrPort

	// ResponsePort asks for the answer to go to another port of the address that the question came from: if a mapping
	// still exists there, the client that listens behind it hears the answer. The question then goes out by Via, another
	// socket. 0: the answer goes back to where the question came from.
	ResponsePort uint16
	Via          Sender
}

// Result is what a server answered. Addresses are unmapped.
type Result struct {
	Mapped netip.AddrPort // the socket as the server sees it
	Other  netip.AddrPort // the server's other address and other port, if it told one
	Origin netip.AddrPort // where the server says that it answered from, if it told: differs from who did if that is behind a NAT
	RTT    time.Duration  // from the last transmission to the answer
	Sent   int            // transmissions: where it is not 1, RTT may belong to an earlier one, and be too short
}

// ErrNoAnswer is wrapped by the error of a question that was asked as often as the profile says.
var ErrNoAnswer = errors.New("no answer")

// ErrorResponse is an error that the server answered (RFC 5389 section 15.6). Anybody on the way can have sent it.
type ErrorResponse struct {
	Code   int    // 300 to 699
	Reason string // of the server's, at most 127 bytes of printable text
}

// Error says what the server answered.
func (e *ErrorResponse) Error() string {
	return fmt.Sprintf("the STUN server refused: %d %s", e.Code, e.Reason)
}

// transaction is one question: what to send when, and what is an answer. It does no I/O.
type transaction struct {
	id       id
	to       netip.AddrPort
	from     netip.AddrPort // who must answer
	question []byte
	profile  Profile
	begin    time.Time
	last     time.Time // transmission
	next     time.Time // transmission, or the end
	gap      time.Duration
	sent     int
}

// newTransaction begins a question, whose first transmission is due at once.
func newTransaction(now time.Time, transactionID id, to netip.AddrPort, o Options, p Profile) (*transaction, error) {
	t := &transaction{id: transactionID, to: unmap(to), profile: p, begin: now, next: now, gap: p.First}
	if !to.IsValid() || to.Port() == 0 {
		return nil, fmt.Errorf("stun: cannot ask %s: want an address and a port", to)
	}
	var err error
	if t.from, err = answerer(t.to, o); err != nil {
		return nil, err
	}
	t.question = question(transactionID, o)
	return t, nil
}

// answerer is where the answer must come from.
func answerer(to netip.AddrPort, o Options) (netip.AddrPort, error) {
	other := unmap(o.Other)
	ip, port := to.Addr(), to.Port()
	if o.ChangeIP {
		ip = other.Addr()
	}
	if o.ChangePort {
		port = other.Port()
	}
	from := netip.AddrPortFrom(ip, port)
	if !from.IsValid() || port == 0 ||
		o.ChangeIP && (ip == to.Addr() || ip.Is4() != to.Addr().Is4()) || o.ChangePort && port == to.Port() {
		return from, fmt.Errorf("stun: %s cannot answer from another address: its other one is not %s", to, o.Other)
	}
	return from, nil
}

// longest is the bytes of the longest answer of a server of ours: three addresses, and a fingerprint, over IPv6.
const longest = headerSize + 3*(4+20) + 8

// question makes a Binding request of exactly the bytes of the longest answer. What fills it is SOFTWARE, since PADDING
// (RFC 5780 section 7.6) must be understood by servers, which older ones do not.
func question(transactionID id, o Options) []byte {
	m := new(stun.Message)
	start(m, bindingRequest, transactionID)
	if o.ChangeIP || o.ChangePort {
		var v [4]byte
		if o.ChangeIP {
			v[3] |= changeIP
		}
		if o.ChangePort {
			v[3] |= changePort
		}
		m.Add(stun.AttrChangeRequest, v[:])
	}
	if o.ResponsePort != 0 {
		m.Add(stun.AttrResponsePort, []byte{byte(o.ResponsePort >> 8), byte(o.ResponsePort), 0, 0})
	}
	const fingerprint = 4 + 4
	m.Add(stun.AttrSoftware, []byte(strings.Repeat(" ", longest-len(m.Raw)-fingerprint-4)))
	// It fails only where there is one already.
	_ = stun.Fingerprint.AddTo(m)
	return m.Raw
}

// poll returns what to send now, nil if nothing is due, and an error that wraps ErrNoAnswer when it is too late.
func (t *transaction) poll(now time.Time) ([]byte, error) {
	if now.Before(t.next) {
		return nil, nil
	}
	if t.sent == t.profile.Tries {
		return nil, fmt.Errorf("STUN server %s: %w to %d requests in %s; UDP may be blocked",
			t.to, ErrNoAnswer, t.sent, now.Sub(t.begin).Round(time.Millisecond))
	}
	t.sent++
	t.last = now
	if t.sent == t.profile.Tries {
		t.next = now.Add(t.profile.Last)
	} else {
		t.next = now.Add(t.gap)
		t.gap = min(2*t.gap, t.profile.Longest)
	}
	return t.question, nil
}

// wake is when poll must be called again.
func (t *transaction) wake() time.Time { return t.next }

// receive judges a datagram. Where ok is false it answers nothing; else the question has the result, or the error that
// the server gave.
func (t *transaction) receive(now time.Time, from netip.AddrPort, b []byte) (r Result, err error, ok bool) {
	success := framed(b, bindingSuccess)
	// A server that cannot answer from elsewhere says so from where it was asked.
	if from = unmap(from); from != t.from && (success || from != t.to) {
		return r, nil, false
	}
	if t.sent == 0 || !success && !framed(b, bindingError) || !hasCookie(b) || id(b[8:headerSize]) != t.id {
		return r, nil, false
	}
	m := new(stun.Message)
	if !decode(m, b) || !understood(m) {
		return r, nil, false
	}
	if !success {
		e := refusal(m)
		return r, e, e != nil
	}
	r = Result{
		Mapped: address(m, stun.AttrXORMappedAddress),
		Other:  address(m, stun.AttrOtherAddress),
		Origin: address(m, stun.AttrResponseOrigin),
		RTT:    max(0, now.Sub(t.last)),
		Sent:   t.sent,
	}
	return r, nil, r.Mapped.IsValid()
}

// understood says whether the answer holds nothing that must be understood and is not (RFC 5389 section 7.3.3).
func understood(m *stun.Message) bool {
	for _, a := range m.Attributes {
		switch a.Type {
		case stun.AttrXORMappedAddress, stun.AttrMappedAddress, stun.AttrSourceAddress, stun.AttrChangedAddress,
			stun.AttrErrorCode, stun.AttrUnknownAttributes, stun.AttrRealm, stun.AttrNonce, stun.AttrPadding:
		default:
			if a.Type.Required() {
				return false
			}
		}
	}
	return true
}

// refusal is the error that the answer holds, nil where it holds none.
func refusal(m *stun.Message) error {
	v, err := m.Get(stun.AttrErrorCode)
	if err != nil || len(v) < 4 || v[2] < 3 || v[2] > 6 || v[3] > 99 {
		return nil
	}
	reason := strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return -1
		}
		return r
	}, string(v[4:min(len(v), 4+127)]))
	return &ErrorResponse{Code: int(v[2])*100 + int(v[3]), Reason: reason}
}
