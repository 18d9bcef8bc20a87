package udpmux

import "sync/atomic"

// Stats counts datagrams since the socket was opened.
type Stats struct {
	Received [kinds]int64 // by Kind; Drop is what belonged to nobody, or to a kind that nobody handles
	Cut      int64        // dropped because they were longer than the buffer
	Overflow int64        // dropped because a PacketConn's queue was full
	Sent     int64
	SendFull int64 // dropped because the kernel's buffer was full
	GRO      bool  // the kernel joins datagrams that it received
	Segments bool  // the kernel cuts up runs at this moment
}

type counts struct {
	received                   [kinds]atomic.Int64
	cut, overflow, sent, nobuf atomic.Int64
}

// Stats is the counts so far.
func (s *Socket) Stats() Stats {
	st := Stats{
		Cut: s.counts.cut.Load(), Overflow: s.counts.overflow.Load(), Sent: s.counts.sent.Load(),
		SendFull: s.counts.nobuf.Load(), GRO: s.gro.Load(), Segments: s.single.Load() == 0,
	}
	for k := range s.counts.received {
		st.Received[k] = s.counts.received[k].Load()
	}
	return st
}
