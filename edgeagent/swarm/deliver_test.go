package swarm

import (
	"runtime"
	"testing"
	"testing/synctest"
)

// A reader that works for the storage may wait until its results are heard. Nobody else hears them when the torrent stops.
func TestATorrentStopsAlthoughAReaderWaitsForItsResultsToBeHeard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const pieces = 200 // far more than the results that may wait
		c := newContent(pieces*block, block)
		n := c.start(t, "node", nil, Config{})
		n.connect(t, features{name: "x", fast: true})

		n.turn.Lock()
		p := n.peers[0]
		n.running++ // for a second reader of the peer
		for i := range pieces {
			b, err := n.c.Pool.Get(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			b.N = copy(b.Bytes(), c.data[i*block:])
			n.storage.Put(i, 0, b)
		}
		go func() {
			n.storage.Work()
			n.events <- event{from: p, kind: readerEnded}
		}()
		stopped := make(chan error)
		go func() { stopped <- n.stop() }()
		for len(n.storage.Events()) < cap(n.storage.Events()) {
			runtime.Gosched()
		}
		n.turn.Unlock()
		if err := <-stopped; err != nil {
			t.Error(err)
		}
	})
}
