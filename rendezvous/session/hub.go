// Package session holds the surrogate's side of the control connections: one
// loop per connected device compares what the device should hold with what it
// reports, and sends the difference.
//
// A connection is admitted by its key (see [Admitter]); the session stream
// then carries the device's inventory up and assignments and candidates down.
// Layouts and relayed peers travel on streams of their own. What a connection
// runs over makes no difference to any of it.
package session

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"github.com/quic-go/quic-go"

	"simplebit/nat"
	"simplebit/wire/control"
	"simplebit/wire/link"
)

const (
	admissionTime = 10 * time.Second // for a new connection's stream, Hello and admission
	proofTime     = 10 * time.Second // from Welcome to the first frame, while the device has another session
	idleTimeout   = 75 * time.Second // the agent keeps alive every 25 s
)

// Admitter decides about a device that says Hello.
type Admitter interface {
	// Admit returns the name in force for the device. A control.Refused error
	// is sent to the device before the connection is closed.
	Admit(ctx context.Context, device control.DeviceID, hello control.Hello) (name string, err error)
	// Enrolled tells whether the device has joined and is not revoked. It must not wait.
	Enrolled(control.DeviceID) bool
}

// Jobs is what devices should hold and who is told what they hold. Its methods
// are called from session loops and must not wait for one.
type Jobs interface {
	Desired(control.DeviceID) map[[20]byte]Desired
	Layout(context.Context, [20]byte) (Layout, error)
	Observed(control.DeviceID, control.Progress)
	Gone(control.DeviceID, [20]byte)
	// Unusable tells addresses that are of no use to the device, which holds the
	// torrent; they are bounded for a session.
	Unusable(control.DeviceID, control.Unusable)
	// Network tells what the device says of its network: control.Network's limits hold, nobody has checked it.
	Network(control.DeviceID, nat.Network)
	// Punched tells what the device says of an attempt to make a path to another.
	Punched(control.DeviceID, control.Punched)
	// Connected tells that the device's session began or ended.
	Connected(device control.DeviceID, online bool)
	// Moved tells that a connected device is seen at another address (see Hub.Endpoint), at most every few seconds.
	Moved(control.DeviceID)
}

// Layout is a torrent as it is sent to a device.
type Layout struct {
	Header control.LayoutHeader
	Files  []control.LayoutFile
	Hashes []byte // 20 bytes a piece
}

// Config configures a Hub.
type Config struct {
	Admitter Admitter
	Jobs     Jobs
	Software string // sent in Welcome

	// STUN returns where the surrogate answers STUN, for the device that is connected to its end of a connection (whose
	// address is unspecified where the socket has all): see control.Welcome. It must not wait. Nil: nowhere.
	STUN func(end netip.AddrPort) []netip.AddrPort

	TCP uint16 // the port where devices reach the surrogate over TCP, sent in Welcome; 0: none

	Log *slog.Logger

	layoutAgain time.Duration // before a layout that is still wanted is sent again; default 1 min
	writeTime   time.Duration // for one frame to be taken by the link's send buffer; default 15 s
	compareEach time.Duration // between two comparisons of all that a device should hold with what it does; default 100 ms
	seenEvery   time.Duration // between two looks whether a device is seen elsewhere; default 5 s
	proofTime   time.Duration // see there

	admissionTime, helloTime, hurryTime time.Duration // see there
}

// Hub knows the sessions of all connected devices. Its methods may be called
// from any goroutine and do not wait for the network.
type Hub struct {
	cfg Config

	// order is held while a session begins or ends and the jobs are told, so that
	// they are told in that order. No session waits for it.
	order sync.Mutex

	mu         sync.Mutex
	sessions   map[control.DeviceID]*session
	networks   map[control.DeviceID]Network // of enrolled devices, connected or not
	admissions *admissions
	allowances map[control.DeviceID]*allowances // of enrolled devices: connecting again gives no other

	refusals refusals
}

// NewHub returns a Hub without sessions.
func NewHub(cfg Config) *Hub {
	cfg.Log = cmp.Or(cfg.Log, slog.New(slog.DiscardHandler))
	cfg.layoutAgain = cmp.Or(cfg.layoutAgain, time.Minute)
	cfg.writeTime = cmp.Or(cfg.writeTime, 15*time.Second)
	cfg.compareEach = cmp.Or(cfg.compareEach, 100*time.Millisecond)
	cfg.seenEvery = cmp.Or(cfg.seenEvery, 5*time.Second)
	cfg.proofTime = cmp.Or(cfg.proofTime, proofTime)
	cfg.admissionTime = cmp.Or(cfg.admissionTime, admissionTime)
	return &Hub{
		cfg: cfg, sessions: map[control.DeviceID]*session{}, networks: map[control.DeviceID]Network{},
		admissions: newAdmissions(cmp.Or(cfg.helloTime, helloTime), cmp.Or(cfg.hurryTime, hurryTime)),
		allowances: map[control.DeviceID]*allowances{},
	}
}

