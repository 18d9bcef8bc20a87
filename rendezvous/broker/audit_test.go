package broker

import "fmt"

// audit compares the accounts with what there is, and that with the bounds.
func (c *core) audit() error {
	attempts, many, paths, pairs := map[id]int{}, map[id]int{}, map[id]int{}, map[id]int{}
	names := 0
	for k, p := range c.pairs {
		for _, who := range []id{k.a, k.b} {
			pairs[who]++
			switch {
			case p.attempt == nil:
			case p.attempt.path:
				paths[who]++
			default:
				attempts[who]++
				if p.attempt.wide() {
					many[who]++
				}
			}
		}
		if p.attempt != nil {
			names++
			if c.attempts[p.attempt.name] != p {
				return fmt.Errorf("attempt %x is not known by its name", p.attempt.name)
			}
		}
		if len(p.past) > maxShown {
			return fmt.Errorf("%d attempts are kept of a pair", len(p.past))
		}
	}
	if names != len(c.attempts) {
		return fmt.Errorf("%d attempts, %d names", names, len(c.attempts))
	}
	on, known, all := map[id]int{}, map[id]int{}, 0
	for w, r := range c.relays.known {
		for _, who := range []id{w.a, w.b} {
			known[who]++
			if r.on {
				on[who]++
			}
			if on[who] > c.relays.each || known[who] > 3*maxPairs+c.relays.each {
				return fmt.Errorf("%s has %d relays, and waits for %d, which is too many", who, on[who], known[who])
			}
		}
		if r.on {
			all++
		}
	}
	if all > c.relays.most {
		return fmt.Errorf("there are %d relays, which is too many", all)
	}
	words := map[id]int{}
	for _, w := range c.words {
		words[w.who]++
	}
	for who, d := range c.devices {
		if d.words != words[who] || d.words > maxPaths {
			return fmt.Errorf("%s has %d words on its account, %d in all", who, d.words, words[who])
		}
		if d.attempts != attempts[who] || d.wide != many[who] || d.paths != paths[who] || d.pairs != pairs[who] {
			return fmt.Errorf("%s has %d attempts, %d wide, %d paths, %d pairs on its account", who, d.attempts, d.wide, d.paths, d.pairs)
		}
		if d.attempts > maxAttempts || d.wide > 1 || d.attempts+d.paths > maxPaths || d.pairs > maxPairs {
			return fmt.Errorf("%s has %d attempts, %d wide, %d paths, %d pairs, which is too many", who, d.attempts, d.wide, d.paths, d.pairs)
		}
	}
	return nil
}
