package stun

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pion/stun/v2"

	"simplebit/integration/transcript"
)

// TestTranscripts plays the commands of each transcript on one question and compares what it does. Times are from its
// beginning.
//
//	ask [PROFILE] [change-ip] [change-port] [other=ADDRESS] [response-port=N]   of 192.0.2.1:3478; standard or quick
//	sleep [N]           time passes until the question wants to be woken, N times
//	wait D              time passes, and nobody is woken
//	wake                wakes the question now
//	answer KEY=VALUE... a datagram arrives: from, id (ours or other), type (hex), mapped, other, origin, code, attribute (hex type), cut (bytes),
//	                    fingerprint (good, wrong, none)
func TestTranscripts(t *testing.T) {
	transcript.Run(t, "testdata", func(t *testing.T) func([]string) string {
		s := script{t: t, now: noon}
		return func(words []string) string {
			s.out.Reset()
			s.command(words)
			return s.out.String()
		}
	})
}

type script struct {
	t   *testing.T
	now time.Time
	tr  *transaction
	out strings.Builder
}

var transcriptID = id{0xb7, 0xe7, 0xa7, 0x01, 0xbc, 0x34, 0xd6, 0x86, 0xfa, 0x87, 0xdf, 0xae}

func (s *script) command(words []string) {
	switch words[0] {
	case "ask":
		s.ask(words[1:])
	case "wait":
		d, err := time.ParseDuration(words[1])
		if err != nil {
			s.t.Fatal(err)
		}
		s.now = s.now.Add(d)
	case "wake":
		s.wake()
	case "sleep":
		n := 1
		if len(words) > 1 {
			n, _ = strconv.Atoi(words[1])
		}
		for range n {
			s.now = s.tr.wake()
			s.wake()
		}
	case "answer":
		s.answer(words[1:])
	default:
		s.t.Fatalf("what is %q?", words[0])
	}
}

func (s *script) say(format string, args ...any) {
	at := time.Duration(0)
	if s.tr != nil {
		at = s.now.Sub(s.tr.begin)
	}
	fmt.Fprintf(&s.out, "%6.3f %s\n", at.Seconds(), fmt.Sprintf(format, args...))
}

func (s *script) ask(words []string) {
	p, o := Standard, Options{}
	for _, w := range words {
		k, v, _ := strings.Cut(w, "=")
		switch k {
		case "standard":
		case "quick":
			p = Quick
		case "change-ip":
			o.ChangeIP = true
		case "change-port":
			o.ChangePort = true
		case "other":
			o.Other = netip.MustParseAddrPort(v)
		case "response-port":
			n, _ := strconv.Atoi(v)
			o.ResponsePort = uint16(n)
		default:
			s.t.Fatalf("what is %q?", w)
		}
	}
	t, err := newTransaction(s.now, transcriptID, netip.MustParseAddrPort("192.0.2.1:3478"), o, p)
	if s.tr = t; err != nil {
		s.tr = nil
		s.say("%v", err)
		return
	}
	s.say("%x", t.question)
	s.wake()
}

func (s *script) wake() {
	b, err := s.tr.poll(s.now)
	switch {
	case err != nil:
		s.say("%v", err)
	case b != nil:
		s.say("sends")
	default:
		s.say("sends nothing until %.3f", s.tr.wake().Sub(s.tr.begin).Seconds())
	}
}

func (s *script) answer(words []string) {
	a := map[string]string{"from": "192.0.2.1:3478", "type": "0101", "mapped": "203.0.113.9:4444", "fingerprint": "good"}
	for _, w := range words {
		k, v, _ := strings.Cut(w, "=")
		a[k] = v
	}
	number := func(base int, v string) uint16 {
		n, err := strconv.ParseUint(v, base, 16)
		if err != nil {
			s.t.Fatal(err)
		}
		return uint16(n)
	}
	m := new(stun.Message)
	transaction := transcriptID
	if a["id"] == "other" {
		transaction[11] ^= 1
	}
	start(m, number(16, a["type"]), transaction)
	for k, t := range map[string]stun.AttrType{"mapped": stun.AttrXORMappedAddress, "other": stun.AttrOtherAddress, "origin": stun.AttrResponseOrigin} {
		if a[k] != "" && a[k] != "none" {
			addAddress(m, t, netip.MustParseAddrPort(a[k]))
		}
	}
	if a["attribute"] != "" {
		m.Add(stun.AttrType(number(16, a["attribute"])), nil)
	}
	if a["code"] != "" {
		code := number(10, a["code"])
		m.Add(stun.AttrErrorCode, append([]byte{0, 0, byte(code / 100), byte(code % 100)}, "No\x1b[31m thanks"...))
	}
	if a["fingerprint"] != "none" {
		_ = stun.Fingerprint.AddTo(m)
	}
	if a["fingerprint"] == "wrong" {
		m.Raw[len(m.Raw)-1] ^= 1
	}
	cut, _ := strconv.Atoi(a["cut"])
	r, err, ok := s.tr.receive(s.now, netip.MustParseAddrPort(a["from"]), m.Raw[:len(m.Raw)-cut])
	var refused *ErrorResponse
	switch {
	case !ok:
		s.say("is no answer")
	case errors.As(err, &refused):
		s.say("%v", err)
	case err != nil:
		s.t.Error(err)
	default:
		s.say("mapped %s, other %s, origin %s, after %s, sent %d", r.Mapped, r.Other, r.Origin, r.RTT, r.Sent)
	}
}
