//go:build linux

// Command floor moves a file from one host to another with as little as there can be: what is left is what the kernel, SHA-1 and the disk
// cost, which no BitTorrent client can be below. It has one side that serves and one that fetches:
//
//	floor serve tcp|udp|udp-single ADDRESS FILE
//	floor fetch tcp|udp|udp-single ADDRESS FILE SIZE
//
// The fetching side hashes every MiB with SHA-1 and writes it with one pwrite. tcp is one connection. udp is paced by
// acknowledgements and moves up to 64 KiB a system call by UDP_SEGMENT and UDP_GRO; udp-single moves one datagram a system call.
package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"

	"simplebit/integration/bench/drivers/measured"
)

func main() {
	if err := command(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "floor:", err)
		os.Exit(1)
	}
}

func command(args []string) error {
	if len(args) < 4 {
		return errors.New("usage: floor serve|fetch tcp|udp|udp-single ADDRESS FILE [SIZE]")
	}
	way, address, name := args[1], args[2], args[3]
	single := way == "udp-single"
	if args[0] == "serve" {
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		defer f.Close()
		if way == "tcp" {
			return serveTCP(address, f)
		}
		return serveUDP(address, f, single)
	}
	size, err := strconv.ParseInt(args[len(args)-1], 10, 64)
	if err != nil {
		return fmt.Errorf("size: %w", err)
	}
	pieces, err := measured.Create(name)
	if err != nil {
		return err
	}
	if way == "tcp" {
		err = fetchTCP(address, pieces, size)
	} else {
		err = fetchUDP(address, pieces, size, single)
	}
	if err := errors.Join(err, pieces.Close()); err != nil {
		return err
	}
	if err := measured.Say("complete"); err != nil {
		return err
	}
	measured.Stay()
	return nil
}
