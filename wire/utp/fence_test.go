package utp

import (
	"slices"
	"testing"
	"time"
)

// payloads lets from send what it has, hands to those datagrams that keep says, and returns the payload lengths of all.
func (c *couple) payloads(from, to *core, keep bool) (lengths []int) {
	c.t.Helper()
	for {
		out, segment, _ := from.poll(c.now, make([]byte, 0, 16<<10))
		if len(out) == 0 {
			return lengths
		}
		for len(out) > 0 {
			n := min(segment, len(out))
			p, err := parsePacket(out[:n])
			if err != nil {
				c.t.Fatal(err)
			}
			if out = out[n:]; p.typ == stData {
				lengths = append(lengths, len(p.payload))
			}
			if keep {
				to.receive(c.now, &p)
			}
		}
	}
}

func TestPacketsEndWhereTheyWereToldTo(t *testing.T) {
	for _, w := range []struct {
		name   string
		writes []int // each ends a packet but the last
		want   []int
	}{
		{"a handshake and what follows", []int{68, 89}, []int{68, 89}},
		{"more than a packet", []int{600, 700}, []int{528, 72, 528, 172}},
		{"as much as a packet", []int{528, 10}, []int{528, 10}},
		{"nothing before it", []int{0, 10}, []int{10}},
		{"of two ends, the last", []int{10, 20, 30}, []int{30, 30}},
		{"a stream", []int{68, 5000}, []int{68, 528, 528, 528, 528, 528, 528, 528, 528, 528, 248}},
	} {
		t.Run(w.name, func(t *testing.T) {
			c := newCouple(t)
			c.b.mtu.next = 0 // no probes, whose loss is another matter
			for i, n := range w.writes {
				c.b.write(make([]byte, n))
				if i < len(w.writes)-1 {
					c.b.endPacket()
				}
			}
			if got := c.payloads(c.b, c.a, false); !slices.Equal(got, w.want) {
				t.Errorf("packets of %v bytes, want %v", got, w.want)
			}
			// All of them are lost, and sent again as they are.
			var again []int
			for range 40 {
				c.now = c.now.Add(time.Second)
				again = append(again, c.payloads(c.b, c.a, true)...)
				c.payloads(c.a, c.b, true)
			}
			if !slices.Equal(again, w.want) {
				t.Errorf("sent again as %v bytes, want %v", again, w.want)
			}
		})
	}
}

// TestWhatIsWrittenWhileOthersSendKeepsItsPackets has two Writes wait for somebody who is sending, as the read loop is while it
// acknowledges the packet that made us write. Together they would fit one packet, of which Transmission takes only
// the first part.
func TestWhatIsWrittenWhileOthersSendKeepsItsPackets(t *testing.T) {
	e := newEndpoint(t, Config{})
	s := newStranger(t, e, "127.0.0.1")
	s.send(syn(7))
	answer, _ := s.mustReceive(stState)
	s.send(packet{typ: stData, connID: 8, seq: 2, window: 1 << 20, ack: answer.seq - 1, payload: []byte("hello")})
	accepted, err := e.Accept()
	if err != nil {
		t.Fatal(err)
	}
	s.mustReceive(stState)
	c := accepted.(*Conn)
	eventually(t, "nobody else sends any more", func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		others := c.sending
		c.sending = true
		return !others
	})
	for i, n := range []int{68, 89} {
		if i > 0 {
			c.EndPacket()
		}
		if _, err := c.Write(make([]byte, n)); err != nil {
			t.Fatal(err)
		}
	}
	c.mu.Lock()
	c.sending = false
	c.drive(time.Now())
	c.mu.Unlock()
	for _, want := range []int{68, 89} {
		if p, _ := s.mustReceive(stData); len(p.payload) != want {
			t.Errorf("a packet of %d bytes, want %d", len(p.payload), want)
		}
	}
}
