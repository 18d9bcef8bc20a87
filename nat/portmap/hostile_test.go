package portmap

import (
	"bufio"
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// grantPCP answers a request as a server does, with this external address.
func grantPCP(request []byte, external netip.AddrPort) []byte {
	b := append([]byte{}, request...)
	b[1] |= opResponse
	binary.BigEndian.PutUint64(b[8:], 0)
	binary.BigEndian.PutUint64(b[16:], 0)
	if len(b) == pcpHeader+pcpMAP {
		address := external.Addr().As16()
		binary.BigEndian.PutUint16(b[42:], external.Port())
		copy(b[44:], address[:])
	}
	return b
}

// aServer speaks PCP, and twists its answers to MAP.
func aServer(twist func(answer []byte) [][]byte) func([]byte) [][]byte {
	return func(request []byte) [][]byte {
		if len(request) < pcpHeader {
			return nil
		}
		answer := grantPCP(request, netip.MustParseAddrPort("198.18.1.2:6882"))
		if request[1] == opAnnounce {
			return [][]byte{answer}
		}
		return twist(answer)
	}
}

func honest(answer []byte) [][]byte { return [][]byte{answer} }

func TestAnHonestServerGrants(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{t: t, server: aServer(honest)}
		left, exit := f.runFor(5 * time.Minute)
		want := Mapping{Port{UDP, 6882}, netip.MustParseAddrPort("198.18.1.2:6882"), 2 * time.Hour, "pcp"}
		if len(left) != 1 || left[0] != want || exit > 0 {
			t.Errorf("%v, want %v; %v to end", left, want, exit)
		}
	})
}

func TestForgedAnswersMoveNothing(t *testing.T) {
	change := func(at int, b byte) func([]byte) [][]byte {
		return func(a []byte) [][]byte { a[at] ^= b; return [][]byte{a} }
	}
	for _, c := range []struct {
		name  string
		twist func([]byte) [][]byte
	}{
		{"another nonce", change(24, 1)},
		{"another protocol", change(36, 1)},
		{"another port", change(41, 1)},
		{"another opcode", change(1, 2)},
		{"another version", change(0, 1)},
		{"a request", change(1, opResponse)},
		{"cut short", func(a []byte) [][]byte { return [][]byte{a[:56]} }},
		{"nothing", func(a []byte) [][]byte { return [][]byte{{}} }},
		{"too long", func(a []byte) [][]byte { return [][]byte{append(a, make([]byte, 1100)...)} }},
		{"a flood", func(a []byte) [][]byte {
			a[24] ^= 1
			var all [][]byte
			for range 10000 {
				all = append(all, a)
			}
			return all
		}},
		{"a port of 0", func(a []byte) [][]byte { a[42], a[43] = 0, 0; return [][]byte{a} }},
		{"an IPv6 address", change(44, 0x20)},
		{"a multicast address", func(a []byte) [][]byte { a[56] = 224; return [][]byte{a} }},
		{"a loopback address", func(a []byte) [][]byte { a[56] = 127; return [][]byte{a} }},
		{"a lease of nothing", func(a []byte) [][]byte { clear(a[4:8]); return [][]byte{a} }},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &fake{t: t, server: aServer(c.twist)}
				left, exit := f.runFor(time.Minute)
				if len(left) != 0 || exit > exitTime {
					t.Errorf("%v, %v to end", left, exit)
				}
				if sent, _ := f.counts(); sent > 40 {
					t.Errorf("%d datagrams in a minute", sent)
				}
			})
		})
	}
}

func TestAForgedAnswerBeforeTheRightOneDoesNoHarm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{t: t, server: aServer(func(a []byte) [][]byte {
			forged := append([]byte{}, a...)
			forged[24] ^= 1
			forged[56] = 66
			return [][]byte{forged, {1, 2, 3}, a}
		})}
		if left, _ := f.runFor(time.Minute); len(left) != 1 || left[0].External.String() != "198.18.1.2:6882" {
			t.Errorf("%v", left)
		}
	})
}

func TestAPrivateExternalAddressIsMarked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{t: t, server: aServer(func(a []byte) [][]byte { copy(a[56:], []byte{100, 64, 0, 9}); return [][]byte{a} })}
		if left, _ := f.runFor(time.Minute); len(left) != 1 || left[0].Public() {
			t.Errorf("%v", left)
		}
	})
}

