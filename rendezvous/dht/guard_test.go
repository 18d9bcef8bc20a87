package dht

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"
)

// wire records what a guard sends. Nothing comes from it.
type wire struct {
	net.PacketConn
	sent [][]byte
	to   []net.Addr
	fail error // of ReadFrom
	end  chan struct{}
}

func (w *wire) WriteTo(b []byte, to net.Addr) (int, error) {
	w.sent, w.to = append(w.sent, b), append(w.to, to)
	return len(b), nil
}

func (w *wire) ReadFrom([]byte) (int, net.Addr, error) {
	if w.fail == nil {
		<-w.end
		return 0, nil, net.ErrClosed
	}
	return 0, nil, w.fail
}

func (w *wire) Close() error { close(w.end); return nil }

// post is a guard with the id "oooo…" that nothing runs.
type post struct {
	*guard
	wire  *wire
	hints []netip.AddrPort
	log   strings.Builder
}

func newPost() *post {
	p := &post{wire: &wire{end: make(chan struct{})}}
	c := Config{
		Log:      slog.New(slog.NewTextHandler(&p.log, nil)),
		Dialable: func(a netip.AddrPort) bool { return !a.Addr().IsPrivate() && a.Port() != 22 },
	}
	p.guard = newFamily(p.wire, false, savedFamily{id: id('o')}, c).guard
	p.maybeNode = func(a netip.AddrPort) { p.hints = append(p.hints, a) }
	return p
}

// ask receives a query and returns the answer.
func (p *post) ask(m message, from netip.AddrPort) (answer message, size int) {
	m.kind, m.t = kindQuery, "tt"
	sent := len(p.wire.sent)
	if _, ok := p.receive(m.appendMarshal(nil), from, when); ok {
		panic("the library was given a query")
	}
	if len(p.wire.sent) == sent {
		return message{}, 0
	}
	b := p.wire.sent[sent]
	answer, err := parseMessage(b)
	if err != nil || p.wire.to[sent].String() != from.String() || answer.t != "tt" {
		panic(fmt.Sprintf("%q to %v: %v", b, p.wire.to[sent], err))
	}
	return answer, len(b)
}

