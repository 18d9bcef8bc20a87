package picker

import (
	"math/rand/v2"
	"testing"
)

const benchPieces = 100_000

// BenchmarkHave is the cost of one HAVE in a torrent of 100,000 pieces.
func BenchmarkHave(b *testing.B) {
	k := newPicker(benchPieces)
	p := k.Add()
	for i := 0; b.Loop(); i++ {
		if i%benchPieces == benchPieces-1 {
			b.StopTimer()
			k.Remove(p)
			p = k.Add()
			b.StartTimer()
			continue
		}
		k.HasPiece(p, i%benchPieces)
	}
}

// BenchmarkPick is the cost of a piece of 16 blocks, picked and received four blocks at a time, in a torrent of 100,000
// pieces with ten seeds and forty peers that have half of it.
func BenchmarkPick(b *testing.B) {
	b.Run("rarest", func(b *testing.B) { benchmarkPick(b, func(*Picker) {}) })
	b.Run("sequential", func(b *testing.B) { benchmarkPick(b, func(k *Picker) { k.SetSequential(true) }) })
	b.Run("priorities", func(b *testing.B) {
		list := make([]Priority, benchPieces)
		for i := range list {
			list[i] = Priority(i / 1000 % 4)
		}
		benchmarkPick(b, func(k *Picker) { k.SetPriorities(list) })
	})
}

func benchmarkPick(b *testing.B, prepare func(*Picker)) {
	var k *Picker
	blocks := make([]Block, 0, 16)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if k == nil || k.Wanted() < benchPieces/100 {
			b.StopTimer()
			k = crowd()
			prepare(k)
			b.StartTimer()
		}
		p := k.peers[i%len(k.peers)]
		for range 4 {
			blocks = k.Pick(p, 4, blocks[:0])
			for _, block := range blocks {
				k.Received(p, block, nil)
			}
		}
		k.Verified(int(blocks[0].Piece))
	}
}

func crowd() *Picker {
	k := New(Config{PieceLength: 16 * BlockSize, Length: benchPieces * 16 * BlockSize, Seed: 1})
	rng := rand.New(rand.NewPCG(1, 1))
	for i := range 50 {
		p := k.Add()
		if i%5 == 0 {
			k.HasAll(p)
			continue
		}
		bits := make([]byte, benchPieces/8)
		for i := range bits {
			bits[i] = byte(rng.Uint32())
		}
		k.HasSome(p, bits)
	}
	return k
}

// BenchmarkPickEndgame is the cost of finding the slowest blocks among 1,000 requests for 63 pieces.
func BenchmarkPickEndgame(b *testing.B) {
	k := New(Config{PieceLength: 16 * BlockSize, Length: 1000 * BlockSize, Seed: 1})
	for range 50 {
		k.HasAll(k.Add())
	}
	for range 2 {
		for _, p := range k.peers[1:] {
			k.Pick(p, 11, nil)
		}
	}
	p := k.peers[0]
	blocks := make([]Block, 0, 8)
	for b.Loop() {
		if blocks = k.Pick(p, 8, blocks[:0]); len(blocks) != 8 {
			b.Fatalf("%d blocks picked", len(blocks))
		}
		k.Choked(p, false)
	}
}

// BenchmarkSetPriorities is the cost of a change in a torrent of 100,000 pieces with 50 peers.
func BenchmarkSetPriorities(b *testing.B) {
	k := crowd()
	list := make([]Priority, benchPieces)
	for i := 0; b.Loop(); i++ {
		list[i%benchPieces] ^= Skip
		k.SetPriorities(list)
	}
}
