package swarm

import "simplebit/edgeagent/picker"

const (
	// pipelineFloor is how many requests a peer gets even when it is slow, so that it can show that it is not.
	pipelineFloor = 4
	// pipelineCap bounds the requests to one peer, as libtorrent does.
	pipelineCap = 500
	// pipelineSeconds is how far ahead of a peer's rate requests are sent: more than any round trip.
	pipelineSeconds = 3
	// relayedSeconds is the same for a relayed peer: it is to be done with soon when it can be had directly.
	relayedSeconds = 1
)

// A pipeline decides how many requests a peer should have outstanding. It begins with a slow start, one more for each
// block that comes, which doubles it every round trip; when the rate stops growing it follows the rate.
type pipeline struct {
	want   int
	steady bool
	last   int64 // rate at the last tick, bytes/s
}

// received counts a block that has come.
func (q *pipeline) received() {
	if !q.steady {
		q.want = min(q.want+1, pipelineCap)
	}
}

// rejected halves the queue: the peer has said that it is too long.
func (q *pipeline) rejected() {
	q.steady = true
	q.want /= 2
}

// tick is called once a second with the rate in bytes/s.
func (q *pipeline) tick(rate int64) {
	if !q.steady && q.last > 0 && rate < q.last+q.last/8 {
		q.steady = true
	}
	q.last = rate
	if q.steady {
		q.want = int(min(rate*pipelineSeconds/picker.BlockSize, pipelineCap))
	}
}

// limit returns how many requests may be outstanding at a peer that says it queues reqq of them, when there is room for so
// many, those outstanding at this one included, with all peers together. Every peer gets the floor.
func (q *pipeline) limit(reqq, room int) int {
	return max(1, min(max(q.want, pipelineFloor), reqq, max(room, pipelineFloor)))
}

// relayed returns the limit of a relayed peer, whose limit would else be the given one.
func (q *pipeline) relayed(limit int) int {
	return min(limit, max(int(q.last*relayedSeconds/picker.BlockSize), pipelineFloor))
}

// due returns how many requests to send now. Short of the limit by little, none: requests that go together cost one
// system call on either side.
func (q *pipeline) due(limit, outstanding int) int {
	if outstanding > 0 && outstanding > limit-max(1, limit/4) {
		return 0
	}
	return limit - outstanding
}

// wakeAfter returns how many blocks the reader may let come before it tells the loop, with so many requests outstanding: so
// few that the queue at the peer stays well filled, and no more than the peer's share of the memory.
func wakeAfter(outstanding, share int) int32 {
	return int32(max(1, min(outstanding/8, share, 16)))
}
