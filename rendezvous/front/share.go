package front

import (
	"slices"
	"time"
)

// assign puts c into the assembly it is to contribute to: one of its own where it is suspected, else that of all who claim
// the same size. It reports false where there is no room for another assembly yet.
func (f *fetch) assign(c *conn) bool {
	size, solo := c.ext.MetadataSize, (*entry)(nil)
	if c.entry.suspect {
		solo = c.entry
	}
	if c.in != nil && c.in.solo == solo {
		return true
	}
	for _, a := range f.parts {
		if a.size == size && a.solo == solo {
			c.in = a
			return true
		}
	}
	if !f.makeRoom(size) {
		c.leave()
		return false
	}
	c.in = newAssembly(size, solo)
	f.parts = append(f.parts, c.in)
	return true
}

// leave takes c out of its assembly, and forgets what it was asked for: outside of it the numbers mean nothing.
func (c *conn) leave() {
	c.in = nil
	clear(c.asked)
	clear(c.refused)
}

// makeRoom sees to it that an assembly of this size fits into maxAssembled. Those that nobody works on go first, then
// larger ones: the smaller is done sooner, and whoever claims a large size for nothing cannot keep others out.
func (f *fetch) makeRoom(size int64) bool {
	for {
		total := size
		for _, a := range f.parts {
			total += a.size
		}
		if total <= maxAssembled {
			return true
		}
		var victim *assembly
		unused := func(a *assembly) bool {
			return !slices.ContainsFunc(f.conns, func(c *conn) bool { return c.in == a })
		}
		for _, a := range f.parts {
			switch {
			case unused(a):
				victim = a
			case a.size > size && (victim == nil || !unused(victim) && a.size > victim.size):
				victim = a
			}
		}
		if victim == nil {
			return false
		}
		f.note("making room: dropped %d of %d pieces of metadata of %d bytes", victim.have, len(victim.pieces), victim.size)
		for _, c := range f.conns {
			if c.in == victim {
				c.leave()
			}
		}
		f.abandon(victim)
	}
}

// abandon forgets an assembly. What its contributors were asked for still counts in another one of the same size.
func (f *fetch) abandon(a *assembly) {
	for _, c := range f.conns {
		if c.in == a {
			c.in = nil
		}
	}
	f.parts = slices.DeleteFunc(f.parts, func(o *assembly) bool { return o == a })
}

// share returns how many pieces c may take on of those missing, so that the first to answer leaves some to the others.
func (f *fetch) share(now time.Time, c *conn) int {
	among := 1
	for _, o := range f.conns {
		if o != c && o.in == c.in && now.Sub(o.useful) < idle {
			among++
		}
	}
	return (len(c.in.pieces) - c.in.have + among - 1) / among
}

// adopt copies from a failed assembly of the same size the pieces that a's only contributor gave.
func (a *assembly) adopt(failed *assembly) {
	for i, p := range failed.pieces {
		if p.from == a.solo {
			a.put(uint32(i), p.data, p.from)
		}
	}
}
