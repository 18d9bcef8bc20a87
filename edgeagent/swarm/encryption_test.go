package swarm

import (
	"context"
	"io"
	"net"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"simplebit/wire/dial"
	"simplebit/wire/mse"
	"simplebit/wire/peer"
)

func TestContentIsWholeOverEncryptedConnections(t *testing.T) {
	const length = 6<<20 - 12345
	c := newContent(length, 16<<10)
	seed := c.start(t, "seed", c.data, Config{}).listen(t)
	leech := c.start(t, "leech", nil, Config{Dialer: &dial.Dialer{Encryption: mse.Require}})
	leech.AddCandidates(reachable(seed.addr))
	if s := leech.awaitSeeding(t); s.Downloaded != length {
		t.Errorf("downloaded %d bytes, want %d", s.Downloaded, length)
	}
	if err := leech.stop(); err != nil {
		t.Error(err)
	}
	c.compare(t, leech)
}

// insisting is a network whose peers take RC4 streams only, and hang up after a while.
type insisting struct {
	mu   sync.Mutex
	told []string // what the peers were sent
}

func (i *insisting) DialContext(context.Context, string, string) (net.Conn, error) {
	near, far := net.Pipe()
	go func() {
		defer far.Close()
		start := make([]byte, len(peer.Greeting))
		if _, err := io.ReadFull(far, start); err != nil {
			return
		}
		if string(start) == peer.Greeting {
			i.note("plaintext")
			return
		}
		i.note("encryption")
		find := func([20]byte) ([20]byte, bool) { return testHash, true }
		e, err := mse.Accept(far, start, find, mse.Require)
		if err != nil {
			return
		}
		go io.Copy(io.Discard, e)
		e.Write(peer.Handshake{Reserved: peer.Reserved(true, true), InfoHash: testHash, PeerID: [20]byte{'p'}}.AppendMarshal(nil))
		time.Sleep(time.Second)
	}()
	return near, nil
}

func (i *insisting) note(how string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.told = append(i.told, how)
}

func TestPeerThatInsistsOnEncryptionIsDialledWithItTheNextTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newContent(4*block, block)
		world := &insisting{}
		n := c.start(t, "node", nil, Config{Dialer: &dial.Dialer{TCP: world}})
		n.AddCandidates(reachable(addr(1)))
		time.Sleep(2 * time.Minute)
		n.stop()
		synctest.Wait()
		if want := []string{"plaintext", "encryption", "encryption"}; len(world.told) < 3 || !slices.Equal(world.told[:3], want) || slices.Contains(world.told[3:], "plaintext") {
			t.Errorf("it was sent %q, want %q and no more plaintext", world.told, want)
		}
	})
}
