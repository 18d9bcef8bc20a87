package udpmux

// Config is how a socket is set up. The zero value works.
type Config struct {
	// Routes says whose a datagram is. Nil is an agent's that knows no surrogate, see [Socket.Routes].
	Routes *Routes

	// Memory is the bytes that the read loop receives into, taken when it starts: with UDP_GRO in buffers of 64 KiB, else in
	// buffers of 2 KiB, at most 16 of them; a longer datagram is dropped. Default 512 KiB, at most 4 MiB. With less than
	// 64 KiB, UDP_GRO is not asked for.
	Memory int

	// ReadBuffer and WriteBuffer are the bytes of the kernel's buffers. It uses them only for what waits to be read or
	// sent, counts its own overhead in, and without CAP_NET_ADMIN gives no more than net.core.rmem_max and wmem_max
	// (212,992 by default). Default 4 MiB and 1 MiB. They bound what a flood of datagrams costs, so a device with little
	// memory should ask for less.
	ReadBuffer, WriteBuffer int

	// Queue is the most bytes that wait for each reader of a PacketConn, in at most 512 datagrams. Default 1 MiB; memory
	// is taken as datagrams wait. Later ones are dropped.
	Queue int
}

const (
	defaultMemory = 512 << 10
	maxMemory     = 4 << 20
	defaultRead   = 4 << 20
	defaultWrite  = 1 << 20
	defaultQueue  = 1 << 20
	maxQueued     = 512 // datagrams
)

func (c Config) withDefaults() Config {
	if c.Routes == nil {
		c.Routes = new(Routes)
	}
	c.Memory = orDefault(min(c.Memory, maxMemory), defaultMemory)
	c.ReadBuffer = orDefault(c.ReadBuffer, defaultRead)
	c.WriteBuffer = orDefault(c.WriteBuffer, defaultWrite)
	c.Queue = orDefault(c.Queue, defaultQueue)
	return c
}

func orDefault(n, otherwise int) int {
	if n <= 0 {
		return otherwise
	}
	return n
}
