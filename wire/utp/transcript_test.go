package utp

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"simplebit/integration/transcript"
)

// TestTranscripts plays the commands of each transcript on two cores, a and b, and compares what they send. The network
// between them holds what was sent until it is delivered; a datagram takes 10 ms.
//
//	dial [SEQ SEQ] [buffer N]   begins a connection from a to b, with these first sequence numbers and receive buffers
//	write X N, read X N, close X, abort X
//	send X                  polls X until it has nothing more and prints what it sent, numbered from 1
//	lose X LIST             loses packets on the way from X, by number or "all"
//	deliver X               10 ms pass and what is on the way from X arrives, at once
//	go                      sends and delivers both ways until nothing is left
//	wait D                  time passes; nobody is polled
//	sleep [N]               time passes until the next time that one of them wants to be woken, and that one sends; N times
//	narrow N                from now on the path loses datagrams longer than N that may not be fragmented
//	forge X TYPE key=value...   X receives a packet of nobody's: seq, ack (relative to what X expects), id, window, size
//	status X                prints what X knows
func TestTranscripts(t *testing.T) {
	transcript.Run(t, "testdata", func(t *testing.T) func([]string) string {
		s := script{t: t, start: time.Unix(1000, 0), ends: map[string]*scriptEnd{}}
		s.now = s.start
		return func(words []string) string {
			s.out.Reset()
			s.command(words)
			return s.out.String()
		}
	})
}

type script struct {
	t      *testing.T
	start  time.Time
	now    time.Time
	ends   map[string]*scriptEnd
	narrow int
	out    strings.Builder
}

type scriptEnd struct {
	core   *core
	conf   coreConfig
	door   door     // until there is a core
	answer []byte   // to a SYN
	way    [][]byte // datagrams on the way from here; nil: lost
	wrote  int
	got    int
	peer   string
	number int // packets sent since the last were delivered
}

func (s *script) command(words []string) {
	name := ""
	if len(words) > 1 {
		name = words[1]
	}
	e := s.ends[name]
	switch words[0] {
	case "dial":
		s.dial(words[1:])
	case "write":
		b := make([]byte, s.number(words[2]))
		for i := range b {
			b[i] = byte(e.wrote + i)
		}
		n := e.core.write(b)
		e.wrote += n
		if n < len(b) {
			fmt.Fprintf(&s.out, "%s took %d bytes\n", name, n)
		}
	case "read":
		s.read(e, name, s.number(words[2]))
	case "close":
		e.core.closeWrite()
	case "abort":
		e.core.abort()
	case "send":
		s.send(name)
	case "lose":
		s.lose(e, words[2])
	case "deliver":
		s.now = s.now.Add(10 * time.Millisecond)
		s.deliver(name)
	case "go":
		s.goOn()
	case "wait":
		s.now = s.now.Add(s.duration(name))
	case "sleep":
		n := 1
		if name != "" {
			n = s.number(name)
		}
		for range n {
			s.sleep()
		}
	case "narrow":
		s.narrow = s.number(name)
	case "forge":
		s.forge(e, words[2:])
	case "status":
		s.status(e, name)
	default:
		s.t.Fatalf("unknown command %q", words)
	}
}

func (s *script) dial(words []string) {
	a, b := coreConfig{Seq: 100, RecvID: 7}, coreConfig{Seq: 500}
	for len(words) > 1 {
		if words[0] == "buffer" {
			a.RecvBuffer, b.RecvBuffer = s.number(words[1]), s.number(words[1])
		} else {
			a.Seq, b.Seq = uint16(s.number(words[0])), uint16(s.number(words[1]))
		}
		words = words[2:]
	}
	s.ends["a"] = &scriptEnd{core: newInitiator(s.now, a), conf: a, peer: "b"}
	s.ends["b"] = &scriptEnd{conf: b, peer: "a"}
	s.narrow = 0
}

func (s *script) read(e *scriptEnd, name string, n int) {
	b := make([]byte, n)
	b = b[:e.core.read(b)]
	for i, c := range b {
		if c != byte(e.got+i) {
			s.t.Fatalf("byte %d that %s read is wrong", e.got+i, name)
		}
	}
	e.got += len(b)
	fmt.Fprintf(&s.out, "%s read %d bytes, eof %v\n", name, len(b), e.core.eof())
}

// send prints packets that differ in nothing but their sequence numbers as one.
func (s *script) send(name string) int {
	e := s.ends[name]
	count := 0
	run, text := []packet(nil), ""
	flush := func() {
		if len(run) == 0 {
			return
		}
		number, seq := strconv.Itoa(e.number-len(run)+1), strconv.Itoa(int(run[0].seq))
		if len(run) > 1 {
			number += "-" + strconv.Itoa(e.number)
			seq += "-" + strconv.Itoa(int(run[len(run)-1].seq))
		}
		fmt.Fprintf(&s.out, "%v %s %s: %v seq %s%s\n", s.now.Sub(s.start).Round(time.Microsecond), name, number, run[0].typ, seq, text)
		run = nil
	}
	for {
		out, segment, fragment := e.poll(s.now)
		if len(out) == 0 {
			break
		}
		for d := range slices.Chunk(out, segment) {
			p, err := parsePacket(d)
			if err != nil {
				s.t.Fatalf("our own packet: %v", err)
			}
			line := describe(&p, len(d))
			e.way = append(e.way, d)
			switch {
			case fragment:
				line += ", may be fragmented"
			case s.narrow > 0 && len(d) > s.narrow:
				e.way[len(e.way)-1] = nil
				line += ", vanishes"
			}
			if len(run) > 0 && (line != text || p.typ != run[0].typ || p.seq != run[len(run)-1].seq+1) {
				flush()
			}
			count++
			e.number++
			run, text = append(run, p), line
		}
	}
	flush()
	return count
}

