//go:build linux

package virtual

import (
	"bytes"
	"encoding/binary"
	"flag"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"strconv"
	"testing"
	"time"

	"simplebit/integration/natlab"
	"simplebit/nat"
)

func TestMain(m *testing.M) {
	// A fuzzing worker talks with its parent by files that Enter does not hand on.
	flag.Parse()
	if flag.Lookup("test.fuzz").Value.String() == "" {
		natlab.Enter()
	}
	// The kernel's clock has to run, most of the time.
	if err := flag.Set("test.parallel", "16"); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

// The kernel's UDP timeout, and silences that are shorter and longer.
const (
	kernelTimeout = 3 * time.Second
	shortSilence  = 1200 * time.Millisecond
	longSilence   = 4 * time.Second
)

// patience is how long a test waits for what must happen, on a machine that has other things to do.
const patience = 2 * time.Minute

// twins are a home in a lab and its model, on the same addresses. The first of the ends are the devices'.
type twins struct {
	t        *testing.T
	router   *natlab.Router
	conns    []*net.UDPConn
	ends     []netip.AddrPort
	arrivals chan arrival

	internet Internet
	model    *NAT

	wrong   string // the first difference
	sent    []packet
	known   []both                            // endpoints that were seen outside
	models  map[netip.AddrPort]netip.AddrPort // the model's endpoint for each of the kernel's
	kernels map[netip.AddrPort]netip.AddrPort // and back
}

const devices = 3

// both is the same endpoint in the kernel and in the model.
type both struct{ kernel, model netip.AddrPort }

// packet is what was sent, and where it must arrive.
type packet struct {
	what  string
	to    int // of the ends; -1: nowhere
	from  netip.AddrPort
	there bool
}

type arrival struct {
	packet, at int
	from       netip.AddrPort
}

// newTwins builds both.
func newTwins(t *testing.T, kind natlab.Kind, carried, hairpin bool, seed uint64) *twins {
	t.Helper()
	natlab.Require(t)
	lab, err := natlab.New(natlab.Config{Name: "twins"})
	if err != nil {
		t.Fatal(err)
	}
	w := &twins{t: t, arrivals: make(chan arrival, 4096)}
	t.Cleanup(func() {
		if err := lab.Close(); err != nil {
			t.Error(err)
		}
	})
	c := natlab.RouterConfig{Kind: kind, UDPTimeout: kernelTimeout}
	var carrier *NAT
	if carried {
		cc := natlab.CarrierConfig{Hairpin: hairpin, UDPTimeout: kernelTimeout}
		if c.Carrier, err = lab.Carrier("carrier", cc); err != nil {
			t.Fatal(err)
		}
		if carrier, err = NewCarrier(CarrierConfig{External: c.Carrier.External(), Hairpin: hairpin, Timeout: kernelTimeout, Seed: seed}); err != nil {
			t.Fatal(err)
		}
		w.internet.Attach(carrier, nil)
	}
	if w.router, err = lab.Router("home", c); err != nil {
		t.Fatal(err)
	}
	config := Config{External: w.router.External(), LAN: w.router.LAN(), LAN6: w.router.LAN6(), Timeout: kernelTimeout, Seed: seed}
	if w.model, err = New(kind, config); err != nil {
		t.Fatal(err)
	}
	w.internet.Attach(w.model, carrier)
	// Devices of one port that devices share, and servers.
	one, two := w.host(w.router.Host("one")), w.host(w.router.Host("two"))
	near, far := w.host(lab.Host("near")), w.host(lab.Host("far"))
	for i, h := range []*natlab.Host{one, one, two, near, near, far, far} {
		w.listen(h, kind == natlab.IPv6Firewalled, []uint16{6881, 6882, 6881, 7001, 7002, 7001, 6881}[i])
	}
	if kind == natlab.Mapping {
		w.forward(one)
	}
	return w
}

// forward opens a port to the second of the ends, by NAT-PMP (RFC 6886 section 3.3).
func (w *twins) forward(device *natlab.Host) {
	w.t.Helper()
	const lease = 3600
	inside, outside := w.ends[1], netip.AddrPortFrom(w.router.External(), 7777)
	question := []byte{0, 1, 0, 0}
	question = binary.BigEndian.AppendUint16(question, inside.Port())
	question = binary.BigEndian.AppendUint16(question, outside.Port())
	question = binary.BigEndian.AppendUint32(question, lease)
	c, err := device.DialContext(w.t.Context(), "udp", netip.AddrPortFrom(w.router.LAN().Addr().Next(), 5351).String())
	if err != nil {
		w.t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	answer := make([]byte, 16)
	if _, err := c.Write(question); err != nil {
		w.t.Fatal(err)
	}
	if n, err := c.Read(answer); err != nil || n != len(answer) || binary.BigEndian.Uint16(answer[2:]) != 0 || !bytes.Equal(answer[10:12], question[6:8]) {
		w.t.Fatalf("the router's answer %v, %v", answer[:n], err)
	}
	if err := w.model.Forward(outside.Port(), inside); err != nil {
		w.t.Fatal(err)
	}
	w.known = append(w.known, both{outside, outside})
}

func (w *twins) host(h *natlab.Host, err error) *natlab.Host {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
	return h
}

// listen opens one of the ends.
func (w *twins) listen(h *natlab.Host, six bool, port uint16) {
	w.t.Helper()
	addr := h.Addr()
	if six {
		addr = h.Addr6()
	}
	end := netip.AddrPortFrom(addr, port)
	pc, err := h.ListenPacket("udp", end.String())
	if err != nil {
		w.t.Fatal(err)
	}
	conn, at := pc.(*net.UDPConn), len(w.conns)
	w.conns, w.ends = append(w.conns, conn), append(w.ends, end)
	read := make(chan struct{})
	w.t.Cleanup(func() {
		conn.Close()
		<-read
	})
	go func() {
		defer close(read)
		b := make([]byte, 64)
		for {
			n, from, err := conn.ReadFromUDPAddrPort(b)
			if err != nil {
				return
			}
			number, err := strconv.Atoi(string(b[:n]))
			if err == nil {
				w.arrivals <- arrival{number, at, netip.AddrPortFrom(from.Addr().Unmap(), from.Port())}
			}
		}
	}()
}

// send sends a packet in both worlds, and waits for it where the model says that it arrives.
func (w *twins) send(from int, to both) {
	w.t.Helper()
	var home *NAT
	if from < devices {
		home = w.model
	}
	p := packet{to: -1, what: fmt.Sprintf("%v to %v (for the model %v)", w.ends[from], to.kernel, to.model)}
	at, seen, ok := w.internet.Send(time.Now(), home, Packet{w.ends[from], to.model})
	for i, end := range w.ends {
		if ok && end == seen.To && (i < devices) == (at != nil) {
			p.to, p.from = i, seen.From
		}
	}
	number := len(w.sent)
	w.sent = append(w.sent, p)
	if _, err := w.conns[from].WriteToUDPAddrPort([]byte(strconv.Itoa(number)), to.kernel); err != nil {
		w.t.Fatal(err)
	}
	wait := 2 * time.Millisecond
	if p.to >= 0 {
		wait = kernelTimeout / 2
	}
	w.collect(wait, number)
	if p := w.sent[number]; p.to >= 0 && !p.there {
		w.differ("%s did not arrive, by the model at %d from %v", p.what, p.to, p.from)
	}
}

// collect takes what arrives until that packet does.
func (w *twins) collect(wait time.Duration, until int) {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for {
		select {
		case a := <-w.arrivals:
			w.judge(a)
			if a.packet == until {
				return
			}
		case <-timer.C:
			return
		}
	}
}

// judge compares how a packet arrived with what the model says.
func (w *twins) judge(a arrival) {
	p := &w.sent[a.packet]
	if p.to != a.at || p.there {
		w.differ("%s arrived at %d as from %v, by the model at %d from %v", p.what, a.at, a.from, p.to, p.from)
		return
	}
	p.there = true
	same := both{a.from, p.from}
	if w.models == nil {
		w.models, w.kernels = map[netip.AddrPort]netip.AddrPort{}, map[netip.AddrPort]netip.AddrPort{}
	}
	if w.models[a.from] == (netip.AddrPort{}) && w.kernels[p.from] == (netip.AddrPort{}) {
		w.models[a.from], w.kernels[p.from] = p.from, a.from
	}
	if w.models[a.from] != p.from || w.kernels[p.from] != a.from || a.from.Addr() != p.from.Addr() ||
		(a.from.Port() == 6881) != (p.from.Port() == 6881) || (a.from.Port() == 6882) != (p.from.Port() == 6882) {
		w.differ("%s came as from %v, which was %v for the model, but now it is %v", p.what, a.from, w.models[a.from], p.from)
		return
	}
	if a.from.Addr() != w.ends[a.at].Addr() && !isOne(w.ends, a.from) {
		w.known = append(w.known, same)
	}
}

// differ notes a difference, if it is the first.
func (w *twins) differ(format string, args ...any) {
	if w.wrong == "" {
		w.wrong = fmt.Sprintf("packet %d: ", len(w.sent)) + fmt.Sprintf(format, args...)
	}
}

func isOne(ends []netip.AddrPort, a netip.AddrPort) bool {
	for _, e := range ends {
		if e == a {
			return true
		}
	}
	return false
}

// burst sends packets at random between devices, servers and endpoints seen before; only from servers if nobody is to begin
// anything new.
func (w *twins) burst(random *rand.Rand, packets int, inbound bool) {
	w.t.Helper()
	for range packets {
		server := devices + random.IntN(len(w.ends)-devices)
		device := random.IntN(devices)
		what := random.IntN(10)
		switch {
		case w.wrong != "":
			return
		case !inbound && (what < 4 || len(w.known) == 0):
			w.send(device, both{w.ends[server], w.ends[server]})
		case inbound && len(w.known) == 0:
		case inbound || what < 8:
			w.send(server, w.known[random.IntN(len(w.known))])
		case w.model.Translates():
			w.send(device, w.known[random.IntN(len(w.known))])
		}
	}
}

// reboot makes both forget.
func (w *twins) reboot() {
	w.t.Helper()
	if err := w.router.Reboot(); err != nil {
		w.t.Fatal(err)
	}
	w.model.Reboot()
	w.forget()
}

// forget lets endpoints be others from now on.
func (w *twins) forget() { w.models, w.kernels = nil, nil }

func TestKernelAndModelDoTheSameToTheSamePackets(t *testing.T) {
	t.Parallel()
	// Others have the rules of one of these, or let all or nothing pass.
	for _, kind := range []natlab.Kind{
		natlab.FullCone, natlab.FullConeHairpin, natlab.AddressRestricted, natlab.PortRestricted, natlab.PortRestrictedHairpin,
		natlab.Bare, natlab.Mapping, natlab.PortShifted, natlab.AddressDependent, natlab.Sequential, natlab.Symmetric, natlab.IPv6Firewalled,
	} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			compare(t, kind, false, false)
		})
	}
	for _, hairpin := range []bool{false, true} {
		for _, kind := range []natlab.Kind{natlab.PortRestricted, natlab.FullCone} {
			t.Run(fmt.Sprintf("%s behind a carrier, hairpin %v", kind, hairpin), func(t *testing.T) {
				t.Parallel()
				compare(t, kind, true, hairpin)
			})
		}
	}
}

