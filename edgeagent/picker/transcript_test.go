package picker

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"simplebit/integration/transcript"
)

// TestTranscripts plays the commands of each transcript and compares what the picker does. A block is PIECE.BLOCK.
//
//	torrent PIECES BLOCKS [HAVE]   begins a torrent, of which some pieces are there: 0-3,7
//	peer NAME all|PIECES [none]    connects a peer
//	have NAME PIECES               the peer has more
//	pick NAME N                    prints what the peer is asked for
//	send NAME N                    the peer sends the first N blocks that it owes
//	come NAME BLOCK                the peer sends that block
//	reject NAME N                  the peer rejects the first N blocks that it owes
//	choke NAME [fast], allow NAME PIECES, allowed NAME N, snub NAME, unsnub NAME, leave NAME
//	good PIECE, bad PIECE          the result of hashing
//	priority [PIECES low|high|skip]...   sets all priorities
//	sequential on|off
//	status                         prints the counts
func TestTranscripts(t *testing.T) {
	transcript.Run(t, "testdata", func(t *testing.T) func([]string) string {
		s := script{t: t}
		return func(words []string) string {
			s.out.Reset()
			s.command(words)
			s.cancelled()
			if s.k.missing > 0 {
				check(t, s.k)
			}
			return s.out.String()
		}
	})
}

type script struct {
	t     *testing.T
	k     *Picker
	names []string
	peers map[string]*Peer
	owes  map[string][]Block
	out   strings.Builder
}

func (s *script) command(words []string) {
	name := ""
	if len(words) > 1 {
		name = words[1]
	}
	p := s.peers[name]
	switch words[0] {
	case "torrent":
		s.begin(words[1:])
	case "peer":
		s.names = append(s.names, name)
		s.peers[name] = s.k.Add()
		if words[2] == "all" {
			s.k.HasAll(s.peers[name])
		} else {
			s.has(s.peers[name], words[2])
		}
	case "have":
		s.has(p, words[2])
	case "allow":
		for _, piece := range s.list(words[2]) {
			s.k.Allow(p, piece)
		}
	case "pick":
		s.asked(name, s.k.Pick(p, s.number(words[2]), nil))
	case "allowed":
		s.asked(name, s.k.PickAllowed(p, s.number(words[2]), nil))
	case "send":
		for _, b := range s.first(name, s.number(words[2])) {
			s.come(name, b)
		}
	case "come":
		piece, block, _ := strings.Cut(words[2], ".")
		s.come(name, s.k.block(&partial{piece: s.number(piece)}, s.number(block)))
	case "reject":
		for _, b := range s.first(name, s.number(words[2])) {
			fmt.Fprintf(&s.out, "%s rejects %s: %v\n", name, text([]Block{b}), s.k.Rejected(p, b))
			s.settle(name, b)
		}
	case "choke":
		s.k.Choked(p, len(words) > 2)
		if len(words) == 2 {
			delete(s.owes, name)
		}
	case "snub", "unsnub":
		s.k.SetSnubbed(p, words[0] == "snub")
	case "leave":
		s.k.Remove(p)
		delete(s.owes, name)
	case "good":
		s.k.Verified(s.number(name))
	case "bad":
		s.failed(s.number(name))
	case "priority":
		s.k.SetPriorities(s.priorities(words[1:]))
	case "sequential":
		s.k.SetSequential(name == "on")
	case "status":
		fmt.Fprintf(&s.out, "missing %d, wanted %d, requested %d, endgame %v\n",
			s.k.Missing(), s.k.Wanted(), s.k.Requested(), s.k.Endgame())
	default:
		s.t.Fatalf("unknown command %q", words)
	}
}

func (s *script) begin(words []string) {
	pieces := s.number(words[0])
	c := Config{PieceLength: s.number(words[1]) * BlockSize, Have: make([]byte, (pieces+7)/8), Seed: 1}
	c.Length = int64(pieces) * int64(c.PieceLength)
	for _, w := range words[2:] {
		for _, i := range s.list(w) {
			c.Have[i>>3] |= 0x80 >> (i & 7)
		}
	}
	s.k, s.names, s.peers, s.owes = New(c), nil, map[string]*Peer{}, map[string][]Block{}
}

