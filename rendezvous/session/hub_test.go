package session

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha1"
	"errors"
	"io"
	"net"
	"net/netip"
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"go.uber.org/goleak"

	"simplebit/nat"
	"simplebit/wire/control"
	"simplebit/wire/link"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// compareEach is the world's Config.compareEach.
const compareEach = 5 * time.Millisecond

// world is a surrogate's hub with what it needs, in memory.
type world struct {
	t    *testing.T
	hub  *Hub
	addr net.Addr       // for QUIC
	tcp  netip.AddrPort // for TCP
	over link.Transport // of devices that connect from now on
	pin  control.Pin

	mu       sync.Mutex
	admit    func() (string, error)
	desired  map[infoHash]Desired
	asked    int              // for it
	enrolled control.DeviceID // from the beginning
	layouts  int              // asked for
	broken   int              // of them, the first that fail
	events   chan any         // control.Progress unless counting, infoHash of Gone, control.Unusable, bool of Connected, netip.AddrPort of Moved

	client   *quic.Config // of devices
	servers  func(end netip.AddrPort) []netip.AddrPort
	counting bool
	networks []nat.Network // that the jobs were told of
	stop     func()        // the hub, and wait for that
	observed int
}

// newWorld is a world in which only what a test is about ends by itself: changes say what that is.
func newWorld(t *testing.T, changes ...func(*Config)) *world {
	w := &world{t: t, desired: map[infoHash]Desired{}, events: make(chan any, 100)}
	w.admit = func() (string, error) { return "attic", nil }
	deployment, own := newKey(t), newKey(t)
	w.pin = control.PinOf(deployment.Public().(ed25519.PublicKey))
	conf, err := control.SurrogateTLS(own, deployment)
	if err != nil {
		t.Fatal(err)
	}
	socket, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	transport := &quic.Transport{Conn: socket}
	ln, err := transport.Listen(conf, QUICConfig())
	if err != nil {
		t.Fatal(err)
	}
	w.addr = ln.Addr()
	w.servers = func(netip.AddrPort) []netip.AddrPort { return nil }
	socket2, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w.tcp = addrPort(socket2.Addr())
	cfg := Config{
		Admitter: w, Jobs: w, Software: "test", STUN: w.answering, TCP: w.tcp.Port(),
		layoutAgain: 50 * time.Millisecond, seenEvery: 10 * time.Millisecond, compareEach: compareEach,
		writeTime: patience, proofTime: patience, admissionTime: patience, helloTime: patience, hurryTime: patience,
	}
	for _, change := range changes {
		change(&cfg)
	}
	w.hub = NewHub(cfg)
	ctx, cancel := context.WithCancel(context.Background())
	var served sync.WaitGroup
	for _, ln := range []link.Listener{link.ListenQUIC(ln), link.ListenTCP(socket2, conf, link.Limits{})} {
		served.Go(func() { w.hub.Serve(ctx, ln) })
	}
	w.stop = func() { cancel(); served.Wait() }
	t.Cleanup(func() { w.stop(); transport.Close(); socket.Close(); socket2.Close() })
	return w
}

func addrPort(a net.Addr) netip.AddrPort { return netip.MustParseAddrPort(a.String()) }

func newKey(t *testing.T) ed25519.PrivateKey {
	key, err := control.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func (w *world) Admit(context.Context, control.DeviceID, control.Hello) (string, error) {
	w.mu.Lock()
	admit := w.admit
	w.mu.Unlock()
	return admit()
}

func (w *world) Enrolled(device control.DeviceID) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return device == w.enrolled
}

func (w *world) answering(end netip.AddrPort) []netip.AddrPort {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.servers(end)
}

// locked changes what the hub's goroutines are told from now on.
func (w *world) locked(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f()
}

func (w *world) Desired(control.DeviceID) map[[20]byte]Desired {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.asked++
	c := map[[20]byte]Desired{}
	for id, d := range w.desired {
		c[id] = d
	}
	return c
}

func (w *world) wish(id infoHash, d Desired) {
	w.mu.Lock()
	defer w.mu.Unlock()
	d.ID = id
	w.desired[id] = d
}

func (w *world) Layout(context.Context, [20]byte) (Layout, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.layouts++
	if w.layouts <= w.broken {
		return Layout{}, errors.New("the store has lost it")
	}
	return testLayout, nil
}

func (w *world) Observed(_ control.DeviceID, p control.Progress) {
	w.mu.Lock()
	counting := w.counting
	w.observed++
	w.mu.Unlock()
	if !counting {
		w.events <- p
	}
}

func (w *world) Gone(_ control.DeviceID, id [20]byte)            { w.events <- id }
func (w *world) Connected(_ control.DeviceID, online bool)       { w.events <- online }
func (w *world) Unusable(_ control.DeviceID, u control.Unusable) { w.events <- u }
func (w *world) Punched(_ control.DeviceID, p control.Punched)   { w.events <- p }