// compare plays a schedule. It counts only if the machine was quick enough for the kernel to have seen the silences that the
// schedule has. Ports that are given at random are now and then the same by chance, so a difference is one if it is there
// each time.
func compare(t *testing.T, kind natlab.Kind, carried, hairpin bool) {
	const attempts = 3
	differences := 0
	for began, seed := time.Now(), uint64(0); seed < attempts || time.Since(began) < patience; seed++ {
		w := newTwins(t, kind, carried, hairpin, seed)
		inTime := w.play(rand.New(rand.NewPCG(1, 2)))
		w.collect(100*time.Millisecond, -1) // what should not arrive
		switch {
		case !inTime:
			continue
		case w.wrong == "":
			return
		}
		t.Logf("%s: %s", kind, w.wrong)
		differences++
		if differences == attempts {
			t.Fatalf("%s: %s", kind, w.wrong)
		}
	}
	t.Error("this machine is too busy: packets took longer than mappings live")
}

// play reports whether it was quick enough.
func (w *twins) play(random *rand.Rand) bool {
	const packets = 60
	// A flow that nothing has been heard of since here is known to live for this long.
	since, sure := time.Now(), kernelTimeout*9/10
	w.burst(random, packets, false)
	w.collect(shortSilence, -1)
	w.burst(random, packets, false)
	if time.Since(since) > sure {
		return false
	}
	w.collect(longSilence, -1)
	w.forget()
	since = time.Now()
	// Linux goes on giving a source the port of a flow that has ended until it is collected, within a minute. The model does
	// not, so where ports are kept only what is let in is comparable.
	w.burst(random, packets, true)
	if keepsPorts(w.model.Kind()) {
		w.reboot()
	}
	w.burst(random, packets, false)
	if time.Since(since) > sure {
		return false
	}
	w.reboot()
	since = time.Now()
	w.burst(random, packets, false)
	return time.Since(since) < sure
}

// keepsPorts reports whether a device's own port is kept where it can be. Other kinds do not care what they gave before.
func keepsPorts(k natlab.Kind) bool { return k.Expect().Preserved == nat.Yes }
