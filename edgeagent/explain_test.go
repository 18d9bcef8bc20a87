package edgeagent

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"simplebit/nat"
	"simplebit/wire/control"
	"simplebit/wire/dial"
	"simplebit/wire/mse"
	"simplebit/wire/peer"
)

// journal is a log at INFO, as people have it.
type journal struct {
	mu    sync.Mutex
	lines bytes.Buffer
}

func (j *journal) Write(b []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.lines.Write(b)
}

func (j *journal) log() *slog.Logger { return slog.New(slog.NewTextHandler(j, nil)) }

// line waits for the line that has all of these words.
func (j *journal) line(t *testing.T, words ...string) (found string) {
	t.Helper()
	eventually(t, "a line of the log with "+strings.Join(words, ", "), func() bool {
		j.mu.Lock()
		defer j.mu.Unlock()
		for line := range strings.Lines(j.lines.String()) {
			has := true
			for _, w := range words {
				has = has && strings.Contains(line, w)
			}
			if has {
				found = line
				return true
			}
		}
		return false
	})
	return found
}

func TestTheLogSaysWhatAnAttemptTriedAndWhyItFailed(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	cfg := joined(t, h)
	var j journal
	cfg.Log = j.log()
	start(t, cfg)
	g, _ := h.welcome()
	m := nowhere()
	m.Deadline = time.Second // time for one datagram
	g.send(m)
	next[control.Punched](g)
	line := j.line(t, "attempt at a path", "attempt=0100000000000000", "device=cellar", "outcome=failed", `why="nothing was heard from the peer"`)
	if !regexp.MustCompile(`203\.0\.113\.9:6882 reflexive \(began \d+ ms, answered never, [1-9]\d* datagrams\)`).MatchString(line) {
		t.Errorf("it does not say what was tried: %s", line)
	}
}

func TestALineOfTheLogHasAFewTries(t *testing.T) {
	m := control.Punched{Tries: []control.PunchTry{
		{Addr: at("192.168.1.7:6882"), Kind: nat.HostCandidate, Began: 0, Heard: 9 * time.Millisecond, Answered: 12 * time.Millisecond, Datagrams: 2},
		{Addr: at("203.0.113.7:40112"), Kind: nat.ReflexiveCandidate, Began: control.PunchNever, Answered: control.PunchNever},
	}}
	want := "192.168.1.7:6882 host (began 0 ms, answered 12 ms, 2 datagrams), 203.0.113.7:40112 reflexive (began never, answered never, 0 datagrams)"
	if got := tried(m); got != want {
		t.Errorf("it says %s", got)
	}
	for len(m.Tries) < mostTried+7 {
		m.Tries = append(m.Tries, control.PunchTry{Addr: netip.AddrPortFrom(at("203.0.113.8:1").Addr(), uint16(len(m.Tries)))})
	}
	m.Others = 512
	got := tried(m)
	if !strings.HasSuffix(got, ", 7 more, 512 datagrams to guessed ports") || strings.Count(got, "203.0.113.8:") != mostTried-2 {
		t.Errorf("it says %s", got)
	}
}

func TestTheLogSaysWhenAndWhyARelayedConnectionBeginsAndEnds(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	cfg := joined(t, h)
	var j journal
	cfg.Log = j.log()
	tt := newTorrent(t, "red")
	tt.place(t, cfg.Dir, "red")
	start(t, cfg)
	g, _ := h.welcome()
	g.assign(tt, 1)
	g.reports(tt.id, 1, control.StateSeeding)
	of := []string{"device=cellar", "addr=203.0.113.9:6882", "torrent=" + hexOf(tt.id)}
	l, err := g.over(g.relay(relayTo(tt, false)), tt, infoHash{'-', 'L'})
	ok(t, err)
	j.line(t, append(of, "relayed connection begins", "transport=quic", `why="there is no path to the device"`)...)
	l.alive()
	l.Close()
	line := j.line(t, append(of, "relayed connection ended", `why="the surrogate or the other device ended it"`)...)
	var down, up int
	if _, err := fmt.Sscanf(line[strings.Index(line, "received="):], "received=%d sent=%d", &down, &up); err != nil || down < peer.HandshakeSize || up < peer.HandshakeSize {
		t.Errorf("carried %d and %d bytes, %v: %s", down, up, err, line)
	}
	l, err = g.over(g.relay(relayTo(tt, false)), tt, infoHash{'-', 'M'})
	ok(t, err)
	g.send(control.Assign{ID: tt.id, Generation: 2, Paused: true})
	l.closed()
	j.line(t, append(of, "relayed connection ended", `why="this device ended it"`)...)
}

// What strangers want fills no log.
func TestItIsSaidWhereAPeerOnAPathIsRefusedForItsEncryption(t *testing.T) {
	for _, onPath := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			var j journal
			e := entrance{
				door: dial.Acceptor{Answer: func(infoHash) (h peer.Handshake, ok bool) { return h, true }, Encryption: mse.Require},
				log:  j.log(), punched: func(*dial.Conn) bool { return onPath },
			}
			ctx, cancel := context.WithCancel(t.Context())
			g, served := make(gate), make(chan error)
			go func() { served <- e.serve(ctx, g) }()
			if err := g.visit("198.18.0.2"); err == nil {
				t.Error("plaintext is taken")
			}
			cancel()
			<-served
			if said := strings.Contains(j.lines.String(), mse.ErrPolicy.Error()); said != onPath {
				t.Errorf("on a path: %v, said: %v", onPath, said)
			}
		})
	}
}

// Devices whose policies rule each other out have a path, and no connection.
func TestItIsSaidWhereEncryptionMayKeepAPeerOut(t *testing.T) {
	hangsUp := fmt.Errorf("dial: %w", io.ErrUnexpectedEOF)
	for _, c := range []struct {
		policy mse.Policy
		err    error
		want   string
	}{
		{mse.Require, hangsUp, "--encryption require"},
		{mse.Require, fmt.Errorf("dial: %w", peer.ErrHandshake), "--encryption require"},
		{mse.Off, syscall.ECONNRESET, "--encryption off"},
		{mse.Prefer, hangsUp, ""},
		{mse.Require, dial.ErrInfoHash, ""},
		{mse.Require, errors.New("no route"), ""},
	} {
		w := &puncher{punching: &punching{dialer: dial.Dialer{Encryption: c.policy}}}
		if got := w.disagree(c.err); (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
			t.Errorf("%s, %v: %q", c.policy, c.err, got)
		}
	}
}
