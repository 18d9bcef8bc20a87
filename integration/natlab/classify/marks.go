package classify

import (
	"context"
	"net/netip"

	"simplebit/integration/natlab"
	"simplebit/nat"
)

// Marks finds out what tells kinds of one behaviour apart, on a device whose behaviour is known: all but Marks.IPv6, which is
// Classify in another World. It takes under 3 s of the world's time, and fails only if the world does or ctx ends.
func Marks(ctx context.Context, w World, b nat.Behaviour) (m natlab.Marks, err error) {
	if b.Blocked {
		return m, nil
	}
	c := &classifier{world: w}
	defer c.close()
	if b.Mapping == nat.EndpointIndependent {
		if m.Spoiled, err = c.spoiled(ctx); err != nil {
			return m, err
		}
	}
	if w.Gateway().IsValid() {
		if m.Opens, err = c.opens(ctx); err != nil {
			return m, err
		}
	}
	m.Neighbours, err = c.neighbours(ctx)
	return m, err
}

// spoiled has a stranger send to the endpoint of a socket before the socket sends to the stranger.
func (c *classifier) spoiled(ctx context.Context) (nat.Answer, error) {
	s, err := c.open()
	if err != nil {
		return nat.Unsure, err
	}
	before, err := c.ask(ctx, s, question{}, question{by: 2})
	if err != nil {
		return nat.Unsure, err
	}
	after, err := c.ask(ctx, s, question{at: 2, by: 2})
	if err != nil || !before[0].IsValid() || !after[0].IsValid() {
		return nat.Unsure, err
	}
	return answer(before[0] != after[0]), nil
}

// lease is how long, in seconds, a port is asked for: longer than it is looked at.
const lease = 60

// opens asks the router to open a port to a socket that sends nothing to the internet, and has a stranger send there.
func (c *classifier) opens(ctx context.Context) (nat.Answer, error) {
	inside, err := c.open()
	if err != nil {
		return nat.Unsure, err
	}
	port, err := c.requestPort(ctx, inside.Local().Port())
	if err != nil || port == 0 {
		return nat.No, err
	}
	asking, err := c.open()
	if err != nil {
		return nat.Unsure, err
	}
	seen, err := c.ask(ctx, asking, question{})
	if err != nil || !seen[0].IsValid() {
		return nat.Unsure, err
	}
	in, err := c.askFor(ctx, asking, inside, question{by: 2, to: netip.AddrPortFrom(seen[0].Addr(), port)})
	return answer(in), err
}

// requestPort asks by NAT-PMP for a port that leads to the device's own of that number; 0: there is none.
func (c *classifier) requestPort(ctx context.Context, port uint16) (uint16, error) {
	s, err := c.open()
	if err != nil {
		return 0, err
	}
	gateway := netip.AddrPortFrom(c.world.Gateway(), portPMP)
	for range rounds {
		if err := s.Send(gateway, requestPMP(port, lease)); err != nil {
			return 0, err
		}
		for {
			from, b, ok, err := s.Receive(ctx, silence)
			if err != nil {
				return 0, err
			}
			if !ok {
				break
			}
			if opened, ok := parsePMP(b, port); ok && from == gateway {
				return opened, nil
			}
		}
	}
	return 0, nil
}

// neighbours has a device of another home behind the same carrier send back what reaches it by its public endpoint. Its
// router lets in everybody, so that only the carrier decides.
func (c *classifier) neighbours(ctx context.Context) (nat.Answer, error) {
	there, err := c.world.OpenNext()
	if there == nil || err != nil {
		return nat.Unsure, err
	}
	c.opened = append(c.opened, there)
	here, err := c.open()
	if err != nil {
		return nat.Unsure, err
	}
	outside, err := c.ask(ctx, there, question{})
	if err != nil || !outside[0].IsValid() {
		return nat.Unsure, err
	}
	before := c.number
	for range rounds {
		c.number++
		greeting, _, _, _ := respond(outside[0], question{number: c.number}.marshal())
		if err := here.Send(outside[0], greeting); err != nil {
			return nat.Unsure, err
		}
		from, raw, ok, err := there.Receive(ctx, silence)
		if err != nil {
			return nat.Unsure, err
		}
		if number, _, parsed := parseAnswer(raw); !ok || !parsed || number <= before {
			continue
		}
		if err := there.Send(from, raw); err != nil {
			return nat.Unsure, err
		}
		_, raw, ok, err = here.Receive(ctx, silence)
		if err != nil {
			return nat.Unsure, err
		}
		if number, _, parsed := parseAnswer(raw); ok && parsed && number > before {
			return nat.Yes, nil
		}
	}
	return nat.No, nil
}
