package utp

import "sync/atomic"

// floorPerConn is what every connection may have of the budget in any case: small rings both ways, and the records that
// they need.
const floorPerConn = 16 << 10

// smallGrowth is what somebody needs to begin with, even one who holds much already: to send again, say, while much waits to
// be read. It is refused only when all memory is taken.
const smallGrowth = 4 << 10

// budget is the memory that the buffers of all connections share.
//
// A connection may grow while it holds no more than what is left to the others. One alone gets half of everything, N busy
// ones a share of 1/(N+1) each, and there is always something left for whoever comes next. Below floorPerConn nobody is
// refused, so that under pressure connections get slow but none of them stops; that overdraft is at most floorPerConn times
// the number of connections.
type budget struct {
	total int64
	used  atomic.Int64
}

// account is the part of a budget that one connection holds. The connection's mutex guards it.
type account struct {
	budget *budget
	held   int64
}

// grow asks for n bytes more, or gives -n back.
func (a *account) grow(n int) bool {
	more := int64(n)
	if more <= 0 || a.held+more <= floorPerConn || more <= smallGrowth && a.budget.used.Load()+more <= a.budget.total {
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
