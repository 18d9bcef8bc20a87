package classify

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"simplebit/nat"
)

// Whether nothing comes is known when this many questions, asked one after the other, had this long for an answer each.
const (
	rounds  = 3
	silence = 150 * time.Millisecond
)

// Classify finds out how the network that the device is in treats its UDP. Lifetime is left out. It takes under 3 s of the
// world's time. Round trips may take up to 400 ms. It fails only if the world does or ctx ends.
func Classify(ctx context.Context, w World) (b nat.Behaviour, err error) {
	c := &classifier{world: w}
	defer c.close()
	// Mappings first, by a socket that no stranger ever sends to: on a bare router that spoils its port for the stranger.
	mapped, err := c.mappings(ctx, &b)
	if err != nil || b.Blocked {
		return nat.Behaviour{Blocked: b.Blocked}, err
	}
	b.Double = answer(w.Outside().IsValid() && w.Outside() != mapped)
	if err := c.filtering(ctx, &b); err != nil {
		return nat.Behaviour{}, err
	}
	return b, c.hairpin(ctx, &b)
}

// Lifetime returns the longest of the silences, given in rising order, that a mapping outlives, and 0 if it outlives none.
func Lifetime(ctx context.Context, w World, silences ...time.Duration) (longest time.Duration, err error) {
	c := &classifier{world: w}
	defer c.close()
	asking, err := c.open()
	if err != nil {
		return 0, err
	}
	quiet := make([]Socket, len(silences))
	mapped := make([]netip.AddrPort, len(silences))
	for i := range silences {
		if quiet[i], err = c.open(); err != nil {
			return 0, err
		}
		got, err := c.ask(ctx, quiet[i], question{})
		if err != nil {
			return 0, err
		}
		mapped[i] = got[0]
	}
	var passed time.Duration
	for i, d := range silences {
		if err := c.world.Sleep(ctx, d-passed); err != nil {
			return 0, err
		}
		passed = d
		if !mapped[i].IsValid() {
			continue
		}
		// The server that the mapping is open to sends to it, because another socket asked it to.
		arrived, err := c.askFor(ctx, asking, quiet[i], question{to: mapped[i]})
		if err != nil {
			return 0, err
		}
		if arrived {
			longest = d
		}
	}
	return longest, nil
}

// classifier asks the servers of a world.
type classifier struct {
	world  World
	number uint64
	opened []Socket
}

func (c *classifier) open() (Socket, error) {
	s, err := c.world.Open()
	if err == nil {
		c.opened = append(c.opened, s)
	}
	return s, err
}

func (c *classifier) close() {
	for _, s := range c.opened {
		s.Close()
	}
}

// mappings asks all servers by one socket, which looks the same to those that its mapping does not depend on.
func (c *classifier) mappings(ctx context.Context, b *nat.Behaviour) (outside netip.Addr, err error) {
	s, err := c.open()
	if err != nil {
		return outside, err
	}
	var seen [servers]netip.AddrPort
	// One after the other, so that the steps of a sequential NAT show.
	for i := range seen {
		got, err := c.ask(ctx, s, question{at: i, by: i})
		if err != nil {
			return outside, err
		}
		if seen[i] = got[0]; !seen[i].IsValid() {
			if i == 0 {
				b.Blocked = true
				return outside, nil
			}
			return outside, fmt.Errorf("classify: server %v does not answer, others do", c.world.Servers()[i])
		}
	}
	b.Public = answer(seen[0].Addr() == s.Local().Addr())
	b.Preserved = answer(seen[0].Port() == s.Local().Port())
	switch {
	case seen[0] == seen[1] && seen[0] == seen[2] && seen[0] == seen[3]:
		b.Mapping = nat.EndpointIndependent
	case seen[0] == seen[1] && seen[2] == seen[3]:
		b.Mapping = nat.AddressDependent
	default:
		b.Mapping = nat.AddressAndPortDependent
		b.Step = step(seen)
	}
	return seen[0].Addr(), nil
}

// maxStep is the most that successive ports may differ by to be called sequential: ports at random hardly ever do so thrice.
const maxStep = 100

