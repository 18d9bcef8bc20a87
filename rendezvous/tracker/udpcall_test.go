package tracker

import (
	"encoding/binary"
	"fmt"
	"strings"
	"testing"
	"time"

	"simplebit/integration/transcript"
)

// TestCallTranscripts plays the commands of each transcript and compares what a call sends:
//
//	call              a new announce with a unit of 3 s
//	cached T          its connection id is known already and may be used for T
//	wait T            sends what becomes due until T has passed
//	connect [ID]      an answer to the connect request
//	answer            an answer to the announce
//	error TEXT        an error to whatever was sent last
//	stranger, short, truncated, action   answers with another transaction, of 7 bytes, that end early, with another action
//
// A transaction id is printed as the number of the transaction.
func TestCallTranscripts(t *testing.T) {
	transcript.Run(t, "testdata/call", func(t *testing.T) func([]string) string {
		p := callPlayer{t: t, start: time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)}
		p.now = p.start
		return func(words []string) string {
			p.out = ""
			p.command(words)
			return p.out
		}
	})
}

type callPlayer struct {
	t            *testing.T
	c            *call
	start, now   time.Time
	transactions uint32
	out          string
}

func (p *callPlayer) command(words []string) {
	switch words[0] {
	case "call":
		p.c = &call{action: actionAnnounce, body: []byte("body"), unit: 3 * time.Second, due: p.now}
	case "cached":
		p.c.connection, p.c.cached = connection{id: 0xcc, until: p.now.Add(p.duration(words[1]))}, true
	case "wait":
		for end := p.now.Add(p.duration(words[1])); ; {
			p.poll()
			if p.c.due.After(end) {
				p.now = end
				break
			}
			p.now = p.c.due
		}
	case "connect":
		p.receive(actionConnect, p.c.transaction, "\x00\x00\x00\x00\x00\x00\x00\xaa")
	case "answer":
		p.receive(actionAnnounce, p.c.transaction, "peers")
	case "error":
		p.receive(actionError, p.c.transaction, strings.Join(words[1:], " "))
	case "stranger":
		p.receive(p.c.sent, p.c.transaction+1000, "\x00\x00\x00\x00\x00\x00\x00\xbb")
	case "short":
		p.print("", p.c.ignored, func() ([]byte, error) { return p.c.receive(p.now, make([]byte, 7)) })
	case "truncated":
		p.receive(actionConnect, p.c.transaction, "1234567")
	case "action":
		p.receive(9, p.c.transaction, "")
	default:
		p.t.Fatalf("unknown command %q", words)
	}
}

func (p *callPlayer) duration(s string) time.Duration {
	d, err := time.ParseDuration(s)
	if err != nil {
		p.t.Fatal(err)
	}
	return d
}

func (p *callPlayer) poll() {
	b := p.c.poll(p.now, p.transactions+1)
	if b == nil {
		return
	}
	p.transactions = max(p.transactions, p.c.transaction)
	id, action, transaction := binary.BigEndian.Uint64(b), binary.BigEndian.Uint32(b[8:]), binary.BigEndian.Uint32(b[12:])
	what := fmt.Sprintf("announce with connection %x", id)
	if action == actionConnect && id == protocolID {
		what = "connect"
	}
	p.out += fmt.Sprintf("%-5v sent %s, transaction %d\n", p.now.Sub(p.start), what, transaction)
}

func (p *callPlayer) receive(action, transaction uint32, rest string) {
	b := append(binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, action), transaction), rest...)
	p.print(rest, p.c.ignored, func() ([]byte, error) { return p.c.receive(p.now, b) })
}

func (p *callPlayer) print(rest string, ignored int, receive func() ([]byte, error)) {
	got, err := receive()
	switch {
	case err != nil:
		p.out += "failed: " + err.Error() + "\n"
	case got != nil && string(got) != rest:
		p.t.Errorf("the answer is %q, want %q", got, rest)
	case got != nil:
		p.out += "answered\n"
	case p.c.ignored > ignored:
		p.out += "ignored: " + p.c.why.Error() + "\n"
	}
	if got == nil && err == nil {
		p.poll()
	}
}
