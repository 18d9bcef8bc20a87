//go:build linux

package main

import (
	"context"
	"fmt"
	"path/filepath"

	"simplebit/integration/programs"
)

// The transports, as our agent's flag and libtorrent's driver name them.
const (
	tcp = "tcp"
	utp = "utp"
)

// row is one line of the table.
type row struct {
	name            string // for --rows
	leecher, seeder string
	slow            bool   // has the small payload
	udp             bool   // the content comes by UDP
	against         string // the row of our agent that is in the same position
	play            func(context.Context, *stage) (transfer, error)
}

const fromLibtorrent = "libtorrent"

// The rows that the verdicts are about.
const (
	agentTCP, agentUTP       = "agent-tcp", "agent-utp"
	agentsTCP, agentsUTP     = "agents-tcp", "agents-utp"
	aria2Row, libtorrentsUTP = "aria2", "libtorrent-utp"
)

func allRows() []row {
	return []row{
		{name: agentTCP, leecher: ours + ", TCP", seeder: fromLibtorrent, against: agentTCP, play: agentFromLibtorrent(tcp)},
		{name: aria2Row, leecher: "aria2", seeder: fromLibtorrent, against: agentTCP, play: fromSeeder(tcp, playAria2)},
		{name: "rain", leecher: "rain", seeder: fromLibtorrent, against: agentTCP, play: fromSeeder(tcp, playRain)},
		{name: "libtorrent-tcp", leecher: "libtorrent, TCP", seeder: fromLibtorrent, against: agentTCP, play: fromSeeder(tcp, playLibtorrent)},
		{name: "transmission", leecher: "transmission-cli", seeder: fromLibtorrent, slow: true, against: agentTCP, play: fromSeeder(tcp, playTransmission)},
		{name: "floor-tcp", leecher: "floor: one TCP connection", seeder: "itself", against: agentTCP, play: playFloor("floor", "tcp")},
		{name: agentsTCP, leecher: ours + ", TCP", seeder: ours, against: agentsTCP, play: betweenAgents(tcp)},
		{name: agentUTP, leecher: ours + ", uTP", seeder: fromLibtorrent, slow: true, udp: true, against: agentUTP, play: agentFromLibtorrent(utp)},
		{name: libtorrentsUTP, leecher: "libtorrent, uTP", seeder: fromLibtorrent, slow: true, udp: true, against: agentUTP, play: fromSeeder(utp, playLibtorrent)},
		{name: agentsUTP, leecher: ours + ", uTP", seeder: ours, udp: true, against: agentsUTP, play: betweenAgents(utp)},
		{name: "utp-alone", leecher: "wire/utp without BitTorrent", seeder: "itself", udp: true, against: agentsUTP, play: playFloor("utpflow")},
		{name: "floor-udp", leecher: "floor: UDP_SEGMENT, UDP_GRO", seeder: "itself", udp: true, against: agentsUTP, play: playFloor("floor", "udp")},
		{name: "floor-udp-single", leecher: "floor: a datagram a system call", seeder: "itself", udp: true, against: agentsUTP, play: playFloor("floor", "udp-single")},
		{name: "floor-quic", leecher: "floor: one quic-go stream", seeder: "itself", udp: true, against: agentsUTP, play: playFloor("quicfloor")},
	}
}

// starter starts a leecher with the stage's torrent.
type starter func(ctx context.Context, st *stage, c programs.SingleConfig, transport string) (*programs.Driver, error)

// fromSeeder is a leecher, other than ours, that gets the payload from libtorrent.
func fromSeeder(transport string, start starter) func(context.Context, *stage) (transfer, error) {
	return func(ctx context.Context, st *stage) (transfer, error) {
		if err := st.track(ctx); err != nil {
			return transfer{}, err
		}
		seeder, err := st.seedByLibtorrent(ctx, st.seeder, transport)
		if err != nil {
			return transfer{}, err
		}
		c := programs.SingleConfig{
			Config:  programs.Config{Host: st.leecher, Dir: st.path("leech")},
			Torrent: st.torrent.File, Downloads: st.path("leech/downloads"),
		}
		return st.measure(ctx, seeder, filepath.Join(c.Downloads, payloadName), func(ctx context.Context) (user, error) {
			return start(ctx, st, c, transport)
		}, driven)
	}
}

func playAria2(ctx context.Context, _ *stage, c programs.SingleConfig, _ string) (*programs.Driver, error) {
	return programs.StartAria2Single(ctx, c)
}

func playTransmission(ctx context.Context, _ *stage, c programs.SingleConfig, _ string) (*programs.Driver, error) {
	return programs.StartTransmissionSingle(ctx, c)
}

func playLibtorrent(ctx context.Context, _ *stage, c programs.SingleConfig, transport string) (*programs.Driver, error) {
	return programs.StartLibtorrent(ctx, programs.LibtorrentConfig{Config: c.Config, Torrent: c.Torrent, Content: c.Downloads, Transport: transport})
}

func playRain(ctx context.Context, st *stage, c programs.SingleConfig, _ string) (*programs.Driver, error) {
	return programs.StartDriver(ctx, programs.DriverConfig{
		Host: c.Host, Dir: c.Dir, Program: filepath.Join(st.bin, "rain"), Args: []string{"--dir", c.Downloads, c.Torrent},
	})
}

// playFloor is a program that serves and fetches a file.
func playFloor(program string, way ...string) func(context.Context, *stage) (transfer, error) {
	return func(ctx context.Context, st *stage) (transfer, error) {
		const port = 7000
		address := fmt.Sprint(st.seeder.Addr(), ":", port)
		binary := filepath.Join(st.bin, program)
		seeder, err := programs.StartDriver(ctx, programs.DriverConfig{
			Host: st.seeder, Dir: st.path("seed"), Program: binary, Args: append(append([]string{"serve"}, way...), address, st.file()),
		})
		if err != nil {
			return transfer{}, err
		}
		if _, err := seeder.Await(ctx, programs.Ready); err != nil {
			return transfer{}, err
		}
		content := st.path(payloadName)
		return st.measure(ctx, seeder, content, func(ctx context.Context) (user, error) {
			return programs.StartDriver(ctx, programs.DriverConfig{
				Host: st.leecher, Dir: st.path("leech"), Program: binary,
				Args: append(append([]string{"fetch"}, way...), address, content, fmt.Sprint(st.size)),
			})
		}, driven)
	}
}

func agentFromLibtorrent(transport string) func(context.Context, *stage) (transfer, error) {
	return func(ctx context.Context, st *stage) (transfer, error) {
		if err := st.track(ctx); err != nil {
			return transfer{}, err
		}
		seeder, err := st.seedByLibtorrent(ctx, st.seeder, transport)
		if err != nil {
			return transfer{}, err
		}
		return st.measureAgent(ctx, seeder, transport)
	}
}

// betweenAgents is an agent that gets the payload from another.
func betweenAgents(transport string) func(context.Context, *stage) (transfer, error) {
	return func(ctx context.Context, st *stage) (transfer, error) {
		seeder, err := st.seedByAgent(ctx)
		if err != nil {
			return transfer{}, err
		}
		return st.measureAgent(ctx, seeder, transport)
	}
}

func (st *stage) measureAgent(ctx context.Context, seeder user, transport string) (transfer, error) {
	a, err := st.agent(ctx, st.leecher, transport)
	if err != nil {
		return transfer{}, err
	}
	return st.measure(ctx, seeder, filepath.Join(a.Downloads(), payloadName), func(ctx context.Context) (user, error) {
		return a, a.Leech(ctx, st.torrent.File, "")
	}, st.asked)
}
