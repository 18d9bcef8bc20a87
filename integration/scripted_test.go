//go:build linux

package integration

import (
	"bytes"
	"context"
	"crypto/sha1"
	"encoding/binary"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/anacrolix/torrent/bencode"

	"simplebit/integration/natlab"
	"simplebit/integration/programs"

	"simplebit/wire/peer"
)

// part is a file of a crafted torrent.
type part struct {
	path    []string
	content []byte
	attr    string // BEP 47: "p" is padding
}

// crafted is a torrent as no program would make it.
type crafted struct {
	info        []byte // the info dictionary
	content     []byte
	pieceLength int
}

// craft makes a torrent whose pieces are right and whose names may be anything.
func craft(name string, pieceLength int, parts ...part) crafted {
	c := crafted{pieceLength: pieceLength}
	var files []any
	for _, p := range parts {
		f := map[string]any{"length": len(p.content), "path": p.path}
		if p.attr != "" {
			f["attr"] = p.attr
		}
		files = append(files, f)
		c.content = append(c.content, p.content...)
	}
	c.info = bencode.MustMarshal(map[string]any{"files": files, "name": name, "piece length": pieceLength, "pieces": hashes(c.content, pieceLength)})
	return c
}

func hashes(content []byte, pieceLength int) (all []byte) {
	for at := 0; at < len(content); at += pieceLength {
		sum := sha1.Sum(content[at:min(len(content), at+pieceLength)])
		all = append(all, sum[:]...)
	}
	return all
}

// torrentFile wraps an info dictionary.
func torrentFile(info []byte, announce string) []byte {
	return bencode.MustMarshal(map[string]any{"announce": announce, "info": bencode.Bytes(info)})
}

// save writes the crafted torrent to a file that simplebit and real clients can be given.
func (s *scene) save(c crafted, announce string) programs.Torrent {
	s.Helper()
	t := programs.Torrent{File: filepath.Join(s.dir, "crafted.torrent"), InfoHash: sha1.Sum(c.info), Length: int64(len(c.content))}
	s.ok(os.WriteFile(t.File, torrentFile(c.info, announce), 0o644))
	return t
}

// noise is n random bytes, the same for the same seed.
func noise(seed byte, n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{seed}).Read(b)
	return b
}

// puppet is a scripted peer.
type puppet struct {
	crafted
	host   *natlab.Host
	play   func(*puppet, net.Conn)
	addr   netip.AddrPort
	met    atomic.Int64 // connections
	blocks atomic.Int64 // requests for blocks
}

// puppet starts a peer on a host of its own that answers each connection with play.
func (s *scene) puppet(host string, c crafted, play func(*puppet, net.Conn)) *puppet {
	s.Helper()
	h := s.host(host)
	p := &puppet{crafted: c, host: h, play: play, addr: netip.AddrPortFrom(h.Addr(), 51413)}
	ln, err := h.Listen("tcp", p.addr.String())
	s.ok(err)
	s.Cleanup(func() { ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			p.met.Add(1)
			go func() {
				defer c.Close()
				play(p, c)
			}()
		}
	}()
	return p
}

// visit has the puppet dial somebody.
func (p *puppet) visit(ctx context.Context, at netip.AddrPort) error {
	c, err := p.host.DialContext(ctx, "tcp", at.String())
	if err != nil {
		return err
	}
	go func() {
		defer c.Close()
		p.play(p, c)
	}()
	return nil
}

// greet shakes hands, as either side, says that it has everything and that it gives the info dictionary, and unchokes.
func (p *puppet) greet(c net.Conn) bool {
	ours := peer.Handshake{Reserved: peer.Reserved(true, true), InfoHash: sha1.Sum(p.info)}
	copy(ours.PeerID[:], "-XX0001-"+p.addr.String())
	var theirs [peer.HandshakeSize]byte
	if _, err := c.Write(ours.AppendMarshal(nil)); err != nil {
		return false
	}
	if _, err := io.ReadFull(c, theirs[:]); err != nil {
		return false
	}
	ext := peer.Extensions{MetadataID: 1, MetadataSize: int64(len(p.info)), Version: "puppet"}
	b := peer.Message{Type: peer.TypeHaveAll}.Append(nil)
	b = peer.Message{Type: peer.TypeExtended, Payload: ext.AppendMarshal(nil)}.Append(b)
	_, err := c.Write(peer.Message{Type: peer.TypeUnchoke}.Append(b))
	return err == nil
}