func (w *world) Moved(device control.DeviceID) { w.events <- w.hub.Endpoint(device) }

func (w *world) Network(_ control.DeviceID, n nat.Network) {
	w.locked(func() { w.networks = append(w.networks, n) })
}

// event waits for the next thing that the jobs were told.
func event[T any](w *world) T {
	w.t.Helper()
	select {
	case e := <-w.events:
		v, ok := e.(T)
		if !ok {
			w.t.Fatalf("jobs were told %#v, want a %T", e, v)
		}
		return v
	case <-time.After(patience):
		w.t.Fatal("the jobs were told nothing")
	}
	panic("unreachable")
}

var content = []byte("sixteen bytes !!")

var testLayout = Layout{
	Header: control.LayoutHeader{ID: red, Name: "a", PieceLength: 16384, Length: 16, Files: 1, Pieces: 1},
	Files:  []control.LayoutFile{{Path: "a", Length: 16}},
	Hashes: func() []byte { h := sha1.Sum(content); return h[:] }(),
}

// device is the agent's end of a control connection.
type device struct {
	t      *testing.T
	conn   link.Conn
	stream link.Stream
	frames *control.Reader
}

func (w *world) dial(key ed25519.PrivateKey) link.Conn {
	w.t.Helper()
	conf, err := control.AgentTLS(key, w.pin)
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var conn link.Conn
	if w.over == link.TCP {
		conn, err = link.DialTCP(ctx, w.tcp, conf)
	} else {
		var c *quic.Conn
		if c, err = quic.DialAddr(ctx, w.addr.String(), conf, w.client); err == nil {
			conn = link.FromQUIC(c)
		}
	}
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { conn.Close(0, "") })
	return conn
}

func (w *world) connect(key ed25519.PrivateKey, h control.Hello) *device {
	w.t.Helper()
	conn := w.dial(key)
	stream, err := conn.Open(context.Background())
	if err != nil {
		w.t.Fatal(err)
	}
	stream.SetReadDeadline(time.Now().Add(patience))
	d := &device{w.t, conn, stream, control.NewReader(stream)}
	d.send(h)
	return d
}

func (d *device) send(m control.Message) {
	d.t.Helper()
	if err := control.WriteMessage(d.stream, m); err != nil {
		d.t.Fatal(err)
	}
}

func next[T control.Message](d *device) T {
	d.t.Helper()
	m, err := d.frames.Next()
	if err != nil {
		d.t.Fatal(err)
	}
	v, ok := m.(T)
	if !ok {
		d.t.Fatalf("got %#v, want a %T", m, v)
	}
	return v
}

var hello = control.Hello{Version: control.Version, Software: "agent", Name: "attic", Port: 6882}