// step is what successive ports differ by; 0 if that is not always the same.
func step(seen [servers]netip.AddrPort) int {
	by := int(seen[1].Port()) - int(seen[0].Port())
	for i := 1; i < len(seen); i++ {
		if int(seen[i].Port())-int(seen[i-1].Port()) != by || by > maxStep || by < -maxStep {
			return 0
		}
	}
	return by
}

// filtering asks one server to have the others answer, by a socket that never sends to them.
func (c *classifier) filtering(ctx context.Context, b *nat.Behaviour) error {
	s, err := c.open()
	if err != nil {
		return err
	}
	got, err := c.ask(ctx, s, question{by: 0}, question{by: 1}, question{by: 2}, question{by: 3})
	if err != nil {
		return err
	}
	b.Filtering = nat.AddressAndPortDependent
	switch {
	case got[2].IsValid() || got[3].IsValid():
		b.Filtering = nat.EndpointIndependent
	case got[1].IsValid():
		b.Filtering = nat.AddressDependent
	}
	b.Reachable = answer(got[2].IsValid() || got[3].IsValid())
	return nil
}

// hairpin sends from one socket to the external endpoint of another.
func (c *classifier) hairpin(ctx context.Context, b *nat.Behaviour) error {
	from, err := c.open()
	if err != nil {
		return err
	}
	to, err := c.open()
	if err != nil {
		return err
	}
	// A port-restricted router in front of a carrier that hairpins lets nothing in still: neither has sent to the other.
	if _, err := c.ask(ctx, from, question{}); err != nil {
		return err
	}
	outside, err := c.ask(ctx, to, question{})
	if err != nil {
		return err
	}
	for range rounds {
		c.number++
		// It looks like the answer to a question that was never asked.
		greeting, _, _, _ := respond(outside[0], question{number: c.number}.marshal())
		if err := from.Send(outside[0], greeting); err != nil {
			return err
		}
	}
	b.Hairpin = nat.No
	for quiet := 0; quiet < rounds; {
		_, raw, ok, err := to.Receive(ctx, silence)
		if err != nil {
			return err
		}
		if !ok {
			quiet++
		}
		if number, _, parsed := parseAnswer(raw); ok && parsed && number > c.number-rounds {
			b.Hairpin = nat.Yes
			return nil
		}
	}
	return nil
}

// ask asks questions until they are answered or have been asked often enough, and returns for each as whom the asker was
// seen: the zero endpoint without an answer.
func (c *classifier) ask(ctx context.Context, s Socket, questions ...question) ([]netip.AddrPort, error) {
	at := c.world.Servers()
	seen := make([]netip.AddrPort, len(questions))
	numbers := make(map[uint64]int)
	for range rounds {
		for i, q := range questions {
			if seen[i].IsValid() {
				continue
			}
			c.number++
			q.number, numbers[c.number] = c.number, i
			if err := s.Send(at[q.at], q.marshal()); err != nil {
				return nil, err
			}
		}
		for missing(seen) {
			from, b, ok, err := s.Receive(ctx, silence)
			if err != nil {
				return nil, err
			}
			if !ok {
				break
			}
			number, as, ok := parseAnswer(b)
			if i, asked := numbers[number]; ok && asked && from == at[questions[i].by] {
				seen[i] = as
			}
		}
	}
	return seen, nil
}

func missing(seen []netip.AddrPort) bool {
	for _, a := range seen {
		if !a.IsValid() {
			return true
		}
	}
	return false
}

// askFor asks by one socket a question whose answer goes to another one, and reports whether it arrived there.
func (c *classifier) askFor(ctx context.Context, asking, to Socket, q question) (bool, error) {
	before := c.number
	for range rounds {
		c.number++
		q.number = c.number
		if err := asking.Send(c.world.Servers()[q.at], q.marshal()); err != nil {
			return false, err
		}
		for {
			_, b, ok, err := to.Receive(ctx, silence)
			if err != nil {
				return false, err
			}
			if !ok {
				break
			}
			// Late answers to what the socket itself has asked tell nothing.
			if number, _, ok := parseAnswer(b); ok && number > before {
				return true, nil
			}
		}
	}
	return false, nil
}

func answer(yes bool) nat.Answer {
	if yes {
		return nat.Yes
	}
	return nat.No
}