// poll is that of the core; before there is one, what answers a SYN.
func (e *scriptEnd) poll(now time.Time) (out []byte, segment int, fragment bool) {
	if e.core != nil {
		return e.core.poll(now, make([]byte, 0, 8<<10))
	}
	out, e.answer = e.answer, nil
	return out, headerLen, false
}

// describe is all but the type and sequence number of a packet in a datagram of so many bytes.
func describe(p *packet, size int) string {
	text := fmt.Sprintf(" ack %d", p.ack)
	if p.typ == stSyn || p.typ == stReset {
		text += fmt.Sprintf(" id %d", p.connID)
	}
	if p.sack != nil {
		text += " sack"
		first, last := -1, -1
		for i := range len(p.sack)*8 + 1 {
			if i < len(p.sack)*8 && p.sack[i/8]>>(i%8)&1 == 1 {
				if first < 0 {
					first = i
				}
				last = i
			} else if first >= 0 {
				text += fmt.Sprintf(" %d", p.ack+2+uint16(first))
				if last > first {
					text += fmt.Sprintf("-%d", p.ack+2+uint16(last))
				}
				first = -1
			}
		}
	}
	if len(p.payload) > 0 {
		text += fmt.Sprintf(", %d bytes", len(p.payload))
	}
	if pad := size - headerLen - len(p.payload); pad > 0 && p.sack == nil {
		text += fmt.Sprintf(" in %d", size)
	}
	return text + fmt.Sprintf(", window %d", p.window)
}

func (s *script) lose(e *scriptEnd, list string) {
	for i := range e.way {
		if list == "all" || slices.Contains(strings.Split(list, ","), strconv.Itoa(e.number-len(e.way)+i+1)) {
			e.way[i] = nil
		}
	}
}

func (s *script) deliver(name string) {
	e := s.ends[name]
	to := s.ends[e.peer]
	for _, d := range e.way {
		if d == nil {
			continue
		}
		p, err := parsePacket(d)
		if err != nil {
			s.t.Fatal(err)
		}
		if to.core == nil {
			to.core, to.answer = to.door.knock(s.now, &p, to.conf)
		} else {
			to.core.receive(s.now, &p)
		}
	}
	e.way, e.number = nil, 0
}

func (s *script) goOn() {
	for range 1000 {
		n := s.send("a") + s.send("b") + len(s.ends["a"].way) + len(s.ends["b"].way)
		if n == 0 {
			return
		}
		s.now = s.now.Add(10 * time.Millisecond)
		s.deliver("a")
		s.deliver("b")
	}
	s.t.Fatal("they go on for ever")
}

func (s *script) sleep() {
	first, at := "", time.Time{}
	for _, name := range []string{"a", "b"} {
		if e := s.ends[name]; e.core != nil {
			if w := e.core.wake(); !w.IsZero() && (first == "" || w.Before(at)) {
				first, at = name, w
			}
		}
	}
	if first == "" {
		fmt.Fprintln(&s.out, "nobody wants to be woken")
		return
	}
	if at.After(s.now) {
		s.now = at
	}
	if s.send(first) == 0 {
		fmt.Fprintf(&s.out, "%v %s sends nothing\n", s.now.Sub(s.start).Round(time.Microsecond), first)
	}
}

func (s *script) forge(e *scriptEnd, words []string) {
	c := e.core
	p := packet{connID: c.recvID, seq: c.recv.next, ack: c.send.next - 1, window: 1 << 20, timestamp: 1}
	p.typ = packetType(slices.Index(packetTypeNames[:], words[0]))
	for _, w := range words[1:] {
		key, value, _ := strings.Cut(w, "=")
		n := s.number(value)
		switch key {
		case "seq":
			p.seq += uint16(n)
		case "ack":
			p.ack += uint16(n)
		case "window":
			p.window = uint32(n)
		case "size":
			p.payload = make([]byte, n)
		default:
			s.t.Fatalf("unknown field %q", key)
		}
	}
	c.receive(s.now, &p)
}

func (s *script) status(e *scriptEnd, name string) {
	c := e.core
	if c == nil {
		fmt.Fprintf(&s.out, "%s: no connection\n", name)
		return
	}
	st := c.stats()
	wake := "never"
	if w := c.wake(); !w.IsZero() {
		wake = w.Sub(s.start).Round(time.Microsecond).String()
	}
	fmt.Fprintf(&s.out, "%s: connected %v, readable %d, eof %v, error %v, done %v, wake %s\n",
		name, c.connected(), c.readable(), c.eof(), c.err(), c.done(), wake)
	fmt.Fprintf(&s.out, "   window %d, flight %d, datagrams of %d, rtt %v, lost %d, resent %d, timeouts %d\n",
		st.cwnd, st.flight, st.mtu, st.rtt, st.lost, st.resent, st.timeouts)
}

func (s *script) number(word string) int {
	n, err := strconv.Atoi(word)
	if err != nil {
		s.t.Fatal(err)
	}
	return n
}

func (s *script) duration(word string) time.Duration {
	d, err := time.ParseDuration(word)
	if err != nil {
		s.t.Fatal(err)
	}
	return d
}