func TestATorrentIsAssignedWithItsLayout(t *testing.T) {
	w := newWorld(t)
	w.wish(red, want(red, 7))
	d := w.connect(newKey(t), hello)
	if got := next[control.Welcome](d); got.Name != "attic" || !got.Observed.IsValid() {
		t.Errorf("welcome is %+v", got)
	}
	if !event[bool](w) {
		t.Error("the device is said to be offline")
	}
	d.send(control.Synced{})
	if got := next[control.Assign](d); got.Generation != 7 {
		t.Errorf("assigned generation %d, want 7", got.Generation)
	}
	d.send(control.Progress{ID: red, Generation: 7, State: control.StateLayout})
	event[control.Progress](w)
	stream, err := d.conn.Accept(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	stream.CloseWrite()
	all, err := io.ReadAll(stream)
	if err != nil {
		t.Fatal(err)
	}
	l, err := control.ReadLayout(bytes.NewReader(all))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(all[l.HashOffset:], testLayout.Hashes) {
		t.Error("the piece hashes arrived altered")
	}
}

func TestADeviceThatComesBackIsBroughtUpToDate(t *testing.T) {
	w := newWorld(t)
	w.wish(red, want(red, 2))
	w.wish(blue, Desired{Remove: true, DeleteData: true})
	d := w.connect(newKey(t), hello)
	next[control.Welcome](d)
	event[bool](w)
	d.send(control.Progress{ID: red, Generation: 1, State: control.StateSeeding})
	d.send(control.Progress{ID: blue, Generation: 1, State: control.StateSeeding})
	d.send(control.Synced{})
	event[control.Progress](w)
	event[control.Progress](w)
	if got := next[control.Unassign](d); got.ID != blue || !got.DeleteData {
		t.Errorf("unassigned %+v, want blue with its data", got)
	}
	if got := next[control.Assign](d); got.ID != red || got.Generation != 2 {
		t.Errorf("assigned %+v, want red at generation 2", got)
	}
	d.send(control.Gone{ID: blue})
	if got := event[infoHash](w); got != blue {
		t.Errorf("%x is gone, want blue", got)
	}
}

func TestAChangedWishReachesAConnectedDevice(t *testing.T) {
	w := newWorld(t)
	key := newKey(t)
	d := w.connect(key, hello)
	next[control.Welcome](d)
	d.send(control.Synced{})
	id := control.DeviceIDOf(key.Public().(ed25519.PublicKey))
	event[bool](w)
	paused := want(red, 1)
	paused.Paused = true
	w.wish(red, paused)
	w.hub.Changed(id)
	if got := next[control.Assign](d); !got.Paused {
		t.Errorf("assigned %+v, want it paused", got)
	}
}

func TestAddressesOfNoUseReachTheJobs(t *testing.T) {
	w := newWorld(t)
	w.wish(red, want(red, 1))
	d := w.joined(newKey(t))
	next[control.Assign](d)
	told := control.Unusable{ID: red, Peers: []control.UnusablePeer{
		{Addr: netip.MustParseAddrPort("192.0.2.1:6881"), Reason: control.UnusableLied}}}
	d.send(told) // not held yet: of no torrent that it may speak of
	d.send(control.Progress{ID: red, Generation: 1, State: control.StateDownloading})
	d.send(told)
	event[control.Progress](w)
	if got := event[control.Unusable](w); !reflect.DeepEqual(got, told) {
		t.Errorf("told %+v, want %+v", got, told)
	}
}

func TestTheHubKnowsWhereADeviceAcceptsPeers(t *testing.T) {
	w := newWorld(t)
	key, mute := newKey(t), newKey(t)
	if got := w.hub.Endpoint(idOf(key)); got.IsValid() {
		t.Errorf("a device that is not connected accepts peers at %v", got)
	}
	next[control.Welcome](w.connect(key, hello))
	event[bool](w)
	if got, want := w.hub.Endpoint(idOf(key)), netip.MustParseAddrPort("127.0.0.1:6882"); got != want {
		t.Errorf("the device accepts peers at %v, want %v", got, want)
	}
	next[control.Welcome](w.connect(mute, control.Hello{Version: control.Version}))
	event[bool](w)
	if got := w.hub.Endpoint(idOf(mute)); got.IsValid() {
		t.Errorf("a device without a port accepts peers at %v", got)
	}
}

func TestARefusedDeviceLearnsWhy(t *testing.T) {
	w := newWorld(t)
	w.locked(func() {
		w.admit = func() (string, error) {
			return "", control.Refused{Code: control.RefusedInvite, Reason: "the invite has expired"}
		}
	})
	d := w.connect(newKey(t), hello)
	if got := next[control.Refused](d); got.Code != control.RefusedInvite || got.Reason != "the invite has expired" {
		t.Errorf("refused with %+v", got)
	}
}

func TestAnOlderVersionIsRefused(t *testing.T) {
	w := newWorld(t)
	d := w.connect(newKey(t), control.Hello{Version: control.Version - 1, Software: "earlier"})
	if got := next[control.Refused](d); got.Code != control.RefusedVersion {
		t.Errorf("refused with %+v, want the version", got)
	}
}

func TestAnErrorOfTheStoreIsNotShownToStrangers(t *testing.T) {
	w := newWorld(t)
	w.locked(func() { w.admit = func() (string, error) { return "", errors.New("secret path") } })
	d := w.connect(newKey(t), hello)
	got := next[control.Refused](d)
	if got.Code != control.RefusedBusy || bytes.Contains([]byte(got.Reason), []byte("secret")) {
		t.Errorf("refused with %+v", got)
	}
}

func TestARevokedDeviceIsCutOffAtOnce(t *testing.T) {
	w := newWorld(t)
	key := newKey(t)
	d := w.connect(key, hello)
	next[control.Welcome](d)
	event[bool](w)
	w.hub.Revoke(control.DeviceIDOf(key.Public().(ed25519.PublicKey)))
	if got := next[control.Refused](d); got.Code != control.RefusedRevoked {
		t.Errorf("refused with %+v, want revoked", got)
	}
	select {
	case <-d.conn.Done():
	case <-time.After(patience):
		t.Error("the connection is still open")
	}
	if event[bool](w) {
		t.Error("the device is still said to be online")
	}
}

func TestANewerSessionOfADeviceReplacesTheOlder(t *testing.T) {
	w := newWorld(t)
	key := newKey(t)
	first := w.connect(key, hello)
	next[control.Welcome](first)
	event[bool](w)
	second := w.connect(key, hello)
	next[control.Welcome](second)
	second.send(control.Synced{})
	select {
	case <-first.conn.Done():
	case <-time.After(patience):
		t.Fatal("the older connection is still open")
	}
	if !event[bool](w) {
		t.Error("the device is said to be offline")
	}
	if online, _, _ := w.hub.Status(control.DeviceIDOf(key.Public().(ed25519.PublicKey))); !online {
		t.Error("the hub lost the newer session")
	}
}
