//go:build linux

package natlab_test

import (
	"bytes"
	"encoding/binary"
	"io"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/ipv4"

	"simplebit/integration/natlab"
)

// recorded is one packet of a record.
type recorded struct {
	at time.Time
	b  []byte
}

// parseRecord reads pcap as its specification has it.
func parseRecord(t *testing.T, b []byte) (all []recorded) {
	t.Helper()
	le := binary.LittleEndian
	if len(b) < 24 || le.Uint32(b) != 0xa1b23c4d || le.Uint16(b[4:]) != 2 || le.Uint16(b[6:]) != 4 || le.Uint32(b[20:]) != 101 {
		t.Fatalf("the record begins with %x", b[:min(len(b), 24)])
	}
	for b = b[24:]; len(b) > 0; {
		n := int(le.Uint32(b[8:]))
		if le.Uint32(b[12:]) != uint32(n) {
			t.Fatalf("a packet of %d bytes is recorded in part", le.Uint32(b[12:]))
		}
		all = append(all, recorded{time.Unix(int64(le.Uint32(b)), int64(le.Uint32(b[4:]))), b[16 : 16+n]})
		b = b[16+n:]
	}
	return all
}

func TestWhatCrossesTheCoreIsRecordedOnce(t *testing.T) {
	t.Parallel()
	natlab.Require(t)
	for name, core := range map[string]*natlab.CoreConfig{"kernel": nil, "own": {Latency: 10 * time.Millisecond}} {
		t.Run(name, func(t *testing.T) {
			lab, err := natlab.New(natlab.Config{Core: core})
			if err != nil {
				t.Fatal(err)
			}
			defer lab.Close()
			attic, err := lab.Host("attic")
			if err != nil {
				t.Fatal(err)
			}
			var file bytes.Buffer
			stop, err := lab.Record(&file)
			if err != nil {
				t.Fatal(err)
			}
			cellar, err := lab.Host("cellar")
			if err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			roundTrips(t, attic, echo(t, cellar, cellar.Addr()))
			roundTrips(t, attic, echo(t, cellar, cellar.Addr6()))
			a := listenUDP(t, attic, attic.Addr())
			if err := ipv4.NewConn(a).SetTTL(1); err != nil {
				t.Fatal(err)
			}
			told := icmp(t, attic, false)
			a.WriteToUDPAddrPort([]byte("short-lived"), netip.AddrPortFrom(cellar.Addr(), 9))
			complaint(t, told, 11)
			const size = 1 << 20
			transfer(t, attic, cellar, size)
			if err := stop(); err != nil {
				t.Fatal(err)
			}
			count := map[string]int{}
			last := began
			for _, p := range parseRecord(t, file.Bytes()) {
				// Two processors may take note of two packets in another order than their time stamps', the more so if one is busy.
				if p.at.Before(last.Add(-time.Second)) || p.at.After(time.Now()) {
					t.Fatalf("a packet of %v after one of %v", p.at, last)
				}
				last = p.at
				if len(p.b) > 1500 {
					t.Fatalf("a packet of %d bytes is in the record", len(p.b))
				}
				switch {
				case p.b[0]>>4 == 6:
					count["IPv6"]++
				case p.b[9] == 17:
					count["UDP"]++
				case p.b[9] == 1 && p.b[20] == 11:
					count["time exceeded"]++
				case p.b[9] == 6:
					count["TCP"] += len(p.b) - 20 - int(p.b[32]>>4)*4
				}
			}
			if count["IPv6"] != 14 || count["UDP"] != 15 || count["time exceeded"] != 1 {
				t.Errorf("the record has %v, want 14 IPv6, 15 UDP, 1 time exceeded", count)
			}
			// What TCP sent twice crossed twice.
			if count["TCP"] < size || count["TCP"] > size*11/10 {
				t.Errorf("the record has %d bytes of TCP, want %d", count["TCP"], size)
			}
		})
	}
}

// brokenWriter is a disk that is full.
type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, io.ErrShortWrite }

func TestARecordThatCannotBeWrittenSaysSo(t *testing.T) {
	t.Parallel()
	lab, _ := newCore(t, natlab.CoreConfig{})
	stop, err := lab.Record(brokenWriter{})
	if err != nil {
		t.Fatal(err)
	}
	if err := stop(); err == nil || !strings.Contains(err.Error(), io.ErrShortWrite.Error()) {
		t.Errorf("stop returns %v", err)
	}
}
