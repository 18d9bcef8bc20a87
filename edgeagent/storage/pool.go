package storage

import (
	"context"
	"sync"
)

// BlockSize is the length in bytes of a block, the unit in which peers request data (BEP 3). Only the last block of the
// last piece, or of a piece whose length is no multiple of it, is shorter.
const BlockSize = 16 << 10

// minPool is the smallest budget of a Pool in bytes.
const minPool = 1 << 20

// A Pool is a fixed budget of block buffers. All torrents of a process share one, so it bounds what they hold in memory
// together. Buffers are allocated when first needed and recycled for ever; the one used last is handed out first, because
// it is the one still in the processor's cache. All methods may be called from any goroutine.
type Pool struct {
	limit int
	hand  chan *Block // passes a released block to a waiting Get; its capacity is limit, so a send never blocks

	mu       sync.Mutex
	idle     []*Block
	made     int
	waiting  int
	watchers []chan struct{} // one per torrent, signalled when somebody waits for a block
}

// NewPool returns a pool of as many whole blocks as fit in the given number of bytes, and of 1 MiB at least.
func NewPool(bytes int64) *Pool {
	limit := int(max(bytes, minPool) / BlockSize)
	return &Pool{limit: limit, hand: make(chan *Block, limit)}
}

// Size returns the budget in bytes.
func (p *Pool) Size() int64 { return int64(p.limit) * BlockSize }

// Free returns how many bytes of the budget are not handed out. Blocks never allocated so far count as free.
func (p *Pool) Free() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return int64(p.freeBlocks()) * BlockSize
}

func (p *Pool) freeBlocks() int { return p.limit - p.made + len(p.idle) }

// Get returns a block, waiting for one to be released when the budget is used up. While it waits, the torrents are told to
// write out what they hold in memory. The only error is ctx's.
func (p *Pool) Get(ctx context.Context) (*Block, error) {
	p.mu.Lock()
	if b := p.take(); b != nil {
		p.mu.Unlock()
		return b, nil
	}
	p.waiting++
	for _, w := range p.watchers {
		select {
		case w <- struct{}{}:
		default:
		}
	}
	p.mu.Unlock()

	select {
	case b := <-p.hand:
		return b, nil
	case <-ctx.Done():
	}
	p.mu.Lock()
	if p.waiting > 0 {
		p.waiting--
		p.mu.Unlock()
		return nil, ctx.Err()
	}
	p.mu.Unlock()
	// A release has counted this waiter as served already: its block is there.
	(<-p.hand).Release()
	return nil, ctx.Err()
}

// TryGet returns a block, or nil when the budget is used up.
func (p *Pool) TryGet() *Block {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.take()
}

// take needs p.mu. It returns nil when there is no block.
func (p *Pool) take() *Block {
	if n := len(p.idle); n > 0 {
		b := p.idle[n-1]
		p.idle = p.idle[:n-1]
		return b
	}
	if p.made == p.limit {
		return nil
	}
	p.made++
	return &Block{pool: p, data: new([BlockSize]byte)}
}

func (p *Pool) put(b *Block) {
	b.N = 0
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.waiting > 0 {
		p.waiting--
		p.hand <- b
		return
	}
	p.idle = append(p.idle, b)
}

// watch returns a channel that is signalled whenever a Get has to wait.
func (p *Pool) watch() chan struct{} {
	w := make(chan struct{}, 1)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.watchers = append(p.watchers, w)
	return w
}

func (p *Pool) unwatch(w chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range p.watchers {
		if p.watchers[i] == w {
			p.watchers = append(p.watchers[:i], p.watchers[i+1:]...)
			return
		}
	}
}

// A Block is one buffer of a Pool. It has one owner at a time: whoever got it from the pool, until it is released or given
// to Torrent.Write.
type Block struct {
	// N is how many bytes at the start of the buffer are data, up to BlockSize. Who fills the buffer sets it.
	N int

	pool *Pool
	data *[BlockSize]byte // an allocation of its own, since header and data together would take the next size class

	piece, begin int // set by Torrent.Write
}

// Bytes returns the whole buffer, BlockSize bytes long. It must not be kept after the block has been released or given
// away.
func (b *Block) Bytes() []byte { return b.data[:] }

// Release gives the block back to its pool. A block must not be used after it, nor be released twice.
func (b *Block) Release() { b.pool.put(b) }
