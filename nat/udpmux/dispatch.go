package udpmux

import "time"

// maxRuns bounds the runs that a handler gets at once, and so the memory of the lists: runs of mixed kinds are split.
const maxRuns = 64

// dispatcher sorts what was read by kind. It belongs to the read loop.
type dispatcher struct {
	s     *Socket
	runs  [kinds][]Run
	sight *sight // nil where nobody wants to know
}

// newDispatcher makes one whose handlers get up to most runs at once.
func newDispatcher(s *Socket, most int) *dispatcher {
	d := &dispatcher{s: s}
	for k, h := range s.handlers {
		if h != nil {
			d.runs[k] = make([]Run, 0, most)
		}
	}
	if s.newSource != nil {
		d.sight = newSight(s.newSource, most)
	}
	return d
}

// dispatch hands the runs to their handlers: one call each, unless there is very much.
func (d *dispatcher) dispatch(now time.Time, runs []Run) {
	t := d.s.cfg.Routes.current()
	for _, r := range runs {
		d.sort(now, t, r)
	}
	for k := range d.runs {
		d.flush(now, Kind(k))
	}
}

// sort finds whose the run is, and splits it where it is of several kinds: datagrams that one source sends on, say, uTP and
// the DHT are joined by the kernel when they have one size.
func (d *dispatcher) sort(now time.Time, t *table, r Run) {
	s := t.source(r.From)
	begin, kind := 0, t.kind(s, r.Data[:min(r.Size, len(r.Data))])
	if d.sight != nil && s == 0 {
		d.sight.look(now, kind, r)
	}
	for at := r.Size; at < len(r.Data); at += r.Size {
		next := t.kind(s, r.Data[at:min(at+r.Size, len(r.Data))])
		if next != kind {
			d.add(now, kind, Run{Via: r.Via, From: r.From, Data: r.Data[begin:at:at], Size: r.Size})
			begin, kind = at, next
		}
	}
	rest := r.Data[begin:]
	d.add(now, kind, Run{Via: r.Via, From: r.From, Data: rest, Size: min(r.Size, len(rest))})
}

func (d *dispatcher) add(now time.Time, k Kind, r Run) {
	if d.runs[k] == nil {
		k = Drop
	}
	d.s.counts.received[k].Add(int64(r.Len()))
	if k == Drop {
		return
	}
	if d.runs[k] = append(d.runs[k], r); len(d.runs[k]) == cap(d.runs[k]) {
		d.flush(now, k)
	}
}

func (d *dispatcher) flush(now time.Time, k Kind) {
	if len(d.runs[k]) == 0 {
		return
	}
	d.s.handlers[k](now, d.runs[k])
	d.runs[k] = d.runs[k][:0]
}
