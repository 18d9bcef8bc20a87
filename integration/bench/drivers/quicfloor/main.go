//go:build linux

// Command quicfloor moves a file over one QUIC stream of quic-go, to be compared with floor:
//
//	quicfloor serve ADDRESS FILE
//	quicfloor fetch ADDRESS FILE SIZE
//
// The fetching side hashes every MiB with SHA-1 and writes it with one pwrite.
package main

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	"os"
	"strconv"
	"time"

	"github.com/quic-go/quic-go"

	"simplebit/integration/bench/drivers/measured"
)

const protocol = "floor"

func main() {
	if err := command(context.Background(), os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "quicfloor:", err)
		os.Exit(1)
	}
}

func command(ctx context.Context, args []string) error {
	switch {
	case len(args) == 3 && args[0] == "serve":
		return serve(ctx, args[1], args[2])
	case len(args) == 4 && args[0] == "fetch":
		size, err := strconv.ParseInt(args[3], 10, 64)
		if err != nil {
			return fmt.Errorf("size: %w", err)
		}
		return fetch(ctx, args[1], args[2], size)
	}
	return errors.New("usage: quicfloor serve ADDRESS FILE | fetch ADDRESS FILE SIZE")
}

func serve(ctx context.Context, address, name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	cert, err := selfSigned()
	if err != nil {
		return err
	}
	ln, err := quic.ListenAddr(address, &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{protocol}}, nil)
	if err != nil {
		return err
	}
	if err := measured.Say("ready"); err != nil {
		return err
	}
	c, err := ln.Accept(ctx)
	if err != nil {
		return err
	}
	s, err := c.OpenUniStreamSync(ctx)
	if err != nil {
		return err
	}
	if _, err := io.CopyBuffer(s, io.LimitReader(f, 1<<62), make([]byte, 64<<10)); err != nil {
		return err
	}
	if err := s.Close(); err != nil {
		return err
	}
	measured.Stay()
	return nil
}

func fetch(ctx context.Context, address, name string, size int64) error {
	pieces, err := measured.Create(name)
	if err != nil {
		return err
	}
	c, err := quic.DialAddr(ctx, address, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{protocol}}, nil)
	if err != nil {
		return err
	}
	s, err := c.AcceptUniStream(ctx)
	if err != nil {
		return err
	}
	if err := errors.Join(pieces.ReadAll(s, size), pieces.Close()); err != nil {
		return err
	}
	if err := measured.Say("complete"); err != nil {
		return err
	}
	measured.Stay()
	return nil
}

func selfSigned() (tls.Certificate, error) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(24 * time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, private)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: private}, err
}
