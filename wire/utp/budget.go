package utp

import "sync/atomic"

// smallGrowth is never refused, in bytes. All memory of a core grows by doubling, so this is a pair of rings of 8 KiB and the
// records for what fits in there: enough to go on in both directions, even for a connection that holds much in one of
// them.
const smallGrowth = 4 << 10

// budget is the memory that the buffers of all connections share.
//
// A connection may grow while it holds no more than what is left to the others. One alone gets half of everything, N busy
// ones a share of 1/(N+1) each, and there is always something left for whoever comes next. What is small is never refused,
// so that under pressure connections get slow but none of them stops; that overdraft is at most 30 KiB for each connection
// that is busy.
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
	if more <= smallGrowth {
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
