//go:build linux

// Command utpflow moves bytes over one connection of wire/utp, without BitTorrent:
//
//	utpflow serve ADDRESS FILE          sends the file to whoever connects
//	utpflow fetch ADDRESS FILE SIZE     gets it, hashing and writing as floor does
//	utpflow source [--rate BYTES/S] ADDRESS
//	                                    sends numbers to everybody who connects, until he hangs up
//	utpflow drain [--idle TIME] --for TIME ADDRESS
//	                                    gets numbers for a while, checks them, and hangs up
//
// Every second it adds a line to the file `stats` in its working folder: goroutines, connections, and how many bytes drain has
// read.
package main

import (
	"context"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"runtime"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"simplebit/integration/bench/drivers/measured"
	"simplebit/nat/udpmux"
	"simplebit/wire/utp"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	if err := command(ctx, os.Args[1:]); err != nil && ctx.Err() == nil {
		fmt.Fprintln(os.Stderr, "utpflow:", err)
		os.Exit(1)
	}
}

func command(ctx context.Context, args []string) error {
	if len(args) < 2 {
		return errors.New("usage: utpflow serve|fetch|source|drain ADDRESS …")
	}
	flags := flag.NewFlagSet(args[0], flag.ContinueOnError)
	rate := flags.Int64("rate", 0, "bytes per second; 0: as fast as it goes")
	idle := flags.Duration("idle", 0, "before it connects")
	length := flags.Duration("for", 0, "how long numbers are read")
	if err := flags.Parse(args[1:]); err != nil {
		return err
	}
	rest := flags.Args()
	switch {
	case args[0] == "serve" && len(rest) == 2:
		return withEndpoint(ctx, rest[0], func(ctx context.Context, e *utp.Endpoint) error { return serve(e, rest[1]) })
	case args[0] == "source" && len(rest) == 1:
		return withEndpoint(ctx, rest[0], func(ctx context.Context, e *utp.Endpoint) error { return source(ctx, e, *rate) })
	case args[0] == "fetch" && len(rest) == 3:
		size, err := strconv.ParseInt(rest[2], 10, 64)
		if err != nil {
			return fmt.Errorf("size: %w", err)
		}
		return withEndpoint(ctx, ":0", func(ctx context.Context, e *utp.Endpoint) error { return fetch(ctx, e, rest[0], rest[1], size) })
	case args[0] == "drain" && len(rest) == 1:
		return withEndpoint(ctx, ":0", func(ctx context.Context, e *utp.Endpoint) error {
			time.Sleep(*idle)
			return drain(ctx, e, rest[0], *length)
		})
	}
	return fmt.Errorf("utpflow %s: wrong arguments", args[0])
}

// withEndpoint runs f with an endpoint until f fails or ctx ends.
func withEndpoint(ctx context.Context, address string, f func(context.Context, *utp.Endpoint) error) error {
	mux, err := udpmux.Listen("udp4", address, udpmux.Config{})
	if err != nil {
		return err
	}
	endpoint := utp.New(utp.Config{})
	endpoint.Attach(mux)
	all, ctx := errgroup.WithContext(ctx)
	all.Go(func() error { return mux.Run(ctx) })
	all.Go(func() error { return endpoint.Run(ctx) })
	all.Go(func() error { return note(ctx, endpoint) })
	all.Go(func() error {
		if err := f(ctx, endpoint); err != nil {
			return err
		}
		<-ctx.Done()
		return nil
	})
	return all.Wait()
}

// note writes the statistics.
func note(ctx context.Context, e *utp.Endpoint) error {
	f, err := os.Create("stats")
	if err != nil {
		return err
	}
	defer f.Close()
	for ticker := time.NewTicker(time.Second); ; {
		s := e.Stats()
		if _, err := fmt.Fprintln(f, runtime.NumGoroutine(), s.Conns, drained.Load()); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

func serve(e *utp.Endpoint, name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := measured.Say("ready"); err != nil {
		return err
	}
	c, err := e.Accept()
	if err != nil {
		return err
	}
	// What a seeder writes at once is a few blocks.
	if _, err := io.CopyBuffer(struct{ io.Writer }{c}, struct{ io.Reader }{f}, make([]byte, 64<<10)); err != nil {
		return err
	}
	return c.Close()
}

func fetch(ctx context.Context, e *utp.Endpoint, address, name string, size int64) error {
	pieces, err := measured.Create(name)
	if err != nil {
		return err
	}
	c, err := e.DialContext(ctx, "utp", address)
	if err != nil {
		return err
	}
	if err := errors.Join(pieces.ReadAll(c, size), pieces.Close(), c.Close()); err != nil {
		return err
	}
	return measured.Say("complete")
}

// source serves one connection after the other.
func source(ctx context.Context, e *utp.Endpoint, rate int64) error {
	if err := measured.Say("ready"); err != nil {
		return err
	}
	for {
		c, err := e.Accept()
		if err != nil {
			return err
		}
		pour(ctx, c, rate)
		c.Close()
	}
}

const block = 64 << 10

// pour writes the numbers from 0 on until the other side hangs up.
func pour(ctx context.Context, c net.Conn, rate int64) {
	b := make([]byte, block)
	for began, sent := time.Now(), int64(0); ctx.Err() == nil; sent += block {
		for i := 0; i < block; i += 8 {
			binary.LittleEndian.PutUint64(b[i:], uint64(sent)+uint64(i))
		}
		if rate > 0 {
			time.Sleep(time.Until(began.Add(time.Duration(float64(sent) / float64(rate) * float64(time.Second)))))
		}
		if _, err := c.Write(b); err != nil {
			return
		}
	}
}

// drained is how many bytes drain has read and found right.
var drained atomic.Int64

// drain reads numbers for a while.
func drain(ctx context.Context, e *utp.Endpoint, address string, length time.Duration) error {
	c, err := e.DialContext(ctx, "utp", address)
	if err != nil {
		return err
	}
	if err := measured.Say("ready"); err != nil {
		return err
	}
	b := make([]byte, block)
	at := uint64(0)
	for end := time.Now().Add(length); time.Now().Before(end); at += block {
		if _, err := io.ReadFull(c, b); err != nil {
			return fmt.Errorf("after %d bytes: %w", at, err)
		}
		for i := 0; i < block; i += 8 {
			if got := binary.LittleEndian.Uint64(b[i:]); got != at+uint64(i) {
				return fmt.Errorf("at byte %d there is %d", at+uint64(i), got)
			}
		}
		drained.Add(block)
	}
	if err := c.Close(); err != nil {
		return err
	}
	return measured.Say("complete")
}
