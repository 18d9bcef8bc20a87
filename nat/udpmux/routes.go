package udpmux

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
)

// Mode is whose socket it is.
type Mode uint8

// The modes.
const (
	Agent     Mode = iota // QUIC and STUN with the surrogate, uTP with anybody
	Front                 // uTP and DHT with anybody
	Surrogate             // QUIC and STUN with anybody
)

// MaxPunches is the most punches that are active at once, MaxUsername the most bytes of a STUN username (RFC 5389
// section 15.3), and MaxEndpoints the most control or STUN endpoints.
const (
	MaxPunches   = 256
	MaxUsername  = 512
	MaxEndpoints = 64
)

// Routes says which datagram belongs to whom. The zero value is an agent's that knows no surrogate and no punch yet.
// Its methods may be called by any goroutine at any time. Several sockets may share one.
type Routes struct {
	table atomic.Pointer[table]
	mu    sync.Mutex // of writers
}

// table is never changed once it is stored.
type table struct {
	mode    Mode
	sources map[netip.AddrPort]source
	punches map[string]struct{}
}

// source is what is known of an address, as bits.
type source uint8

const (
	control    source = 1 << iota // a control endpoint of the surrogate
	stunServer                    // a STUN endpoint of the surrogate
)

var empty table

// NewRoutes returns routes for the mode.
func NewRoutes(m Mode) *Routes {
	r := new(Routes)
	r.table.Store(&table{mode: m})
	return r
}

// Classify says whose the datagram b from a source is. It is a pure function of the routes in force, and allocates
// nothing. An empty datagram is nobody's.
func (r *Routes) Classify(from netip.AddrPort, b []byte) Kind {
	t := r.current()
	return t.kind(t.source(from), b)
}

// SetControl replaces the surrogate's control endpoints. A zone must be its interface's name. It fails, and changes
// nothing, with more than MaxEndpoints.
func (r *Routes) SetControl(endpoints ...netip.AddrPort) error {
	return r.setSources(control, "control", endpoints)
}

// SetSTUN replaces the surrogate's STUN endpoints. An endpoint may be a control endpoint too: what is framed as STUN
// there is STUN and all else is QUIC, which never begins with two zero bits. It fails as SetControl does.
func (r *Routes) SetSTUN(endpoints ...netip.AddrPort) error {
	return r.setSources(stunServer, "STUN", endpoints)
}

// AddPunch makes STUN messages with the username belong to STUN, whoever sends them. Adding one again changes nothing.
// It fails with MaxPunches active ones, and with a username that is empty or longer than MaxUsername.
func (r *Routes) AddPunch(username string) error {
	if username == "" || len(username) > MaxUsername {
		return fmt.Errorf("a punch's username must have 1 to %d bytes, not %d", MaxUsername, len(username))
	}
	return r.change(func(t *table) error {
		if _, ok := t.punches[username]; !ok && len(t.punches) >= MaxPunches {
			return fmt.Errorf("%d punches are active: end one before beginning another", len(t.punches))
		}
		if t.punches = maps.Clone(t.punches); t.punches == nil {
			t.punches = make(map[string]struct{})
		}
		t.punches[username] = struct{}{}
		return nil
	})
}

// RemovePunch ends what AddPunch began. An unknown username is ignored.
func (r *Routes) RemovePunch(username string) {
	_ = r.change(func(t *table) error {
		t.punches = maps.Clone(t.punches)
		delete(t.punches, username)
		return nil
	})
}

func (r *Routes) setSources(bit source, name string, endpoints []netip.AddrPort) error {
	if len(endpoints) > MaxEndpoints {
		return fmt.Errorf("%d %s endpoints: there may be %d", len(endpoints), name, MaxEndpoints)
	}
	if slices.ContainsFunc(endpoints, func(a netip.AddrPort) bool { return !a.IsValid() }) {
		return fmt.Errorf("a %s endpoint has no address", name)
	}
	return r.change(func(t *table) error {
		sources := make(map[netip.AddrPort]source)
		for a, s := range t.sources {
			if s &^= bit; s != 0 {
				sources[a] = s
			}
		}
		for _, a := range endpoints {
			sources[unmap(a)] |= bit
		}
		t.sources = sources
		return nil
	})
}

// change stores a changed copy of the table. f must replace maps, not write to them.
func (r *Routes) change(f func(*table) error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	next := *r.current()
	if err := f(&next); err != nil {
		return err
	}
	r.table.Store(&next)
	return nil
}

func (r *Routes) current() *table {
	if t := r.table.Load(); t != nil {
		return t
	}
	return &empty
}

func (t *table) source(from netip.AddrPort) source { return t.sources[unmap(from)] }

// kind decides on one datagram from a source of which s is known.
func (t *table) kind(s source, b []byte) Kind {
	if len(b) == 0 {
		return Drop
	}
	switch t.mode {
	case Front:
		switch {
		case looksDHT(b):
			return DHT
		case looksUTP(b):
			return UTP
		}
		return Drop
	case Surrogate:
		if framedSTUN(b) {
			return STUN
		}
		return QUIC
	}
	switch s {
	case control:
		return QUIC
	case stunServer:
		return STUN
	case control | stunServer:
		if looksSTUN(b) {
			return STUN
		}
		return QUIC
	}
	if len(t.punches) > 0 && looksSTUN(b) {
		if _, ok := t.punches[string(username(b))]; ok {
			return STUN
		}
	}
	if looksUTP(b) {
		return UTP
	}
	return Drop
}

// unmap gives an IPv4 address that is mapped into IPv6 its own form.
func unmap(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}
