package swarm

// defaultMaxPeers is how many connections a device has unless configured.
const defaultMaxPeers = 40

// SharedConfig says what the torrents of a device may use together. The zero value works.
type SharedConfig struct {
	// MaxPeers bounds the connections of all torrents, either way, those being dialled included. Default 40.
	MaxPeers int
	// Down and Up bound the payload in bytes/s. 0: no limit.
	Down, Up int64
}

// Shared is what all torrents of a device have in common: places for connections, and rates. Its methods may be called
// from any goroutine.
type Shared struct {
	c SharedConfig
}

// NewShared returns what torrents that are given it share.
func NewShared(c SharedConfig) *Shared {
	if c.MaxPeers <= 0 {
		c.MaxPeers = defaultMaxPeers
	}
	return &Shared{c: c}
}

// SetRates changes the limits of the payload, in bytes/s, at once. 0: no limit.
func (s *Shared) SetRates(down, up int64) {}
