package edgeagent

import (
	"cmp"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// Status is what a running agent tells of itself.
type Status struct {
	Device      string          `json:"device"` // id
	Name        string          `json:"name"`   // at the surrogate
	Surrogate   string          `json:"surrogate"`
	Connected   bool            `json:"connected"`
	Transport   string          `json:"transport,omitempty"` // of the control connection: "quic", or "tcp" where UDP does not work
	Since       time.Time       `json:"since,omitzero"`      // of Connected
	Observed    string          `json:"observed,omitempty"`  // this device's address as the surrogate sees it
	Error       string          `json:"error,omitempty"`     // why it is not connected
	MemoryBytes int64           `json:"memory_bytes"`        // budget for blocks
	MemoryFree  int64           `json:"memory_free"`         // of it
	MaxPeers    int             `json:"max_peers"`           // connections of all torrents together
	DownLimit   int64           `json:"down_limit"`          // bytes/s of all torrents together; 0: none
	UpLimit     int64           `json:"up_limit"`            // likewise
	Network     NetworkStatus   `json:"network"`
	Paths       []PathStatus    `json:"paths"`   // punched to other devices, and kept
	Relayed     []RelayedStatus `json:"relayed"` // connections with other devices through the surrogate
	Torrents    []TorrentStatus `json:"torrents"`
}

// PathStatus is a path to another device.
type PathStatus struct {
	Device string    `json:"device"` // name
	Addr   string    `json:"addr"`
	LAN    bool      `json:"lan,omitempty"`
	RTT    float64   `json:"rtt_ms"` // when it was found
	Since  time.Time `json:"since"`
}

// RelayedStatus is a connection with another device for one torrent.
type RelayedStatus struct {
	Device    string    `json:"device"`         // name
	Addr      string    `json:"addr,omitempty"` // where the surrogate sees it
	InfoHash  string    `json:"infohash"`
	Transport string    `json:"transport"` // between this device and the surrogate
	Since     time.Time `json:"since"`
}

// TorrentStatus is one torrent of a Status. Sizes are bytes, rates bytes/s.
type TorrentStatus struct {
	InfoHash     string        `json:"infohash"`
	State        string        `json:"state"`
	Size         int64         `json:"size"`
	Have         int64         `json:"have"`
	Selected     int64         `json:"selected,omitempty"` // of the wanted files, when some are skipped
	SelectedHave int64         `json:"selected_have,omitempty"`
	Partial      int64         `json:"partial"` // of unfinished pieces: what a kill costs at most
	DownRate     int64         `json:"down_rate"`
	UpRate       int64         `json:"up_rate"`
	Downloaded   int64         `json:"downloaded"` // over all time
	Uploaded     int64         `json:"uploaded"`   // over all time
	Peers        int           `json:"peers"`
	Limits       TorrentLimits `json:"limits"`
	Seeded       int64         `json:"seeded"` // seconds of seeding over all time
	Error        string        `json:"error,omitempty"`
}

// TorrentLimits is what the surrogate has set for one torrent; 0 is no limit.
type TorrentLimits struct {
	Down       int64   `json:"down,omitempty"` // bytes/s
	Up         int64   `json:"up,omitempty"`   // bytes/s
	MaxPeers   int     `json:"max_peers,omitempty"`
	SeedRatio  float64 `json:"seed_ratio,omitempty"` // uploaded / size of what is wanted at which seeding ends
	SeedTime   int64   `json:"seed_time,omitempty"`  // seconds of seeding after which it ends
	Sequential bool    `json:"sequential,omitempty"`
}

// status collects the agent's Status.
func (s *session) status() Status {
	l, home := s.current(), s.surrogate()
	st := Status{
		Device: string(s.device()), Surrogate: home.Addr,
		Name: home.Name, Connected: l.Connected, Since: l.Since, Error: l.Error,
		MemoryBytes: s.set.pool.Size(), MemoryFree: s.set.pool.Free(),
		MaxPeers: s.cfg.MaxPeers, DownLimit: s.cfg.Down, UpLimit: s.cfg.Up,
		Network: s.network.current().status(), Paths: s.punching.status(), Relayed: s.relaying.status(),
		Torrents: []TorrentStatus{},
	}
	if l.Connected {
		st.Transport = l.Transport.String()
	}
	if l.Observed.IsValid() {
		st.Observed = l.Observed.String()
	}
	for _, t := range s.set.all() {
		p, wish := t.progress(), t.currentWish()
		st.Torrents = append(st.Torrents, TorrentStatus{
			InfoHash: hex.EncodeToString(p.ID[:]), State: p.State.String(), Size: p.Size, Have: p.Have,
			Selected: p.Selected, SelectedHave: p.SelectedHave, Partial: p.Partial,
			DownRate: p.DownRate, UpRate: p.UpRate, Downloaded: p.Downloaded, Uploaded: p.Uploaded, Peers: len(p.Peers),
			Limits: wish.Options.limits(), Seeded: int64(wish.Seeded.Seconds()), Error: p.Error,
		})
	}
	slices.SortFunc(st.Torrents, func(a, b TorrentStatus) int { return cmp.Compare(a.InfoHash, b.InfoHash) })
	return st
}

// status is the paths that are kept, the oldest first.
func (p *punching) status() []PathStatus {
	list := []PathStatus{}
	for _, k := range p.paths() {
		list = append(list, PathStatus{
			Device: k.plan.Peer, Addr: k.remote.String(), LAN: k.report.LAN, RTT: float64(k.report.RTT.Microseconds()) / 1000, Since: k.since,
		})
	}
	return list
}

// status is the relayed connections, the oldest first.
func (r *relaying) status() []RelayedStatus {
	list := []RelayedStatus{}
	for _, c := range r.all() {
		st := RelayedStatus{Device: c.Peer, InfoHash: hex.EncodeToString(c.Torrent[:]), Transport: c.by.String(), Since: c.since}
		if c.Addr.IsValid() {
			st.Addr = c.Addr.String()
		}
		list = append(list, st)
	}
	return list
}

// limits is what people are told of the options.
func (o options) limits() TorrentLimits {
	return TorrentLimits{
		Down: o.DownLimit, Up: o.UpLimit, MaxPeers: int(o.MaxPeers), SeedRatio: float64(o.SeedRatio) / 1000,
		SeedTime: int64(o.SeedTime), Sequential: o.Sequential,
	}
}

// listenStatus opens the socket. The caller holds the state folder's lock, so that
// one found there is a dead agent's.
func listenStatus(socket string) (net.Listener, error) {
	os.Remove(socket)
	ln, err := net.Listen("unix", socket)
	if err != nil {
		return nil, fmt.Errorf("status socket: %w: choose a shorter path with --state", err)
	}
	os.Chmod(socket, 0o600)
	return ln, nil
}

// serveStatus answers every connection with one JSON object until ctx ends. A
// system without resources for a moment is no reason to end.
func serveStatus(ctx context.Context, ln net.Listener, current func() Status) error {
	stop := context.AfterFunc(ctx, func() { ln.Close() })
	defer stop()
	for {
		c, err := ln.Accept()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			pause(ctx)
			continue
		}
		st := current() // which may wait for a slow disk
		c.SetDeadline(time.Now().Add(time.Second))
		json.NewEncoder(c).Encode(st)
		c.Close()
	}
}

// ReadStatus asks the agent that runs with this state folder.
func ReadStatus(stateDir string) (Status, error) {
	var st Status
	c, err := net.Dial("unix", filepath.Join(stateDir, "status.sock"))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ECONNREFUSED) {
		return st, fmt.Errorf("no agent runs with the state folder %s: start it with `edgeagent run --state %s`", stateDir, stateDir)
	}
	if err != nil {
		return st, fmt.Errorf("agent with state folder %s: %w", stateDir, err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(5 * time.Second))
	if err := json.NewDecoder(c).Decode(&st); err != nil {
		return st, fmt.Errorf("agent with state folder %s gave no status: %w", stateDir, err)
	}
	return st, nil
}
