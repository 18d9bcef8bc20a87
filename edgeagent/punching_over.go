package edgeagent

import (
	"context"
	"errors"
	"time"

	"simplebit/nat"
	"simplebit/nat/punch"
	"simplebit/nat/udpmux"
)

// The surrogate asks for an attempt for each torrent that comes up between two devices, whatever path they have. Such an attempt
// tries that path with the rest, so that one that works is found again at once. It cannot be all that is tried: the other side
// may have begun anew.

// lentNumber is that of the socket of a path among those of an attempt. Where the peer is to be met on one of many open ports it
// is the first of those.
const lentNumber = 1

// latest is the newest path to the device of that name; nil: there is none.
func (w *puncher) latest(now time.Time, device string) (newest *path) {
	for _, p := range w.paths {
		if p.Peer == device && !p.keeper.Lost(now) && (newest == nil || p.since.After(newest.since)) {
			newest = p
		}
	}
	return newest
}

// hint has an attempt ask where the path leads, which only the main socket does by itself.
func (p *path) hint(plan *punch.Plan) {
	if p.keeper.Path().Socket == 0 && len(plan.Remote) < nat.MaxCandidates {
		plan.Remote = append(plan.Remote, nat.Candidate{Addr: p.keeper.Path().Remote})
	}
}

// over has an attempt use the socket of a path. Who guesses the ports of a NAT that takes random ones asks at once: it is let in
// on the path, and its guesses wait for what that says.
func (w *puncher) over(now time.Time, a *attempt, p *path) {
	if p.via != a.sockets[0] {
		w.adopted[p.via]++
		a.lent, a.sockets[lentNumber] = p.via, p.via
	} else if a.machine.Method() == punch.Guess {
		a.machine.Ready(now)
	}
}

// unlend ends what over began.
func (w *puncher) unlend(a *attempt) {
	if a.lent != nil {
		w.release(a.lent)
		a.lent, a.sockets[lentNumber] = nil, nil
	}
}

// adopt has uTP use a socket of an attempt as long as its path is kept.
func (w *puncher) adopt(s *udpmux.Socket) error {
	if w.adopted[s] == 0 {
		if len(w.adopted) == maxAdopted {
			return errors.New("too many paths have a socket of their own")
		}
		if err := w.ports.set.Adopt(s); err != nil {
			return err
		}
		w.ports.utp.Attach(s)
		w.tasks.Go(func() { _ = s.Run(context.Background()) }) // until it is closed
	}
	w.adopted[s]++
	return nil
}

// release closes an adopted socket, with its connections, that nobody else has.
func (w *puncher) release(s *udpmux.Socket) (closed bool) {
	if w.adopted[s]--; w.adopted[s] > 0 {
		return false
	}
	delete(w.adopted, s)
	w.ports.utp.Detach(s)
	s.Close()
	return true
}