// question sends a question of the library's and returns it as it was sent.
func (p *post) question(t *testing.T, to netip.AddrPort) message {
	t.Helper()
	q := message{kind: kindQuery, t: "\x01", method: methodGetPeers, id: id('o'), infoHash: idp('h')}
	if _, err := p.WriteTo(q.appendMarshal(nil), net.UDPAddrFromAddrPort(to)); err != nil {
		t.Fatal(err)
	}
	m, err := parseMessage(p.wire.sent[len(p.wire.sent)-1])
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestQueriesAreAnswered(t *testing.T) {
	p := newPost()
	from := ap("198.18.3.2:6881")
	r, _ := p.ask(message{method: methodPing, id: id('q')}, from)
	if r.kind != kindResponse || r.id != id('o') || r.seen != from {
		t.Errorf("the answer to ping is %+v", r)
	}
	if len(p.hints) != 1 || p.hints[0] != from {
		t.Errorf("strangers to be asked back are %v", p.hints)
	}
	r, _ = p.ask(message{method: methodGetPeers, id: id('q'), infoHash: idp('h'), readOnly: true}, from)
	if len(r.token) != tokenSize || len(r.values) != 0 {
		t.Errorf("the answer to get_peers is %+v", r)
	}
	token := r.token
	for _, c := range []struct {
		what string
		m    message
		from netip.AddrPort
		code int // 0: taken
	}{
		{"a forged token", message{port: 6881, token: "forged"}, from, codeProtocol},
		{"somebody else's token", message{port: 6881, token: token}, ap("198.18.4.2:6881"), codeProtocol},
		{"no port", message{token: token}, from, codeProtocol},
		{"a port that may not be contacted", message{port: 22, token: token}, from, codeProtocol},
		{"a good token", message{port: 51413, token: token}, from, 0},
		{"implied_port", message{port: 1, impliedPort: true, token: token}, from, 0},
	} {
		c.m.method, c.m.id, c.m.infoHash = methodAnnouncePeer, id('q'), idp('h')
		if r, _ := p.ask(c.m, c.from); r.code != c.code || r.kind == 0 {
			t.Errorf("announce_peer with %s is answered by %+v", c.what, r)
		}
	}
	r, _ = p.ask(message{method: methodGetPeers, id: id('q'), infoHash: idp('h')}, ap("198.18.5.2:6881"))
	if got := fmt.Sprint(r.values); got != "[198.18.3.2:51413 198.18.3.2:6881]" && got != "[198.18.3.2:6881 198.18.3.2:51413]" {
		t.Errorf("announced are %v", r.values)
	}
	for _, m := range []message{{method: "put"}, {method: methodFindNode}, {method: methodGetPeers}, {method: methodAnnouncePeer, token: token}} {
		m.id = id('q')
		if r, _ := p.ask(m, from); r.kind != kindError || r.code != codeProtocol && r.code != codeUnknownMethod {
			t.Errorf("%s without arguments is answered by %+v", m.method, r)
		}
	}
}

func TestOnlyTheWantedFamiliesAreNamed(t *testing.T) {
	p := newPost()
	p.contacts.met(node{id('4'), addr4(1)}, when)
	six := node{id('6'), ap("[2001:db8::2]:6881")}
	p.other = func([20]byte, time.Time) []node { return []node{six} }
	for _, c := range []struct {
		want4, want6 bool
		nodes        string
	}{
		{false, false, "4"}, {true, false, "4"}, {false, true, "6"}, {true, true, "46"},
	} {
		r, _ := p.ask(message{method: methodFindNode, id: id('q'), target: idp('t'), want4: c.want4, want6: c.want6}, addr4(9))
		got := ""
		for _, n := range r.nodes {
			got += string(n.id[:1])
		}
		if got != c.nodes {
			t.Errorf("for want n4 %v, n6 %v nodes of the families %q are named", c.want4, c.want6, got)
		}
	}
}

func TestAnAnswerIsAtMostSixTimesItsQuery(t *testing.T) {
	p := newPost()
	for i := range perHash {
		p.announced.add(id('h'), addr4(i), when)
	}
	for i := range 160 {
		p.contacts.met(node{far(i, 1), addr4(i << 8)}, when)
	}
	p.other = func([20]byte, time.Time) (nodes []node) {
		for i := range perAnswer {
			nodes = append(nodes, node{id(byte(i)), ap("[2001:db8::2]:6881")})
		}
		return nodes
	}
	for _, m := range []message{
		{method: methodGetPeers, infoHash: idp('h')},
		{method: methodGetPeers, infoHash: idp('h'), want4: true, want6: true},
		{method: methodGetPeers, infoHash: idp('h'), want4: true, want6: true, token: strings.Repeat("x", 60)},
		{method: methodFindNode, target: idp('h'), want4: true, want6: true},
		{method: methodPing},
		{method: "x"},
	} {
		m.kind, m.t, m.id = kindQuery, "tt", id('q')
		query := len(m.appendMarshal(nil))
		r, size := p.ask(m, addr4(9))
		t.Logf("%d bytes of %s are answered by %d with %d nodes and %d peers", query, m.method, size, len(r.nodes), len(r.values))
		if size > answerFactor*query || size > maxAnswer {
			t.Errorf("%d bytes of %s are answered by %d", query, m.method, size)
		}
	}
}

func TestFloodsAreNotAnswered(t *testing.T) {
	p := newPost()
	for range 1000 {
		p.ask(message{method: methodGetPeers, id: id('q'), infoHash: idp('h')}, addr4(1))
	}
	if len(p.wire.sent) != quotaHost {
		t.Errorf("1,000 queries were answered %d times", len(p.wire.sent))
	}
	if r, _ := p.ask(message{method: methodPing, id: id('q')}, addr4(300)); r.kind != kindResponse {
		t.Error("others are not answered either")
	}
	if !strings.Contains(p.log.String(), becauseFlood) {
		t.Errorf("the log is %q", &p.log)
	}
}

func TestOnlyWhoWasAskedIsBelieved(t *testing.T) {
	asked := ap("198.18.7.2:6881")
	for _, c := range []struct {
		what     string
		from     netip.AddrPort
		t        string // transaction id; empty: the right one
		believed bool
	}{
		{"the node", asked, "", true},
		{"the node with the library's own transaction id", asked, "\x01", false},
		{"another port", ap("198.18.7.2:6882"), "", false},
		{"another host", ap("198.18.8.2:6881"), "", false},
		{"a private address", ap("10.0.0.1:6881"), "", false},
		{"port 0", ap("198.18.7.2:0"), "", false},
		{"the other family", ap("[2001:db8::2]:6881"), "", false},
	} {
		p := newPost()
		q := p.question(t, asked)
		r := message{kind: kindResponse, t: q.t, id: id('r')}
		if c.t != "" {
			r.t = c.t
		}
		got, ok := p.receive(r.appendMarshal(nil), c.from, time.Now())
		if ok != c.believed || ok && got.t != "\x01" {
			t.Errorf("an answer from %s was handed on: %v, %+v", c.what, ok, got)
		}
		if !ok && !strings.Contains(p.log.String(), "refused a DHT message") {
			t.Errorf("an answer from %s was refused without a word", c.what)
		}
	}
}

func TestLiesInAnswersAreLeftOut(t *testing.T) {
	p := newPost()
	from := ap("198.18.7.2:6881")
	q := p.question(t, from)
	r := message{kind: kindResponse, t: q.t, id: id('r'), token: "token", nodes: []node{
		{id('1'), ap("198.18.10.2:6881")},
		{id('2'), ap("198.18.10.2:6882")}, // the same host once more
		{id('3'), ap("10.0.0.1:6881")},
		{id('4'), ap("198.18.11.2:0")},
		{id('o'), ap("198.18.12.2:6881")}, // our id
		{id('6'), ap("[2001:db8::6]:6881")},
		{id('7'), ap("198.18.13.2:6881")},
	}, values: []netip.AddrPort{
		ap("198.18.20.2:6881"), ap("192.168.1.1:6881"), ap("198.18.21.2:0"), ap("198.18.22.2:22"), ap("[2001:db8::2]:6881"),
	}}
	got, ok := p.receive(r.appendMarshal(nil), from, when)
	if !ok {
		t.Fatal("the answer was refused")
	}
	want := message{
		kind: kindResponse, t: "\x01", id: id('r'), token: "token",
		nodes:  []node{{id('1'), ap("198.18.10.2:6881")}, {id('7'), ap("198.18.13.2:6881")}},
		values: []netip.AddrPort{ap("198.18.20.2:6881"), ap("[2001:db8::2]:6881")},
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("of the answer remains %+v", got)
	}
	if fmt.Sprint(p.hints) != "[[2001:db8::6]:6881]" {
		t.Errorf("for the other family are %v", p.hints)
	}
}

func TestAHostThatChangesItsIDDoesNotEnterTheTable(t *testing.T) {
	p := newPost()
	from := ap("198.18.7.2:6881")
	for i, want := range []bool{false, true, true} {
		r := message{kind: kindResponse, t: p.question(t, from).t, id: id(byte('0' + i))}
		got, ok := p.receive(r.appendMarshal(nil), from, when)
		if !ok || got.readOnly != want {
			t.Errorf("id %d is handed on %v, to be left out of the table %v", i, ok, got.readOnly)
		}
	}
}

func TestWhatMayNotBeContactedIsNotAsked(t *testing.T) {
	p := newPost()
	q := message{kind: kindQuery, t: "\x01", method: methodPing, id: id('o')}
	for _, to := range []string{"10.0.0.1:6881", "198.18.1.2:22", "198.18.1.2:0", "[2001:db8::2]:6881"} {
		if _, err := p.WriteTo(q.appendMarshal(nil), net.UDPAddrFromAddrPort(ap(to))); err == nil || len(p.wire.sent) != 0 {
			t.Errorf("%s was asked", to)
		}
	}
}

// The library panics when reading fails before it has been closed.
func TestASocketThatFailsIsReadUntilItIsClosed(t *testing.T) {
	for _, fail := range []error{os.ErrDeadlineExceeded, net.ErrClosed, nil} {
		p := newPost()
		p.wire.fail = fail
		read := make(chan error)
		go func() {
			_, _, err := p.ReadFrom(make([]byte, 100))
			read <- err
		}()
		select {
		case err := <-read:
			t.Errorf("reading ended by %v before the socket was closed", err)
		case <-time.After(20 * time.Millisecond):
		}
		if err := errors.Join(p.Close(), p.Close()); err != nil {
			t.Error(err)
		}
		if err := <-read; !errors.Is(err, net.ErrClosed) {
			t.Errorf("reading ended by %v", err)
		}
	}
}