// serve gives what is asked for, changed by edit.
func (p *puppet) serve(c net.Conn, edit func([]byte)) {
	if !p.greet(c) {
		return
	}
	var theirs peer.Extensions
	r := peer.NewReader(c)
	for {
		m, err := r.Next()
		if err != nil {
			return
		}
		var answer peer.Message
		switch {
		case m.Type == peer.TypeRequest && !m.KeepAlive:
			at := int(m.Index)*p.pieceLength + int(m.Begin)
			answer = peer.Message{Type: peer.TypePiece, Index: m.Index, Begin: m.Begin, Payload: bytes.Clone(p.content[at : at+int(m.Length)])}
			edit(answer.Payload)
			p.blocks.Add(1)
		case m.Type == peer.TypeExtended && m.ExtID == peer.ExtHandshake:
			theirs, _ = theirs.Update(m.Payload)
			continue
		case m.Type == peer.TypeExtended && m.ExtID == 1:
			ask, err := peer.ParseMetadataMessage(m.Payload)
			if err != nil {
				return
			}
			at := int(ask.Piece) * peer.MetadataPieceSize
			data := bytes.Clone(p.info[at:min(len(p.info), at+peer.MetadataPieceSize)])
			edit(data)
			give := peer.MetadataMessage{Type: peer.MetadataData, Piece: ask.Piece, TotalSize: int64(len(p.info)), Data: data}
			answer = peer.Message{Type: peer.TypeExtended, ExtID: theirs.MetadataID, Payload: give.AppendMarshal(nil)}
		default:
			continue
		}
		if _, err := c.Write(answer.Append(nil)); err != nil {
			return
		}
	}
}

// honest gives what is asked for.
func honest(p *puppet, c net.Conn) { p.serve(c, func([]byte) {}) }

// lying sends a wrong byte in all that is asked for.
func lying(p *puppet, c net.Conn) { p.serve(c, func(b []byte) { b[len(b)/2] ^= 1 }) }

// flooding sends blocks that nobody asked for, as fast as they are taken.
func flooding(p *puppet, c net.Conn) {
	if !p.greet(c) {
		return
	}
	// Blocks that overtake the greeting are a breach of another kind. Who only wants the metadata will not be interested.
	c.SetReadDeadline(time.Now().Add(5 * time.Second))
	r := peer.NewReader(c)
	for m, err := r.Next(); err == nil && (m.KeepAlive || m.Type != peer.TypeInterested); m, err = r.Next() {
	}
	b := peer.Message{Type: peer.TypePiece, Payload: noise(1, peer.BlockSize)}.Append(nil)
	for err := error(nil); err == nil; {
		_, err = c.Write(b)
	}
}

// garbling shakes hands and then speaks no protocol.
func garbling(p *puppet, c net.Conn) {
	if !p.greet(c) {
		return
	}
	b := noise(2, 64<<10)
	binary.BigEndian.PutUint32(b, 1<<31)
	c.Write(b)
	io.Copy(io.Discard, c)
}

// stuttering answers the handshake with something else, a byte at a time, and more than could be an encrypted one.
func stuttering(_ *puppet, c net.Conn) {
	for _, b := range []byte("HTTP/1.1 400 Bad Request\r\n\r\n") {
		if _, err := c.Write([]byte{b}); err != nil {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	c.Write(noise(3, 1<<10))
	io.Copy(io.Discard, c)
}

// web serves HTTP on port 80 of a host.
func (s *scene) web(host string, h http.Handler) (base string) {
	s.Helper()
	at := s.host(host)
	ln, err := at.Listen("tcp", ":80")
	s.ok(err)
	s.Cleanup(func() { ln.Close() })
	go http.Serve(ln, h)
	return "http://" + at.Addr().String()
}

// reply is a tracker's answer that names these peers.
func reply(peers ...netip.AddrPort) []byte {
	var compact []byte
	for _, p := range peers {
		compact = binary.BigEndian.AppendUint16(append(compact, p.Addr().AsSlice()...), p.Port())
	}
	return bencode.MustMarshal(map[string]any{"interval": 1800, "peers": compact})
}
