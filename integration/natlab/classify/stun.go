//go:build linux

package classify

import (
	"errors"
	"net"
	"net/netip"
	"sync"
	"time"

	"simplebit/nat/stun"
)

// surrogate is a STUN server of ours with two addresses and two ports.
type surrogate struct {
	at    []netip.AddrPort
	conns []*net.UDPConn
	reads sync.WaitGroup
}

// excess is what lets others' programs, which ask in 20 bytes, be answered in full.
const excess = 64 << 10

// serve starts the server.
func (s *scene) serve() (*surrogate, error) {
	u := new(surrogate)
	var endpoints []stun.Endpoint
	for i := range servers {
		at := netip.AddrPortFrom(s.address(s.servers[i/2]), uint16(3478+i%2))
		pc, err := s.servers[i/2].ListenPacket("udp", at.String())
		if err != nil {
			return nil, errors.Join(err, u.close())
		}
		c := pc.(*net.UDPConn)
		u.at, u.conns = append(u.at, at), append(u.conns, c)
		endpoints = append(endpoints, stun.Endpoint{Addr: at, Socket: stun.Conn{UDPConn: c}})
	}
	server, err := stun.NewServer(stun.Config{Endpoints: endpoints, Excess: excess})
	if err != nil {
		return nil, errors.Join(err, u.close())
	}
	for i, c := range u.conns {
		u.reads.Go(func() {
			// It ends with the socket.
			_ = stun.Read(c, func(now time.Time, from netip.AddrPort, b []byte) { server.Receive(now, i, from, b) })
		})
	}
	return u, nil
}

func (u *surrogate) close() (err error) {
	for _, c := range u.conns {
		err = errors.Join(err, c.Close())
	}
	u.reads.Wait()
	return err
}
