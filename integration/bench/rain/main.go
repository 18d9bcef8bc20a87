// Command rain downloads one torrent with github.com/cenkalti/rain, to be measured by integration/bench. It is a module of its own, so
// that rain and what it needs stay out of SimpleBit's.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/cenkalti/rain/torrent"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "rain:", err)
		os.Exit(1)
	}
}

func run() error {
	downloads := flag.String("dir", "", "`folder` of the content")
	flag.Parse()
	if flag.NArg() != 1 || *downloads == "" {
		return errors.New("usage: rain --dir FOLDER FILE.torrent")
	}
	cfg := torrent.DefaultConfig
	cfg.Database, cfg.DataDir, cfg.DataDirIncludesTorrentID = filepath.Join(filepath.Dir(*downloads), "session.db"), *downloads, false
	cfg.DHTEnabled, cfg.RPCEnabled, cfg.PEXEnabled = false, false, false
	session, err := torrent.NewSession(cfg)
	if err != nil {
		return err
	}
	defer session.Close()
	f, err := os.Open(flag.Arg(0))
	if err != nil {
		return err
	}
	defer f.Close()
	t, err := session.AddTorrent(f, nil)
	if err != nil {
		return err
	}
	end := make(chan os.Signal, 1)
	signal.Notify(end, syscall.SIGTERM, os.Interrupt)
	select {
	case <-t.NotifyComplete():
	case err := <-t.NotifyStop():
		return err
	case <-end:
		return errors.New("ended before the torrent was complete")
	}
	events, err := os.OpenFile("events", os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	fmt.Fprintln(events, "complete", time.Now().UnixNano())
	events.Close()
	<-end
	return nil
}
