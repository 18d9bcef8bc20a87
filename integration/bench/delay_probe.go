//go:build linux

package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"simplebit/integration/natlab"
)

const (
	probeEvery = 20 * time.Millisecond
	probePort  = 7001
	tcpPort    = 7002
)

// probe sends small datagrams from one host to another, and notes how long each was on its way.
type probe struct {
	in, out *net.UDPConn
	began   time.Time
	ended   sync.WaitGroup
	stop    context.CancelFunc

	mu    sync.Mutex
	took  []time.Duration // since the last look
	least time.Duration   // ever
	sent  int             // since the last look
}

func startProbe(from, to *natlab.Host) (*probe, error) {
	pc, err := to.ListenPacket("udp4", fmt.Sprint(":", probePort))
	if err != nil {
		return nil, err
	}
	out, err := from.DialContext(context.Background(), "udp4", netip.AddrPortFrom(to.Addr(), probePort).String())
	if err != nil {
		return nil, errors.Join(err, pc.Close())
	}
	ctx, stop := context.WithCancel(context.Background())
	p := &probe{in: pc.(*net.UDPConn), out: out.(*net.UDPConn), began: time.Now(), stop: stop, least: time.Hour}
	p.ended.Go(func() { p.send(ctx) })
	p.ended.Go(p.receive)
	return p, nil
}

func (p *probe) send(ctx context.Context) {
	ticker := time.NewTicker(probeEvery)
	defer ticker.Stop()
	var b [16]byte
	for ctx.Err() == nil {
		<-ticker.C
		p.mu.Lock()
		p.sent++
		p.mu.Unlock()
		binary.BigEndian.PutUint64(b[:], uint64(time.Since(p.began)))
		p.out.Write(b[:]) // what is lost is missed by who counts
	}
}

func (p *probe) receive() {
	var b [64]byte
	for {
		n, err := p.in.Read(b[:])
		if err != nil {
			return
		}
		if n != 16 {
			continue
		}
		took := time.Since(p.began) - time.Duration(binary.BigEndian.Uint64(b[:]))
		p.mu.Lock()
		p.took = append(p.took, took)
		p.least = min(p.least, took)
		p.mu.Unlock()
	}
}

// take returns what the queue added to each probe since the last call, and how many were sent.
func (p *probe) take() (waits []time.Duration, sent int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, took := range p.took {
		waits = append(waits, took-p.least)
	}
	sent, p.sent, p.took = p.sent, 0, nil
	return waits, sent
}

func (p *probe) close() {
	p.stop()
	p.in.Close()
	p.ended.Wait()
	p.out.Close()
}

// tcpControl is the congestion control of the connection beside uTP: what most of the Internet's servers use, and fills queues.
const tcpControl = "cubic"

// tcpFlow is one connection of the kernel's that sends all the time.
type tcpFlow struct {
	conns [2]net.Conn
	ended sync.WaitGroup
}

func startTCP(from, to *natlab.Host) (*tcpFlow, error) {
	ln, err := to.Listen("tcp4", fmt.Sprint(":", tcpPort))
	if err != nil {
		return nil, err
	}
	defer ln.Close()
	out, err := from.DialContext(context.Background(), "tcp4", netip.AddrPortFrom(to.Addr(), tcpPort).String())
	if err != nil {
		return nil, err
	}
	in, err := ln.Accept()
	if err != nil {
		return nil, errors.Join(err, out.Close())
	}
	sender := out.(*net.TCPConn)
	sender.SetLinger(0) // else what is still in its buffer when it ends would go on
	raw, err := sender.SyscallConn()
	if err == nil {
		errControl := raw.Control(func(fd uintptr) {
			err = unix.SetsockoptString(int(fd), unix.IPPROTO_TCP, unix.TCP_CONGESTION, tcpControl)
		})
		err = errors.Join(err, errControl)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("congestion control %s: %w", tcpControl, err), out.Close(), in.Close())
	}
	f := &tcpFlow{conns: [2]net.Conn{out, in}}
	f.ended.Go(func() {
		b := make([]byte, 64<<10)
		for {
			if _, err := out.Write(b); err != nil {
				return
			}
		}
	})
	f.ended.Go(func() { io.Copy(io.Discard, in) })
	return f, nil
}

// stop ends the flow at once.
func (f *tcpFlow) stop() {
	for _, c := range f.conns {
		c.Close()
	}
	f.ended.Wait()
}

// watch sees what passes the bottleneck.
type watch struct {
	*stage
	probe *probe
	trace io.Writer
	flow  string
	began time.Time
}

// part is what was seen for a while.
type part struct {
	waits     []time.Duration // of the probes that arrived, in order of size
	sent      int             // probes
	flow, tcp float64         // bytes/s on the link
}

// settled lets the flow find its pace, and then looks.
func (w *watch) settled(ctx context.Context) (before, settled part, err error) {
	if before, err = w.part(ctx, delaySettle); err == nil {
		settled, err = w.part(ctx, delayLook)
	}
	return before, settled, err
}

// part looks for so long, and writes down every second.
func (w *watch) part(ctx context.Context, length time.Duration) (p part, err error) {
	if w.began.IsZero() {
		w.began = time.Now()
	}
	w.probe.take()
	first, err := w.passed(ctx)
	if err != nil {
		return p, err
	}
	last := first
	for last.at.Sub(first.at) < length {
		if err := pause(ctx, min(time.Second, length-time.Since(first.at))); err != nil {
			return p, err
		}
		now, err := w.passed(ctx)
		if err != nil {
			return p, err
		}
		waits, sent := w.probe.take()
		p.waits, p.sent = append(p.waits, waits...), p.sent+sent
		middle := 0.0
		if len(waits) > 0 {
			middle = median(waits).Seconds()
		}
		flow, tcp := now.since(last)
		fmt.Fprintf(w.trace, "%s,%.0f,%.1f,%.0f,%.0f\n", w.flow, time.Since(w.began).Seconds(), 1000*middle, flow, tcp)
		last = now
	}
	slices.Sort(p.waits)
	p.flow, p.tcp = last.since(first)
	if len(p.waits) == 0 {
		return p, errors.New("no probe arrived")
	}
	return p, nil
}

// wait returns what the given share of the probes waited at most.
func (p part) wait(share float64) time.Duration {
	return p.waits[min(len(p.waits)-1, int(share*float64(len(p.waits))))]
}

// share is the flow's of all that passed.
func (p part) share() float64 { return p.flow / (p.flow + p.tcp) }
