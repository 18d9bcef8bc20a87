package utp

import "sync/atomic"

const (
	floor       = 16 << 10 // bytes that a connection in use may have in any case
	mostAwaited = 16 << 10 // bytes of one that nobody has used yet, where there are as many: initialWindow fits
)

// tenancy is what the budget owes a connection.
type tenancy uint8

const (
	inUse   tenancy = iota
	awaited         // it came in, and nobody has read from it or written to it: it may be one of many that nobody wants
	left            // its user closed it: what was written goes out, and of what comes in nothing is kept
)

// budget is the memory that the buffers of all connections share.
//
// A connection may grow while it holds no more than what is left to the others. One alone gets half of everything, N busy
// ones a share of 1/(N+1) each, and there is always something left for whoever comes next. Never refused are the floor, while the
// connection is in use, and above it what a ring begins with: who holds much of what came can still send. So under pressure
// connections get slow but none of them stops. What all hold is therefore at most the total and, for each connection, an
// overdraft: once it was in use the floor and two times two rings of minRing, 32 KiB; before, two of minRing, 8 KiB.
type budget struct {
	total int64
	used  atomic.Int64
}

// allotment is the part of a budget that one connection holds. The connection's mutex guards it.
type allotment struct {
	budget  *budget
	held    int64
	tenancy tenancy
}

// grow asks for n bytes more, or gives -n back.
func (a *allotment) grow(n int) bool {
	more := int64(n)
	if more <= 0 || more == minRing || a.tenancy == inUse && a.held+more <= floor {
		a.held += more
		a.budget.used.Add(more)
		return true
	}
	if a.tenancy == awaited && a.held+more > mostAwaited {
		return false
	}
	for {
		used := a.budget.used.Load()
		if a.held+more > a.budget.total-used-more {
			return false
		}
		if a.budget.used.CompareAndSwap(used, used+more) {
			a.held += more
			return true
		}
	}
}

// spare is the most that grow would grant now, the floor aside.
func (a *allotment) spare() int {
	n := max(0, a.budget.total-a.budget.used.Load()-a.held) / 2
	if a.tenancy == awaited {
		n = max(0, min(n, mostAwaited-a.held))
	}
	return int(n)
}

// use is to be called when somebody reads or writes.
func (a *allotment) use() {
	if a.tenancy == awaited {
		a.tenancy = inUse
	}
}