func TestSilenceCostsLittle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{t: t}
		left, exit := f.runFor(24 * time.Hour)
		sent, dialed := f.counts()
		t.Logf("%d datagrams in a day", sent)
		// 16 for each search, and one search an hour.
		if len(left) != 0 || exit != 0 || dialed != 0 || sent > 500 {
			t.Errorf("%v, %v to end, %d datagrams, %d connections", left, exit, sent, dialed)
		}
	})
}

func TestAGatewayThatFallsSilentDelaysTheEndByTwoSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{t: t}
		f.server = aServer(func(a []byte) [][]byte {
			if binary.BigEndian.Uint32(a[4:]) == 0 {
				return nil // removal
			}
			return [][]byte{a}
		})
		if left, exit := f.runFor(time.Minute); len(left) != 1 || exit != exitTime {
			t.Errorf("%v, %v to end", left, exit)
		}
	})
}

func TestAnnouncementsCountOnlyFromTheGateway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int32
		f := &fake{t: t, hear: make(chan *inbox, 1)}
		f.server = aServer(func(a []byte) [][]byte { asked.Add(1); return [][]byte{a} })
		ctx, cancel := context.WithCancel(t.Context())
		end := make(chan error)
		go func() { end <- f.run(ctx, func([]Mapping) {}, Port{UDP, 6882}) }()
		hear := <-f.hear
		time.Sleep(10 * time.Second)
		announcement := unhex(t, pcpAnnounced)
		for _, p := range []packet{
			{netip.AddrPortFrom(netip.MustParseAddr("192.168.1.9"), 5351), announcement},
			{netip.AddrPortFrom(testGateway, 5351), []byte("something else")},
		} {
			hear.tell(p)
		}
		time.Sleep(time.Minute)
		if asked.Load() != 1 {
			t.Errorf("asked %d times", asked.Load())
		}
		for range 1000 {
			hear.tell(packet{netip.AddrPortFrom(testGateway, 5351), announcement})
			time.Sleep(time.Millisecond)
		}
		time.Sleep(time.Minute)
		if n := asked.Load(); n < 2 || n > 3 {
			t.Errorf("asked %d times after 1000 announcements", n)
		}
		cancel()
		if err := <-end; err != nil {
			t.Error(err)
		}
	})
}

// located answers searches with a description at a place.
func located(from, location string) func(string) []packet {
	return func(string) []packet {
		return []packet{{netip.MustParseAddrPort(from), []byte("HTTP/1.1 200 OK\r\nST: " + gatewayDevice1 + "\r\nLOCATION: " + location + "\r\n\r\n")}}
	}
}

// page serves every request with the same text and then calls more.
func page(text string, more func(c net.Conn)) func(net.Conn, string) {
	return func(c net.Conn, _ string) {
		br := bufio.NewReader(c)
		for {
			if line, err := br.ReadString('\n'); err != nil || strings.TrimSpace(line) == "" {
				break
			}
		}
		go io.Copy(io.Discard, br) // a body
		io.WriteString(c, text)
		if more != nil {
			more(c)
		}
	}
}

const ok = "HTTP/1.1 200 OK\r\n\r\n"

