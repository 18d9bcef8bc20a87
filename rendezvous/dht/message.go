package dht

import (
	"encoding/binary"
	"fmt"
	"net/netip"
)

// Bounds of what is believed of one datagram.
const (
	maxDatagram    = 4 << 10 // bytes; the longest answers in use are about 2 KB
	maxTransaction = 32      // bytes of a transaction id, which answers repeat
	maxMethod      = 20      // bytes of a query's name
	maxToken       = 64      // bytes
	maxValues      = 100     // peers named by one answer
	maxNodes       = 16      // nodes of each family named by one answer; BEP 5 has 8
)

// Kinds of messages, as in their key y.
const (
	kindQuery    = 'q'
	kindResponse = 'r'
	kindError    = 'e'
)

// Queries that are understood (BEP 5).
const (
	methodPing         = "ping"
	methodFindNode     = "find_node"
	methodGetPeers     = "get_peers"
	methodAnnouncePeer = "announce_peer"
)

// Codes of errors (BEP 5).
const (
	codeProtocol      = 203
	codeUnknownMethod = 204
)

// node is a node of the table, as others name it.
type node struct {
	id   [20]byte
	addr netip.AddrPort
}

// message is a KRPC message (BEP 5, BEP 32): a bencoded dictionary in one UDP datagram.
//
//	query     d 1:a d 2:id 20:… (9:info_hash 20:… | 6:target 20:…) … e 1:q METHOD          1:t ID 1:y 1:q e
//	response  d 2:ip 6:…  1:r d 2:id 20:… 5:nodes … 6:nodes6 … 5:token … 6:values l … e e  1:t ID 1:y 1:r e
//	error     d 1:e l i CODE e TEXT e                                                      1:t ID 1:y 1:e e
type message struct {
	kind byte
	t    string // transaction id

	method      string // of a query; the arguments follow
	infoHash    *[20]byte
	target      *[20]byte
	port        uint16
	impliedPort bool
	want4       bool // BEP 32: nodes of these families are wanted; neither: those of the query's own
	want6       bool
	readOnly    bool // BEP 43: the sender answers no queries

	id    [20]byte // of the sender, in queries and responses
	token string   // in queries and responses

	nodes  []node // of both families
	values []netip.AddrPort
	seen   netip.AddrPort // key ip (BEP 42): the address from which the query came, as the other side saw it

	code int // of an error
	text string
}

// parseMessage reads a datagram. What is superfluous in it is left out; what breaks the protocol is an error.
func parseMessage(b []byte) (message, error) {
	var m message
	if len(b) > maxDatagram {
		return m, fmt.Errorf("has more than %d bytes", maxDatagram)
	}
	s := scanner{b}
	var bodies []byte
	err := s.dict(func(key string) (bool, error) {
		var err error
		switch key {
		case "a":
			bodies, err = append(bodies, kindQuery), m.parseArguments(&s)
		case "r":
			bodies, err = append(bodies, kindResponse), m.parseReturn(&s)
		case "e":
			bodies, err = append(bodies, kindError), m.parseError(&s)
		case "t":
			m.t, err = s.short(maxTransaction)
		case "q":
			m.method, err = s.short(maxMethod)
		case "ro":
			m.readOnly, err = s.flag()
		case "ip":
			m.seen = s.addr()
			return m.seen.IsValid(), nil
		case "y":
			var y string
			if y, err = s.short(1); err == nil {
				m.kind = (y + "?")[0]
			}
		default:
			return false, nil
		}
		return true, err
	})
	switch {
	case err != nil:
		return m, err
	case m.t == "" || len(s.rest) > 0 || len(bodies) != 1 || bodies[0] != m.kind || (m.method != "") != (m.kind == kindQuery):
		return m, errMalformed
	}
	return m, nil
}

func (m *message) parseArguments(s *scanner) error {
	var hasID bool
	err := s.dict(func(key string) (bool, error) {
		var err error
		switch key {
		case "id":
			hasID, err = true, s.id(&m.id)
		case "info_hash":
			m.infoHash = new([20]byte)
			err = s.id(m.infoHash)
		case "target":
			m.target = new([20]byte)
			err = s.id(m.target)
		case "token":
			m.token, err = s.short(maxToken)
		case "implied_port":
			m.impliedPort, err = s.flag()
		case "port":
			var port int64
			if port, err = s.integer(); port < 0 || port > 65535 {
				err = errMalformed
			}
			m.port = uint16(port)
		case "want":
			err = s.list(func(str []byte) {
				m.want4 = m.want4 || string(str) == "n4"
				m.want6 = m.want6 || string(str) == "n6"
			})
		default:
			return false, nil
		}
		return true, err
	})
	if err == nil && !hasID {
		err = errMalformed
	}
	return err
}

func (m *message) parseReturn(s *scanner) error {
	var hasID bool
	err := s.dict(func(key string) (bool, error) {
		var err error
		switch key {
		case "id":
			hasID, err = true, s.id(&m.id)
		case "nodes":
			err = m.parseNodes(s, 4)
		case "nodes6":
			err = m.parseNodes(s, 16)
		case "token":
			m.token, err = s.short(maxToken)
		case "values":
			err = s.list(func(str []byte) {
				if a := compactAddr(str); a.IsValid() && len(m.values) < maxValues {
					m.values = append(m.values, a)
				}
			})
		default:
			return false, nil
		}
		return true, err
	})
	if err == nil && !hasID {
		err = errMalformed
	}
	return err
}

