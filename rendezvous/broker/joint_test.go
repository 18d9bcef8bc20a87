package broker

import (
	"errors"
	"time"
)

// joint is a relayed connection at the surrogate.
type joint struct {
	*world
	want
	joined bool // both devices have taken it
	over   bool
}

// view is what the test knows of a pair's need.
type view struct {
	ready time.Time // both have told all; zero: not both
	tried time.Time // the last attempt began
	had   bool      // a relay since, or one has ended, and rests
	again bool      // they had a path before
}

// touch has the core polled soon.
func (w *world) touch() { w.pollBy(w.now) }

func (w *world) pollBy(at time.Time) {
	if least := w.polled.Add(pace); at.Before(least) {
		at = least
	}
	if at.Before(w.now) {
		at = w.now
	}
	if !w.poll.IsZero() && !at.Before(w.poll) {
		return
	}
	w.poll = at
	w.at(at, func() {
		if w.poll == at {
			w.decide()
		}
	})
}

// decide is the broker's loop.
func (w *world) decide() {
	w.poll, w.polled = time.Time{}, w.now
	orders := w.core.poll(w.now)
	for i, o := range orders {
		if i%2 == 0 {
			w.view(keyOf(o.to, orders[i+1].to)).tried = w.now
		}
		w.down(o)
	}
	began, ended := w.core.relay(w.now)
	for _, o := range began {
		w.join(o)
	}
	for _, o := range ended {
		w.after(time.Millisecond, func() {
			if j := w.relays[o]; j != nil {
				j.end("others need its place more")
			}
		})
	}
	if err := w.core.audit(); err != nil {
		w.fail("%v", err)
	}
	if !w.crowd {
		w.late()
	}
	if at := w.core.wake(w.now); !at.IsZero() {
		w.pollBy(at)
	}
}

// down delivers an attempt to a device.
func (w *world) down(o order) {
	p := w.party(o.to)
	session := p.session
	if w.chance(15) {
		w.log("%s is not told of %x", o.to, o.punch.Attempt[:2])
		return
	}
	w.after(p.delay+p.late, func() {
		if p.session == session {
			p.take(o.punch)
		}
	})
}

// join begins to relay.
func (w *world) join(o want) {
	a, b := w.party(o.a), w.party(o.b)
	w.log("%s and %s are relayed", o.a, o.b)
	if r := w.core.relays; w.crowd && (len(w.relays) > r.most || r.each < 1) {
		w.fail("%d are relayed at once", len(w.relays))
	}
	if w.relays[o] != nil {
		w.fail("%s and %s are relayed twice", o.a, o.b)
		return
	}
	v := w.view(o.key)
	if hope := a.hope(b); hope && !v.had && v.ready.IsZero() {
		w.fail("a relay before both are ready")
	} else if hope && !v.had && !v.again && w.now.Sub(v.tried) < 1500*time.Millisecond && w.now.Sub(v.ready) < 1900*time.Millisecond {
		w.fail("a relay %s after an attempt began, which is too soon", w.now.Sub(v.tried))
	}
	v.had = true
	j := &joint{world: w, want: o}
	w.relays[o] = j
	if a.session == 0 || b.session == 0 {
		j.end("a device is away")
		return
	}
	w.after(max(a.delay, b.delay)*2, func() {
		if j.over {
			return
		}
		if a.path(b) || b.path(a) {
			j.end("")
			return
		}
		j.joined = true
		a.progress()
		b.progress()
		if w.chance(3) {
			w.after(w.between(0, 30*time.Second), func() { j.end("it broke") })
		}
	})
}

// end ends it, and the core is told.
func (j *joint) end(why string) {
	if j.over {
		return
	}
	j.log("%s and %s are relayed no more: %s", j.a, j.b, why)
	j.over, j.joined = true, false
	j.view(j.key).had = true
	var err error
	if why != "" {
		err = errors.New(why)
	}
	j.after(time.Millisecond, func() {
		delete(j.relays, j.want)
		j.core.relayed(j.now, j.want, err)
		j.touch()
	})
}

