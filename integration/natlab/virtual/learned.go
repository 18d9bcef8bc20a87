package virtual

import "time"

// maxLearned bounds each map of a router, as "size" does in the rules.
const maxLearned = 65535

// learned is a map that forgets what was not seen for a while (an nft map with timeouts). What it holds of a key stays as
// it is until it is forgotten.
type learned[K comparable, V any] struct {
	entries map[K]*entry[V]
	swept   time.Time
}

type entry[V any] struct {
	value V
	ends  time.Time
}

func (l *learned[K, V]) get(now time.Time, k K) (v V, ok bool) {
	e := l.entries[k]
	if e == nil || !now.Before(e.ends) {
		return v, false
	}
	return e.value, true
}

// see keeps the value of a new key, and a known key for longer. A full map learns nothing.
func (l *learned[K, V]) see(now, ends time.Time, k K, v V) {
	if e := l.entries[k]; e != nil {
		if !now.Before(e.ends) {
			e.value = v
		}
		e.ends = ends
		return
	}
	if len(l.entries) >= maxLearned && !l.sweep(now) {
		return
	}
	if l.entries == nil {
		l.entries = make(map[K]*entry[V])
	}
	l.entries[k] = &entry[V]{v, ends}
}

// sweep forgets what has ended, at most once a second, and reports whether there is room.
func (l *learned[K, V]) sweep(now time.Time) bool {
	if now.Sub(l.swept) < time.Second {
		return false
	}
	l.swept = now
	for k, e := range l.entries {
		if !now.Before(e.ends) {
			delete(l.entries, k)
		}
	}
	return len(l.entries) < maxLearned
}