// QUICConfig is how the surrogate listens: see the design's control protocol. A connection's window has room for four relayed
// streams of which nothing is taken, and the session stream beside them.
func QUICConfig() *quic.Config {
	return &quic.Config{
		MaxIdleTimeout:                 idleTimeout,
		HandshakeIdleTimeout:           5 * time.Second,
		MaxIncomingStreams:             1,
		MaxIncomingUniStreams:          -1,
		InitialStreamReceiveWindow:     64 << 10,
		MaxStreamReceiveWindow:         96 << 10,
		InitialConnectionReceiveWindow: 512 << 10,
		MaxConnectionReceiveWindow:     512 << 10,
	}
}

// Serve admits the listener's connections until ctx ends; then it closes their sessions. It may be called for several listeners
// at once; strangers have places for each transport.
func (h *Hub) Serve(ctx context.Context, ln link.Listener) error {
	var sessions sync.WaitGroup
	defer sessions.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for {
		conn, err := ln.Accept(ctx)
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		device, err := control.PeerDevice(conn.TLS())
		if err != nil {
			conn.Close(closeProtocol, err.Error())
			continue
		}
		n := h.startAdmission(device, conn)
		if n == nil {
			conn.Close(closeBusy, tryAgain)
			h.refused(conn, errFull)
			continue
		}
		sessions.Go(func() { h.serve(ctx, conn, n) })
	}
}

// serve runs one connection from its first frame to its end.
func (h *Hub) serve(ctx context.Context, conn link.Conn, n *admission) {
	s, err := h.admit(ctx, conn, n)
	if err == nil {
		ctx, cancel := context.WithCancel(ctx)
		var receiving sync.WaitGroup
		defer receiving.Wait()
		defer cancel()
		receiving.Go(func() { s.lost <- s.receive(ctx) })
		err = h.takeOver(ctx, s)
	}
	h.endAdmission(n)
	if err != nil {
		if n.gaveWay.Load() {
			err = errGaveWay
		}
		h.refused(conn, err)
		return
	}
	h.cfg.Log.Info("device connected", "device", s.name, "addr", conn.Remote(), "over", conn.Transport(), "software", s.hello.Software)
	err = s.run(ctx)
	h.remove(s)
	h.cfg.Log.Info("device disconnected", "device", s.name, "err", err)
}

// admit reads the Hello and answers Welcome, or Refused and closes.
func (h *Hub) admit(ctx context.Context, conn link.Conn, n *admission) (*session, error) {
	ctx, cancel := context.WithTimeout(ctx, h.cfg.admissionTime)
	defer cancel()
	early, late := context.WithTimeout(ctx, n.hello)
	defer late()
	stream, err := conn.Accept(early)
	if err != nil {
		conn.Close(closeProtocol, "no session stream")
		return nil, fmt.Errorf("%w: %w", errNoHello, err)
	}
	deadline, _ := early.Deadline()
	stream.SetDeadline(deadline)
	frames := control.NewReader(stream)
	first, err := frames.Next()
	if err != nil {
		conn.Close(closeProtocol, "no hello")
		return nil, fmt.Errorf("%w: %w", errNoHello, err)
	}
	deadline, _ = ctx.Deadline()
	stream.SetDeadline(deadline)
	hello, ok := first.(control.Hello)
	if !ok {
		conn.Close(closeProtocol, "the first frame was not hello")
		return nil, errNoHello
	}
	h.served(n, true)
	name, err := h.decide(ctx, n.device, hello)
	if err != nil {
		h.served(n, false)
		h.refuse(ctx, conn, stream, err)
		return nil, err
	}
	welcome := control.Welcome{Version: control.Version, Software: h.cfg.Software, Name: name, Observed: conn.Remote(), TCP: h.cfg.TCP}
	if h.cfg.STUN != nil {
		welcome.STUN = h.cfg.STUN(conn.Local())
	}
	if err := control.WriteMessage(stream, welcome); err != nil {
		conn.Close(closeProtocol, "")
		return nil, fmt.Errorf("%w: %w", errNoWelcome, err)
	}
	stream.SetDeadline(time.Time{})
	return &session{
		cfg: h.cfg, heard: h.heard, limits: h.allowancesOf(n.device), device: n.device, name: name, hello: hello, seen: welcome.Observed,
		conn: conn, stream: stream, frames: frames, book: newBook(),
		changed:    make(signal, 1),
		revoked:    make(signal, 1),
		candidates: newWaiting(),
		punches:    make(chan control.Punch, maxPunches),
		sent:       make(chan sentLayout),
		again:      make(chan infoHash),
		received:   make(chan control.Message),
		arrived:    make(chan struct{}),
		lost:       make(chan error, 1),
		over:       make(chan struct{}),
	}, nil
}