// parseNodes reads compact node infos: an id, an address of ipLen bytes and a port each (BEP 5, BEP 32).
func (m *message) parseNodes(s *scanner, ipLen int) error {
	b, err := s.str()
	size := 20 + ipLen + 2
	if err != nil || len(b)%size != 0 {
		return errMalformed
	}
	for i := 0; i < min(len(b)/size, maxNodes) && len(m.nodes) < 2*maxNodes; i++ {
		info := b[i*size:][:size]
		if a := compactAddr(info[20:]); a.IsValid() {
			m.nodes = append(m.nodes, node{[20]byte(info), a})
		}
	}
	return nil
}

func (m *message) parseError(s *scanner) error {
	if !s.next('l') {
		return s.skip() // some send only a text, or nothing
	}
	code, err := s.integer()
	if err != nil {
		return err
	}
	text, err := s.str()
	for err == nil && !s.next('e') {
		err = s.skip()
	}
	m.code, m.text = int(int32(code)), string(text[:min(len(text), 100)])
	return err
}

// short reads a string of at most most bytes.
func (s *scanner) short(most int) (string, error) {
	b, err := s.str()
	if len(b) > most {
		err = errMalformed
	}
	return string(b), err
}

func (s *scanner) id(id *[20]byte) error {
	b, err := s.str()
	if err != nil || len(b) != 20 {
		return errMalformed
	}
	*id = [20]byte(b)
	return nil
}

func (s *scanner) flag() (bool, error) {
	n, err := s.integer()
	return n != 0, err
}

// addr reads a compact address, or nothing if there is none.
func (s *scanner) addr() netip.AddrPort {
	try := *s
	b, err := try.str()
	a := compactAddr(b)
	if err == nil && a.IsValid() {
		*s = try
	}
	return a
}

// compactAddr reads an address in compact form: 4 or 16 bytes and a port. The zero value if it is none. An IPv4 address
// mapped into IPv6 is no address of either family.
func compactAddr(b []byte) netip.AddrPort {
	if len(b) != 6 && len(b) != 18 {
		return netip.AddrPort{}
	}
	ip, _ := netip.AddrFromSlice(b[:len(b)-2])
	if ip.Is4In6() {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(ip, binary.BigEndian.Uint16(b[len(b)-2:]))
}

// appendCompact appends an address in compact form.
func appendCompact(b []byte, a netip.AddrPort) []byte {
	return binary.BigEndian.AppendUint16(append(b, a.Addr().AsSlice()...), a.Port())
}

// appendMarshal appends the datagram. Keys are sorted, as BEP 3 demands.
func (m message) appendMarshal(b []byte) []byte {
	b = append(b, 'd')
	switch m.kind {
	case kindQuery:
		b = m.appendArguments(append(b, "1:a"...))
	case kindError:
		b = append(appendStr(appendInt(append(b, "1:el"...), int64(m.code)), m.text), 'e')
	}
	if m.seen.IsValid() {
		b = appendStr(append(b, "2:ip"...), appendCompact(nil, m.seen))
	}
	if m.kind == kindQuery {
		b = appendStr(append(b, "1:q"...), m.method)
	}
	if m.kind == kindResponse {
		b = m.appendReturn(append(b, "1:r"...))
	}
	if m.readOnly {
		b = append(b, "2:roi1e"...)
	}
	b = appendStr(append(b, "1:t"...), m.t)
	return append(b, '1', ':', 'y', '1', ':', m.kind, 'e')
}

func (m message) appendArguments(b []byte) []byte {
	b = appendStr(append(b, "d2:id"...), m.id[:])
	if m.impliedPort {
		b = append(b, "12:implied_porti1e"...)
	}
	if m.infoHash != nil {
		b = appendStr(append(b, "9:info_hash"...), m.infoHash[:])
	}
	if m.port != 0 {
		b = appendInt(append(b, "4:port"...), int64(m.port))
	}
	if m.target != nil {
		b = appendStr(append(b, "6:target"...), m.target[:])
	}
	if m.token != "" {
		b = appendStr(append(b, "5:token"...), m.token)
	}
	if m.want4 || m.want6 {
		b = append(b, "4:wantl"...)
		if m.want4 {
			b = append(b, "2:n4"...)
		}
		if m.want6 {
			b = append(b, "2:n6"...)
		}
		b = append(b, 'e')
	}
	return append(b, 'e')
}

func (m message) appendReturn(b []byte) []byte {
	b = appendStr(append(b, "d2:id"...), m.id[:])
	var nodes, nodes6 []byte
	for _, n := range m.nodes {
		if n.addr.Addr().Is4() {
			nodes = appendCompact(append(nodes, n.id[:]...), n.addr)
		} else {
			nodes6 = appendCompact(append(nodes6, n.id[:]...), n.addr)
		}
	}
	if nodes != nil {
		b = appendStr(append(b, "5:nodes"...), nodes)
	}
	if nodes6 != nil {
		b = appendStr(append(b, "6:nodes6"...), nodes6)
	}
	if m.token != "" {
		b = appendStr(append(b, "5:token"...), m.token)
	}
	if m.values != nil {
		b = append(b, "6:valuesl"...)
		for _, v := range m.values {
			b = appendStr(b, appendCompact(nil, v))
		}
		b = append(b, 'e')
	}
	return append(b, 'e')
}
