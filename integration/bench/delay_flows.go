//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"simplebit/integration/programs"
)

// flow is one way to send over uTP. What prepare returns begins it, through the bottleneck.
type flow struct {
	name, title string
	ours        bool
	prepare     func(context.Context, *stage) (begin func() error, err error)
}

func allFlows() []flow {
	return []flow{
		{"utp", "wire/utp without BitTorrent", true, flowAlone},
		{"agents", ours + " to " + ours, true, flowOfAgents},
		{"libtorrent", "libtorrent to libtorrent", false, flowOfLibtorrent},
	}
}

func flowNames() (names []string) {
	for _, f := range allFlows() {
		names = append(names, f.name)
	}
	return names
}

func chosenFlows(list string) (chosen []flow, err error) {
	all := allFlows()
	for name := range strings.SplitSeq(list, ",") {
		i := slices.IndexFunc(all, func(f flow) bool { return f.name == name })
		if i < 0 {
			return nil, fmt.Errorf("no flow %q: there are %s", name, strings.Join(flowNames(), ", "))
		}
		chosen = append(chosen, all[i])
	}
	return chosen, nil
}

func flowAlone(ctx context.Context, st *stage) (func() error, error) {
	program, address := filepath.Join(st.bin, "utpflow"), fmt.Sprint(st.seeder.Addr(), ":7000")
	source, err := programs.StartDriver(ctx, programs.DriverConfig{Host: st.seeder, Dir: st.path("seed"), Program: program, Args: []string{"source", address}})
	if err != nil {
		return nil, err
	}
	if _, err := source.Await(ctx, programs.Ready); err != nil {
		return nil, err
	}
	return func() error {
		drain, err := programs.StartDriver(ctx, programs.DriverConfig{
			Host: st.leecher, Dir: st.path("leech"), Program: program, Args: []string{"drain", "--for", time.Hour.String(), address},
		})
		if err != nil {
			return err
		}
		_, err = drain.Await(ctx, programs.Ready)
		return err
	}, nil
}

func flowOfLibtorrent(ctx context.Context, st *stage) (func() error, error) {
	if err := st.track(ctx); err != nil {
		return nil, err
	}
	if _, err := st.seedByLibtorrent(ctx, st.seeder, utp); err != nil {
		return nil, err
	}
	return func() error {
		_, err := programs.StartLibtorrent(ctx, programs.LibtorrentConfig{
			Config:  programs.Config{Host: st.leecher, Dir: st.path("leech")},
			Torrent: st.torrent.File, Content: st.path("leech/downloads"), Transport: utp,
		})
		if err != nil {
			return err
		}
		return st.flows(ctx)
	}, nil
}

func flowOfAgents(ctx context.Context, st *stage) (func() error, error) {
	if _, err := st.seedByAgent(ctx); err != nil {
		return nil, err
	}
	a, err := st.agent(ctx, st.leecher, utp)
	if err != nil {
		return nil, err
	}
	return func() error {
		if err := a.Leech(ctx, st.torrent.File, ""); err != nil {
			return err
		}
		if err := st.flows(ctx); err != nil {
			return a.explain(err)
		}
		return nil
	}, nil
}

// flows waits until the leecher gets content.
func (st *stage) flows(ctx context.Context) error {
	before, err := st.leecher.Counters()
	if err != nil {
		return err
	}
	for end := time.Now().Add(time.Minute); time.Now().Before(end); {
		if err := pause(ctx, 100*time.Millisecond); err != nil {
			return err
		}
		if now, err := st.leecher.Counters(); err != nil || now.RxBytes > before.RxBytes+10*firstBytes {
			return err
		}
	}
	return errors.New("nothing flows after a minute")
}

// delayResult is what one flow did.
type delayResult struct {
	name                 string
	ours                 bool // and so judged
	first                part // while the flow finds its pace
	alone, beside, after part
	err                  error
}

func (r delayResult) String() string {
	if r.err != nil {
		return r.err.Error()
	}
	return fmt.Sprintf("waits %v alone, %v beside TCP; share %.0f %%", r.alone.wait(0.5), r.beside.wait(0.5), 100*r.beside.share())
}

// delayTable is Markdown: the figures and what they say.
func delayTable(all []delayResult, queue time.Duration) string {
	var b, notes strings.Builder
	b.WriteString("| flow | part | median wait ms | 5–95 % | probes lost | uTP KiB/s | TCP KiB/s | uTP's share |\n|---|---|---:|---:|---:|---:|---:|---:|\n")
	ms := func(d time.Duration) float64 { return 1000 * d.Seconds() }
	for _, r := range all {
		if r.err != nil {
			fmt.Fprintf(&b, "| %s | failed | | | | | | |\n", r.name)
			fmt.Fprintf(&notes, "- %s failed: %s.\n", r.name, oneLine(r.err))
			continue
		}
		for _, p := range []struct {
			name string
			part
		}{{"its first " + delaySettle.String(), r.first}, {"alone", r.alone}, {"beside TCP", r.beside}, {"after TCP", r.after}} {
			fmt.Fprintf(&b, "| %s | %s | %.0f | %.0f–%.0f | %.1f %% | %.0f | %.0f | %.0f %% |\n", r.name, p.name,
				ms(p.wait(0.5)), ms(p.wait(0.05)), ms(p.wait(0.95)), 100*(1-float64(len(p.waits))/float64(max(len(p.waits), p.sent))),
				p.flow/1024, p.tcp/1024, 100*p.share())
		}
		if !r.ours {
			continue
		}
		middle := r.alone.wait(0.5)
		fmt.Fprintf(&notes, "- %s keeps packets waiting %.0f ms of the queue's %.0f, wanted %.0f to %.0f: %s.\n", r.name, ms(middle), ms(queue),
			ms(delayLeast), ms(delayMost), verdict(middle >= delayLeast && middle <= delayMost))
		fmt.Fprintf(&notes, "- %s takes %.0f %% beside TCP, wanted at most %.0f %%, and afterwards %.0f %% of its pace before, wanted at least %.0f %%: %s.\n", r.name,
			100*r.beside.share(), 100*shareMost, 100*r.after.flow/r.alone.flow, 100*shareBack,
			verdict(r.beside.share() <= shareMost && r.after.flow >= shareBack*r.alone.flow))
	}
	return b.String() + "\n" + notes.String()
}
