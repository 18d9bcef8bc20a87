package utp

import "sync/atomic"

// floor is what a connection may have in any case, in bytes.
const floor = 16 << 10

// budget is the memory that the buffers of all connections share.
//
// A connection may grow while it holds no more than what is left to the others. One alone gets half of everything, N busy
// ones a share of 1/(N+1) each, and there is always something left for whoever comes next. Never refused are the floor and,
// above it, what a ring begins with: who holds much of what came can still send. So under pressure connections get
// slow but none of them stops. That overdraft is at most the floor and two times two rings of minRing for each connection.
type budget struct {
	total int64
	used  atomic.Int64
}

// allotment is the part of a budget that one connection holds. The connection's mutex guards it.
type allotment struct {
	budget *budget
	held   int64
}

// grow asks for n bytes more, or gives -n back.
func (a *allotment) grow(n int) bool {
	more := int64(n)
	if more <= 0 || more == minRing || a.held+more <= floor {
		a.held += more
		a.budget.used.Add(more)
		return true
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
	return int(max(0, a.budget.total-a.budget.used.Load()-a.held) / 2)
}