func (h *Hub) decide(ctx context.Context, device control.DeviceID, hello control.Hello) (string, error) {
	if hello.Version < control.Version {
		return "", control.Refused{Code: control.RefusedVersion, Reason: "this agent is too old for the surrogate: update it"}
	}
	name, err := h.cfg.Admitter.Admit(ctx, device, hello)
	if err != nil && !errors.As(err, new(control.Refused)) {
		err = fmt.Errorf("%w: %w", errLookup, err)
	}
	return name, err
}

// refuse sends the reason and gives the device the time to read it: closing a
// connection discards what has not been delivered.
func (h *Hub) refuse(ctx context.Context, conn link.Conn, stream link.Stream, reason error) {
	var refused control.Refused
	if !errors.As(reason, &refused) {
		refused = control.Refused{Code: control.RefusedBusy, Reason: "the surrogate could not look this device up: try again later"}
	}
	if control.WriteMessage(stream, refused) == nil && stream.CloseWrite() == nil {
		select {
		case <-conn.Done():
		case <-ctx.Done():
		}
	}
	conn.Close(closeRefused, refused.Reason)
}

// takeOver makes s the device's session: at once where there is no other, else when the other one ends or s has proved that it
// works both ways, by the first frame after Welcome, which a device sends when it has chosen that session. Where Welcome does not
// get through the older session goes on, and s is closed.
func (h *Hub) takeOver(ctx context.Context, s *session) error {
	late := time.NewTimer(h.cfg.proofTime)
	defer late.Stop()
	for proved := false; ; {
		old := h.replace(s, proved)
		if old == nil {
			return nil
		}
		select {
		case <-s.arrived:
			proved = true
		case <-old.over:
		case err := <-s.lost:
			s.close(closeLost, "")
			return err
		case <-late.C:
			s.close(closeLost, "nothing came after the welcome")
			return fmt.Errorf("device %s: %w", s.name, errNoProof)
		case <-ctx.Done():
			s.close(closeNormal, "the surrogate is stopping")
			return ctx.Err()
		}
	}
}

// replace makes s the device's session, and closes an older one of the same key; unless s has proved itself it does so only
// where there is none, and returns the one there is.
func (h *Hub) replace(s *session, proved bool) (kept *session) {
	h.order.Lock()
	defer h.order.Unlock()
	h.mu.Lock()
	old := h.sessions[s.device]
	if old != nil && !proved {
		h.mu.Unlock()
		return old
	}
	h.sessions[s.device] = s
	revoked := h.admissions.revoked[s.device]
	s.barred = revoked
	h.mu.Unlock()
	if old != nil {
		old.close(closeReplaced, "the device opened a newer session")
	}
	if revoked {
		s.revoke()
	}
	h.cfg.Jobs.Connected(s.device, true)
	return nil
}

func (h *Hub) remove(s *session) {
	defer close(s.over)
	h.order.Lock()
	defer h.order.Unlock()
	h.mu.Lock()
	current := h.sessions[s.device] == s
	if current {
		delete(h.sessions, s.device)
	}
	h.mu.Unlock()
	if current {
		h.cfg.Jobs.Connected(s.device, false)
	}
}

func (h *Hub) session(device control.DeviceID) *session {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.sessions[device]
}

// Changed tells that what the device should hold has changed. A device that is
// not connected is compared when it comes back.
func (h *Hub) Changed(device control.DeviceID) {
	if s := h.session(device); s != nil {
		s.changed.set()
	}
}

// Candidates sends addresses for a torrent to the device, unless it is not
// connected. While it takes nothing, those of a torrent wait together, and only the
// latest are kept: MaxCandidates for each torrent, some 30 000 in all.
func (h *Hub) Candidates(device control.DeviceID, c control.Candidates) {
	if s := h.session(device); s != nil {
		s.candidates.add(c)
	}
}

// Revoke closes the device's session at once. The caller has made sure that
// the Admitter refuses it from now on.
func (h *Hub) Revoke(device control.DeviceID) {
	h.mu.Lock()
	h.admissions.revoke(device)
	s := h.sessions[device]
	delete(h.networks, device)
	delete(h.allowances, device)
	if s != nil {
		s.barred = true
	}
	h.mu.Unlock()
	if s != nil {
		s.revoke()
	}
}

// Status tells whether the device is connected, from which address, and what
// software it runs.
func (h *Hub) Status(device control.DeviceID) (online bool, addr netip.AddrPort, software string) {
	s := h.session(device)
	if s == nil {
		return false, netip.AddrPort{}, ""
	}
	return true, s.conn.Remote(), s.hello.Software
}

// Endpoint is where the device accepts peers: the address from which it is
// connected, and the port that it has told. It is zero when the device is not
// connected or accepts none. A device that is connected over TCP accepts peers
// over TCP at best.
func (h *Hub) Endpoint(device control.DeviceID) netip.AddrPort {
	s := h.session(device)
	if s == nil || s.hello.Port == 0 {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(s.conn.Remote().Addr(), s.hello.Port)
}