// drain is of devices that are connected otherwise.
func (j *joint) drain() { j.after(j.between(0, 5*time.Second), func() { j.end("") }) }

func (w *world) view(k key) *view {
	if w.views[k] == nil {
		w.views[k] = &view{}
	}
	return w.views[k]
}

// readied notes which pairs the core could decide about: both devices have told what they are behind and what they hold.
func (w *world) readied(p *party) {
	for _, o := range w.parties {
		if o == p || o.session == 0 {
			continue
		}
		a, b := w.core.devices[p.id], w.core.devices[o.id]
		if v := w.view(keyOf(p.id, o.id)); v.ready.IsZero() && a != nil && b != nil && len(common(a, b)) > 0 {
			v.ready = w.now
			if from := noon.Add(settling); p.line.UDP && o.line.UDP && p.hope(o) && v.ready.Before(from) {
				v.ready = from
			}
		}
	}
}

// unready forgets that of a device's pairs.
func (w *world) unready(who id) {
	for _, o := range w.parties {
		if o.id != who {
			*w.view(keyOf(who, o.id)) = view{}
		}
	}
}

// parting is while two have a path, or think so: when that is lost, and told, a relay is needed.
func (w *world) parting(a, b *party) {
	k := keyOf(a.id, b.id)
	if a.session == 0 || b.session == 0 {
		*w.view(k) = view{}
		return
	}
	*w.view(k) = view{ready: w.now.Add(pace + max(a.delay, b.delay)), again: true, had: w.relays[want{k, torrent{1}}] != nil}
}

// late fails the test where a relay should have begun.
func (w *world) late() {
	for k, v := range w.views {
		a, b := w.party(k.a), w.party(k.b)
		if v.ready.IsZero() || a.session == 0 || b.session == 0 {
			continue
		}
		if p := w.core.pairs[k]; p != nil && p.attempt != nil && p.attempt.path || a.direct(b) || b.direct(a) {
			w.parting(a, b)
			continue
		}
		if v.had {
			continue
		}
		most := 2 * time.Second
		x, y := w.core.devices[k.a], w.core.devices[k.b]
		if ((!a.line.UDP || !b.line.UDP) && a.home != b.home || hopeless(x, y)) && !x.takesTCP() && !y.takesTCP() {
			most = pace
		}
		if since := w.now.Sub(v.ready); since > most {
			w.fail("%s and %s are ready for %s and have neither a path nor a relay", a.id, b.id, since)
		}
	}
}

// settled says which pair is not as it should be. In the end, where both NATs count, they may be relayed: how many ports others
// have taken is not known, and the error of what is predicted stays.
func (w *world) settled(end bool) string {
	for i, a := range w.parties {
		for _, b := range w.parties[:i] {
			if !a.lacks && !b.lacks {
				continue
			}
			x := want{keyOf(a.id, b.id), torrent{1}}
			direct := a.direct(b)
			j := w.relays[x]
			state := Waiting
			for _, r := range w.core.routes(w.now, a.id, torrent{1}) {
				if r.Peer == b.id {
					state = r.State
				}
			}
			names := a.place.String() + " and " + b.place.String()
			relayed := j != nil && j.joined && state == Relayed
			switch meets := a.home == b.home || a.place.meets(b.place); {
			case meets && !direct && end && relayed && a.place.behaviour().Step != 0 && b.place.behaviour().Step != 0:
				w.resigned = true
			case meets && !direct:
				return names + " have no path"
			case meets && j != nil:
				return names + " are relayed still"
			case meets && state != Path && state != Linked:
				return names + " are shown as " + state.String()
			case !meets && direct:
				return names + " have a path, where there is none"
			case !meets && !relayed:
				return names + " are not relayed, but " + state.String()
			}
		}
	}
	return ""
}
