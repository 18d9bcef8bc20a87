//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"simplebit/integration/natlab"
	"simplebit/integration/programs"
)

const (
	lookEvery = 250 * time.Millisecond // between looks at a client
	// settle is how long the clients get to count their last bytes: some do so every few seconds.
	settle = 8 * time.Second
)

// member is a client of a swarm with its host.
type member struct {
	client
	program string
	title   string // in tables
	host    *natlab.Host
	dir     string
	before  natlab.Counters
	last    programs.Status // that it told while it was watched
	finish  time.Duration   // after the beginning
}

// gathering is a swarm that is ready to begin.
type gathering struct {
	torrent  programs.Torrent
	seeder   *member
	leechers []*member
	began    time.Time
}

// gather starts everybody. The seeder has announced itself when it returns.
func (s swarmSetup) gather(ctx context.Context, lab *natlab.Lab) (*gathering, error) {
	trackerHost, err := lab.Host("tracker")
	if err != nil {
		return nil, err
	}
	tracker, err := programs.StartTracker(ctx, programs.TrackerConfig{Host: trackerHost, Dir: filepath.Join(s.dir, "t")})
	if err != nil {
		return nil, err
	}
	home, err := lab.Host("surrogate")
	if err != nil {
		return nil, err
	}
	surrogate, err := programs.StartSurrogate(ctx, programs.OursConfig{Host: home, Bin: s.bin, Dir: filepath.Join(s.dir, "s"), Args: []string{"--transport", tcp}})
	if err != nil {
		return nil, err
	}
	g := &gathering{}
	if g.torrent, err = torrentOf(ctx, s.dir, s.size, tracker.URL()); err != nil {
		return nil, err
	}
	if err := tracker.Allow(ctx, g.torrent.InfoHash); err != nil {
		return nil, err
	}
	for _, k := range kinds {
		for i := range k.count {
			m, err := s.start(ctx, lab, surrogate, k.program, i+1)
			if err != nil {
				return nil, err
			}
			g.leechers = append(g.leechers, m)
		}
	}
	if g.seeder, err = s.seed(ctx, lab, g.torrent); err != nil {
		return nil, err
	}
	return g, tracker.Await(ctx, g.torrent.InfoHash, 1, 0)
}

// start starts one leecher on a host of its own.
func (s swarmSetup) start(ctx context.Context, lab *natlab.Lab, home *programs.Surrogate, program string, number int) (*member, error) {
	m, err := s.place(lab, program, fmt.Sprintf("%.8s-%d", program, number))
	if err != nil {
		return nil, err
	}
	m.title = fmt.Sprint(program, " ", number)
	if program == ours {
		m.client, err = startAgent(ctx, home, s.bin, m.host, m.dir)
	} else {
		m.client, err = startReal(ctx, program, m.host, m.dir)
	}
	return m, err
}

// seed starts the seeder.
func (s swarmSetup) seed(ctx context.Context, lab *natlab.Lab, t programs.Torrent) (*member, error) {
	m, err := s.place(lab, programs.QBittorrentNox, "seeder")
	if err != nil {
		return nil, err
	}
	c, err := startReal(ctx, m.program, m.host, m.dir)
	if err != nil {
		return nil, err
	}
	m.client, m.title = c, "seeder ("+m.program+")"
	return m, c.Seed(ctx, t.File, filepath.Join(s.dir, "content"))
}

// place makes a host with a slow link for a client.
func (s swarmSetup) place(lab *natlab.Lab, program, name string) (*member, error) {
	host, err := lab.Host(name)
	if err != nil {
		return nil, err
	}
	return &member{program: program, host: host, dir: filepath.Join(s.dir, name)}, host.Shape(s.down, s.up)
}

// begin gives the torrent to all leechers at once.
func (g *gathering) begin(ctx context.Context) (err error) {
	for _, m := range g.everybody() {
		if m.before, err = m.host.Counters(); err != nil {
			return err
		}
	}
	g.began = time.Now()
	all, ctx := errgroup.WithContext(ctx)
	for _, m := range g.leechers {
		all.Go(func() error { return m.Leech(ctx, g.torrent.File, filepath.Join(m.dir, "downloads")) })
	}
	return all.Wait()
}

// watch looks at the clients until all leechers are complete, and notes when each was.
func (g *gathering) watch(ctx context.Context, trace io.Writer) error {
	csv := log.New(trace, "", 0) // one line at a time
	csv.Print("seconds,client,have,downloaded,uploaded,peers")
	watching, stop := context.WithCancel(ctx)
	defer stop()
	var unfinished, watchers sync.WaitGroup
	for _, m := range g.everybody() {
		finished := func() {}
		if m != g.seeder {
			unfinished.Add(1)
			finished = sync.OnceFunc(func() {
				m.finish = time.Since(g.began)
				unfinished.Done()
			})
		}
		watchers.Go(func() {
			defer finished()
			for watching.Err() == nil {
				st, err := m.Status(watching)
				if err == nil {
					csv.Printf("%.2f,%s,%d,%d,%d,%d", time.Since(g.began).Seconds(), m.host.Name(), st.Have, st.Downloaded, st.Uploaded, st.Peers)
					if m.last = st; st.Complete() {
						finished()
					}
				}
				select {
				case <-watching.Done():
				case <-time.After(lookEvery):
				}
			}
		})
	}
	unfinished.Wait() // also when time is up: then the watchers end
	stop()
	watchers.Wait()
	if ctx.Err() == nil {
		return nil
	}
	err := context.Cause(ctx)
	for _, m := range g.leechers {
		if !m.last.Complete() {
			err = fmt.Errorf("%w; %s has %v", err, m.host.Name(), m.last)
		}
	}
	return err
}

// everybody is the leechers and then the seeder.
func (g *gathering) everybody() []*member {
	return append(slices.Clip(g.leechers), g.seeder)
}

// figures are taken once everybody is complete; the seeder's come last.
func (g *gathering) figures(ctx context.Context) ([]figures, error) {
	select {
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case <-time.After(settle):
	}
	var all []figures
	for _, m := range g.everybody() {
		st, err := m.Status(ctx)
		link, errLink := m.host.Counters()
		use, errUse := m.Usage()
		if err := errors.Join(err, errLink, errUse); err != nil {
			return nil, fmt.Errorf("%s: %w", m.host.Name(), err)
		}
		all = append(all, figures{
			program: m.program, name: m.title, finish: m.finish, size: g.torrent.Length,
			downloaded: st.Downloaded, uploaded: st.Uploaded,
			linkDown: link.RxBytes - m.before.RxBytes, linkUp: link.TxBytes - m.before.TxBytes,
			cpu: use.CPU, memory: use.PeakRSS,
		})
	}
	return all, nil
}
