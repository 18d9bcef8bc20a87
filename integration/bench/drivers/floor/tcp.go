//go:build linux

package main

import (
	"io"
	"net"
	"os"

	"simplebit/integration/bench/drivers/measured"
)

// serveTCP sends the file to whoever connects first, by sendfile.
func serveTCP(address string, f *os.File) error {
	ln, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	if err := measured.Say("ready"); err != nil {
		return err
	}
	c, err := ln.Accept()
	if err != nil {
		return err
	}
	if _, err := io.Copy(c, f); err != nil {
		return err
	}
	c.Close()
	measured.Stay()
	return nil
}

func fetchTCP(address string, p *measured.Pieces, size int64) error {
	c, err := net.Dial("tcp", address)
	if err != nil {
		return err
	}
	defer c.Close()
	return p.ReadAll(c, size)
}
