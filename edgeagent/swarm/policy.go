package swarm

import "simplebit/edgeagent/picker"

// Policy is what a person wants of a torrent. The zero value wants all of it, without limits.
type Policy struct {
	// Priorities of the pieces; nil: all normal. Pieces behind the end of a short slice are normal. It must not be changed
	// after it was handed over.
	Priorities []picker.Priority
	// Sequential asks for the pieces in the order of the content.
	Sequential bool
	// Down and Up bound the torrent's payload in bytes/s, besides what the device allows. 0: no limit.
	Down, Up int64
	// MaxPeers bounds the torrent's connections, besides what the device allows. 0: only the device bounds them.
	MaxPeers int
}

// SetPolicy changes what is wanted of the torrent, at any time. It does not wait.
func (t *Torrent) SetPolicy(p Policy) {
	t.policy.Store(&p)
	select {
	case t.poke <- struct{}{}:
	default:
	}
}