func TestHostileUPnPGatewaysMoveNothing(t *testing.T) {
	const here = "http://192.168.1.1:5000/root.xml"
	forever := func(text string, pause time.Duration) func(net.Conn) {
		return func(c net.Conn) {
			for {
				if _, err := io.WriteString(c, text); err != nil {
					return
				}
				time.Sleep(pause)
			}
		}
	}
	for _, c := range []struct {
		name   string
		ssdp   func(string) []packet
		web    func(net.Conn, string)
		dialed bool
	}{
		{"somebody else answers", located("192.168.1.66:1900", "http://192.168.1.66/"), page(ok, nil), false},
		{"somebody else answers for the gateway", located("192.168.1.66:1900", here), page(ok, nil), false},
		{"it is elsewhere", located("192.168.1.1:1900", "http://198.18.1.1/"), page(ok, nil), false},
		{"it has a name", located("192.168.1.1:1900", "http://fritz.box/"), page(ok, nil), false},
		{"it is secure", located("192.168.1.1:1900", "https://192.168.1.1/"), page(ok, nil), false},
		{"a redirection", located("192.168.1.1:1900", here), page("HTTP/1.1 302 Found\r\nLocation: http://198.18.1.1/\r\n\r\n", nil), true},
		{"services elsewhere", located("192.168.1.1:1900", here), page(ok+service("", "http://198.18.1.1/ctl"), nil), true},
		{"a base elsewhere", located("192.168.1.1:1900", here), page(ok+service("<URLBase>http://198.18.1.1/</URLBase>", "/ctl"), nil), true},
		{"slow loris", located("192.168.1.1:1900", here), page(ok, forever("<", 100*time.Millisecond)), true},
		{"slow headers", located("192.168.1.1:1900", here), page("HTTP/1.1 200 OK\r\n", forever("A: b\r\n", 100*time.Millisecond)), true},
		{"silence", located("192.168.1.1:1900", here), page("", forever("", time.Second)), true},
		{"endless XML", located("192.168.1.1:1900", here), page(ok, forever(strings.Repeat("<a>", 1000), 0)), true},
		{"nothing", located("192.168.1.1:1900", here), nil, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				// Every connection to elsewhere fails the test by itself.
				f := &fake{t: t, ssdp: c.ssdp, web: c.web}
				left, exit := f.runFor(30 * time.Second)
				sent, dialed := f.counts()
				if len(left) != 0 || exit != 0 || (dialed > 0) != c.dialed || dialed > 10 || sent > 20 {
					t.Errorf("%v, %v to end, %d datagrams, %d connections", left, exit, sent, dialed)
				}
			})
		})
	}
}

func TestALyingUPnPGatewayIsNotBelieved(t *testing.T) {
	for address, want := range map[string]int{
		"198.18.1.2": 1, "": 0, "0.0.0.0": 0, "127.0.0.1": 0, "2001:db8::1": 0, "255.255.255.255": 0, "example.com": 0, "::ffff:198.18.1.2": 0,
	} {
		t.Run(address, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &fake{t: t, ssdp: located("192.168.1.1:1900", "http://192.168.1.1:5000/root.xml"),
					web: page(ok+service("", "/ctl")+"<NewExternalIPAddress>"+address+"</NewExternalIPAddress>", nil)}
				if left, _ := f.runFor(time.Minute); len(left) != want {
					t.Errorf("%v", left)
				}
			})
		})
	}
}

func TestOnlyPermanentLeasesAreLookedAfterAndRemoved(t *testing.T) {
	for code, why := range map[string]string{"725": "IGD:1", "402": "an older one", "501": "another"} {
		t.Run(why, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &fake{t: t, ssdp: located("192.168.1.1:1900", "http://192.168.1.1:5000/root.xml")}
				var actions []string
				f.web = func(c net.Conn, _ string) {
					b := make([]byte, 4<<10)
					n, _ := c.Read(b)
					request := string(b[:n])
					answer := ok + service("", "/ctl") + "<NewExternalIPAddress>198.18.1.2</NewExternalIPAddress>"
					if strings.Contains(request, "<NewLeaseDuration>7200<") {
						answer = "HTTP/1.1 500 No\r\n\r\n<errorCode>" + code + "</errorCode>"
					}
					if _, name, found := strings.Cut(request, "Connection:1#"); found {
						name, _, _ = strings.Cut(name, "\"")
						actions = append(actions, name)
					}
					io.WriteString(c, answer)
				}
				left, exit := f.runFor(30 * time.Minute)
				want := Mapping{Port{UDP, 6882}, netip.MustParseAddrPort("198.18.1.2:6882"), 0, "upnp"}
				if len(left) != 1 || left[0] != want || exit != 0 {
					t.Errorf("%v, %v to end", left, exit)
				}
				got := strings.Join(actions, " ")
				if got != "GetExternalIPAddress GetExternalIPAddress AddPortMapping AddPortMapping DeletePortMapping" {
					t.Errorf("%s", got)
				}
			})
		})
	}
}

func TestPortsThatCannotBeAreRefused(t *testing.T) {
	for _, want := range [][]Port{nil, make([]Port, mostPorts+1), {{UDP, 0}}, {{0, 5}}, {{UDP, 5}, {UDP, 5}}} {
		f := &fake{t: t}
		if err := f.run(t.Context(), func([]Mapping) {}, want...); err == nil {
			t.Errorf("%v are mapped", want)
		}
	}
}