func (s *script) has(p *Peer, pieces string) {
	for _, i := range s.list(pieces) {
		s.k.HasPiece(p, i)
	}
}

func (s *script) asked(name string, blocks []Block) {
	s.owes[name] = append(s.owes[name], blocks...)
	fmt.Fprintf(&s.out, "%s is asked for %s\n", name, text(blocks))
}

// first returns the first n blocks that the peer owes.
func (s *script) first(name string, n int) []Block {
	if n > len(s.owes[name]) {
		s.t.Fatalf("%s owes %d blocks, not %d; so far:\n%s", name, len(s.owes[name]), n, &s.out)
	}
	return slices.Clone(s.owes[name][:n])
}

func (s *script) settle(name string, b Block) {
	s.owes[name] = slices.DeleteFunc(s.owes[name], func(c Block) bool { return b == c })
}

func (s *script) come(name string, b Block) {
	ok, others := s.k.Received(s.peers[name], b, nil)
	if s.settle(name, b); !ok {
		fmt.Fprintf(&s.out, "%s sends %s: refused\n", name, text([]Block{b}))
	}
	for _, o := range others {
		s.cancel(o, b)
	}
	q, _ := s.k.find(b)
	if ok && !slices.ContainsFunc(q.blocks, func(by ID) bool { return by&received == 0 }) {
		fmt.Fprintf(&s.out, "piece %d is there\n", q.piece)
	}
}

func (s *script) cancel(p *Peer, b Block) {
	name := s.nameOf(p.id)
	s.settle(name, b)
	fmt.Fprintf(&s.out, "cancel %s at %s\n", text([]Block{b}), name)
}

func (s *script) cancelled() {
	for _, c := range s.k.Cancels(nil) {
		s.cancel(c.Peer, c.Block)
	}
}

func (s *script) failed(piece int) {
	var names []string
	for _, id := range s.k.Failed(piece) {
		names = append(names, s.nameOf(id))
	}
	fmt.Fprintf(&s.out, "piece %d is wrong; it came from %s\n", piece, strings.Join(names, ", "))
}

func (s *script) nameOf(id ID) string {
	for _, name := range s.names {
		if s.peers[name].id == id {
			return name
		}
	}
	return "nobody"
}

func (s *script) priorities(words []string) []Priority {
	list := make([]Priority, s.k.pieces())
	for i := 0; i+1 < len(words); i += 2 {
		for _, piece := range s.list(words[i]) {
			list[piece] = map[string]Priority{"normal": Normal, "skip": Skip, "low": Low, "high": High}[words[i+1]]
		}
	}
	return list
}

func (s *script) number(word string) int {
	n, err := strconv.Atoi(word)
	if err != nil {
		s.t.Fatal(err)
	}
	return n
}

// list parses pieces as in 0-3,7.
func (s *script) list(word string) (out []int) {
	if word == "none" {
		return nil
	}
	for part := range strings.SplitSeq(word, ",") {
		first, last, ok := strings.Cut(part, "-")
		if !ok {
			last = first
		}
		for i := s.number(first); i <= s.number(last); i++ {
			out = append(out, i)
		}
	}
	return out
}

// text names blocks, those in a row together: 4.0-3 5.0.
func text(blocks []Block) string {
	if len(blocks) == 0 {
		return "nothing"
	}
	var out []string
	for i := 0; i < len(blocks); {
		n := 1
		for i+n < len(blocks) && blocks[i+n].Piece == blocks[i].Piece && blocks[i+n].Begin == blocks[i+n-1].Begin+BlockSize {
			n++
		}
		s := fmt.Sprintf("%d.%d", blocks[i].Piece, blocks[i].Begin/BlockSize)
		if n > 1 {
			s += fmt.Sprintf("-%d", blocks[i+n-1].Begin/BlockSize)
		}
		out = append(out, s)
		i += n
	}
	return strings.Join(out, " ")
}
