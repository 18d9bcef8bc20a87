//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"

	"simplebit/integration/natlab"
	"simplebit/integration/programs"
	"simplebit/rendezvous/apiclient"
)

// ours is what the tables call our agents.
const ours = "simplebit"

// client is one program of a swarm.
type client interface {
	Leech(ctx context.Context, torrentFile, downloadDir string) error
	Status(ctx context.Context) (programs.Status, error)
	Usage() (programs.Usage, error)
}

// realClient is a client other than ours.
type realClient interface {
	client
	Seed(ctx context.Context, torrentFile, contentDir string) error
}

// startReal starts a client other than ours with its default settings, but without uTP and DHT.
func startReal(ctx context.Context, program string, host *natlab.Host, dir string) (realClient, error) {
	c := programs.Config{Host: host, Dir: dir, PEX: true}
	switch program {
	case programs.QBittorrentNox:
		return programs.StartQBittorrent(ctx, c)
	case programs.TransmissionDaemon:
		return programs.StartTransmission(ctx, c)
	case programs.Aria2c:
		return programs.StartAria2(ctx, c)
	case programs.RTorrent:
		return programs.StartRtorrent(ctx, c)
	}
	return nil, fmt.Errorf("%s is no client that this program can start", program)
}

// agent is one of ours with the job that it has at its surrogate.
type agent struct {
	*programs.Agent
	home   *programs.Surrogate
	device string
	job    string
	hash   string // of its torrent
}

// startAgent starts one of ours with its default settings, but without uTP.
func startAgent(ctx context.Context, home *programs.Surrogate, bin string, host *natlab.Host, dir string) (*agent, error) {
	a, err := programs.StartAgent(ctx, programs.OursConfig{Host: host, Bin: bin, Dir: dir, Home: home, Args: []string{"--transport", tcp}})
	return &agent{Agent: a, home: home, device: host.Name()}, err
}

// Leech adds the torrent. An agent has one download folder, whatever is asked.
func (a *agent) Leech(ctx context.Context, torrentFile, _ string) error {
	b, err := os.ReadFile(torrentFile)
	if err != nil {
		return err
	}
	j, err := a.home.API().Add(ctx, apiclient.NewJob{Torrent: b, Target: "device:" + a.device})
	a.job, a.hash = j.ID, j.InfoHash
	return err
}

// Status asks the agent for what it has, which the surrogate learns a moment later, and the surrogate for the totals.
func (a *agent) Status(ctx context.Context) (programs.Status, error) {
	j, err := a.home.API().Job(ctx, a.job)
	if err != nil {
		return programs.Status{}, err
	}
	s := programs.Status{
		Torrents: 1, Size: j.Size, Have: j.Have, Downloaded: j.Downloaded, Uploaded: j.Uploaded, Peers: len(j.Peers),
		Checking: j.State == apiclient.StateChecking, Error: j.Error,
	}
	own, err := a.Agent.Status()
	if err != nil {
		return s, err
	}
	for _, t := range own.Torrents {
		if t.InfoHash == a.hash {
			s.Have, s.Peers = t.Have, t.Peers
		}
	}
	return s, nil
}

// torrentOf makes a torrent of random content in dir/content/payload.
func torrentOf(ctx context.Context, dir string, size int64, announce string) (programs.Torrent, error) {
	content := filepath.Join(dir, "content", "payload")
	if err := os.MkdirAll(content, 0o755); err != nil {
		return programs.Torrent{}, err
	}
	if err := writeNoise(filepath.Join(content, "payload.bin"), size); err != nil {
		return programs.Torrent{}, err
	}
	return programs.MakeTorrent(ctx, programs.MakeConfig{
		Content: content, File: filepath.Join(dir, "payload.torrent"), Announce: []string{announce},
	})
}

// writeNoise writes a file of so many random bytes, the same every time.
func writeNoise(name string, size int64) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	_, err = io.CopyN(f, rand.NewChaCha8([32]byte{'b', 'e', 'n', 'c', 'h'}), size)
	return errors.Join(err, f.Close())
}
