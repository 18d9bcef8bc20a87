// Package relay joins devices that have no path to each other: it opens a stream to either and passes on what comes.
//
//	device ══ stream ══▶ surrogate ◀══ stream ══ device
//
// What passes is the BitTorrent peer protocol between the two, which it does not look into. It counts the bytes for each device
// and torrent, and holds every device to a rate, over both directions and all its relayed connections together.
//
// A connection takes one buffer of at most 16 KiB in either direction and two goroutines, beside what the streams hold; there are
// at most MaxTotal. It ends when either device ends its stream or is disconnected, when a device takes nothing or neither says
// anything for three minutes, with the torrent (see Forget), and when its place is needed (see Stop).
package relay

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"simplebit/wire/control"
	"simplebit/wire/link"
)

// How many relayed connections there are at most. Whoever starts them is expected to know.
const (
	MaxPerDevice = 4
	MaxTotal     = 256
)

// MinRate is the least rate, in bytes a second: with less, peers would give up before a block of 16 KiB is through.
const MinRate = 1 << 10

const (
	openTime   = 5 * time.Second // for both streams
	idleTime   = 3 * time.Minute // of silence of both devices, or in which one takes nothing; peers say something every two minutes
	lingerTime = 5 * time.Second // for the rest, after one device has said that it sends no more
	bufferSize = 16 << 10        // in either direction
)

// Why a connection was not made, or has ended. Any other reason is that of a stream.
var (
	ErrOff       = errors.New("this surrogate relays nothing")
	ErrBusy      = errors.New("too many connections are relayed")
	ErrTwice     = errors.New("the two are relayed already")
	ErrIdle      = errors.New("nothing was said for minutes")
	ErrForgotten = errors.New("the torrent is not held any more")
	ErrReplaced  = errors.New("others have more need of its place")
	ErrClosed    = errors.New("the surrogate stops")
)

// Side is one of two devices that are joined.
type Side struct {
	Device control.DeviceID
	Name   string         // for people
	Addr   netip.AddrPort // where the surrogate sees it, for people
}

// Config configures Relays.
type Config struct {
	// Rate is what one device may move, in bytes a second, in both directions and all its connections together; a device that
	// was quiet may move a quarter of a second's worth at once. MinRate at least; 0: nothing is relayed.
	Rate int64

	// UserRate is what all devices of one user may move together, each byte counted once; MinRate at least, with the same burst. All
	// devices are one user's, the administrator's. 0: no more than their own rates hold them.
	UserRate int64

	// Open opens a stream to a device and writes the header. It is required, and gives up when ctx ends.
	Open func(ctx context.Context, device control.DeviceID, header control.Relay) (link.Stream, error)

	// Ended is called once for every Start, from another goroutine, when the connection has ended or could not be made, and why;
	// nil: a device ended it. It may wait. Nil: nobody is told.
	Ended func(dialer, answerer control.DeviceID, torrent [20]byte, err error)

	Log *slog.Logger // nil: none

	maxCounts int // default maxCounts
}

// Relays is the relayed connections. Any goroutine may call its methods.
type Relays struct {
	cfg     Config
	running sync.WaitGroup

	mu          sync.Mutex
	closed      bool
	user        bucket // of a rate of 0: none
	devices     map[control.DeviceID]*device
	connections map[*connection]bool
	counts      counts
	totals      Totals
}

// Totals is over all devices, since New.
type Totals struct {
	Bytes   int64 // passed on
	Live    int   // connections
	Started int64 // connections whose streams were opened
	Refused int64 // by the limits, or because nothing is relayed
}

// device is what is known of one while it is relayed, and until its bucket is full again.
type device struct {
	bucket      bucket
	connections int
}

// New returns Relays without connections.
func New(cfg Config) *Relays {
	cfg.Log = cmp.Or(cfg.Log, slog.New(slog.DiscardHandler))
	cfg.maxCounts = cmp.Or(cfg.maxCounts, maxCounts)
	if cfg.Rate > 0 {
		cfg.Rate = max(cfg.Rate, MinRate)
	}
	if cfg.UserRate > 0 {
		cfg.UserRate = max(cfg.UserRate, MinRate)
	}
	if cfg.Ended == nil {
		cfg.Ended = func(control.DeviceID, control.DeviceID, [20]byte, error) {}
	}
	return &Relays{cfg: cfg, user: bucket{rate: cfg.UserRate}, devices: map[control.DeviceID]*device{}, connections: map[*connection]bool{}, counts: counts{}}
}

// Start joins two devices for a torrent, of which the first sends its handshake first. It does not wait, and does nothing after
// Close.
func (r *Relays) Start(dialer, answerer Side, torrent [20]byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return
	}
	began := time.Now()
	c, err := r.add(began, dialer, answerer, torrent)
	r.running.Go(func() {
		var carried int64
		if err == nil {
			err = r.run(c)
			carried = r.remove(time.Now(), c)
		}
		r.cfg.Log.Info("two devices are no longer relayed", "device", dialer.Name, "peer", answerer.Name, "torrent", hex.EncodeToString(torrent[:]),
			"bytes", carried, "took", time.Since(began).Round(time.Millisecond), "err", err)
		r.cfg.Ended(dialer.Device, answerer.Device, torrent, err)
	})
}

// add makes a connection, if there is room. r.mu is held.
func (r *Relays) add(now time.Time, dialer, answerer Side, torrent [20]byte) (*connection, error) {
	c := &connection{sides: [2]Side{dialer, answerer}, torrent: torrent}
	c.ctx, c.end = context.WithCancelCause(context.Background())
	for other := range r.connections {
		if other.torrent == torrent && other.joins(dialer.Device) && other.joins(answerer.Device) {
			return nil, ErrTwice
		}
	}
	err := r.room(now, c)
	if err != nil {
		r.totals.Refused++
		return nil, err
	}
	for i, s := range c.sides {
		d := r.devices[s.Device]
		if d == nil {
			d = &device{bucket: bucket{rate: r.cfg.Rate}}
			r.devices[s.Device] = d
		}
		d.connections++
		c.devices[i] = d
		c.counts[i] = r.counts.use(now, share{s.Device, torrent}, r.cfg.maxCounts)
	}
	r.connections[c] = true
	return c, nil
}

// room says why there is none for a connection, and forgets devices that have none any more. r.mu is held.
func (r *Relays) room(now time.Time, c *connection) error {
	if r.cfg.Rate <= 0 {
		return ErrOff
	}
	for id, d := range r.devices {
		if d.connections == 0 && d.bucket.full(now) {
			delete(r.devices, id)
		}
	}
	if len(r.connections) >= MaxTotal {
		return fmt.Errorf("%w: %d in all", ErrBusy, MaxTotal)
	}
	for _, s := range c.sides {
		if d := r.devices[s.Device]; d != nil && d.connections >= MaxPerDevice {
			return fmt.Errorf("%w: %d with %s", ErrBusy, MaxPerDevice, s.Name)
		}
	}
	return nil
}

// remove forgets a connection and returns how many bytes it has carried.
func (r *Relays) remove(now time.Time, c *connection) (carried int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.connections, c)
	for i, s := range c.sides {
		c.devices[i].connections--
		r.counts.release(now, share{s.Device, c.torrent}, c.counts[i])
	}
	return c.carried
}

// Counts returns how many bytes were relayed to a device and from it, for a torrent.
func (r *Relays) Counts(device control.DeviceID, torrent [20]byte) (down, up int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if n := r.counts[share{device, torrent}]; n != nil {
		return n.down, n.up
	}
	return 0, 0
}

// Carried returns how many bytes the connection of two devices for a torrent has passed on so far, whoever dialled; 0: there is none.
func (r *Relays) Carried(x, y control.DeviceID, torrent [20]byte) int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	for c := range r.connections {
		if c.torrent == torrent && c.joins(x) && c.joins(y) {
			return c.carried
		}
	}
	return 0
}

// Totals returns the sums over all devices.
func (r *Relays) Totals() Totals {
	r.mu.Lock()
	defer r.mu.Unlock()
	t := r.totals
	t.Live = len(r.connections)
	return t
}

// Forget drops the device's count for a torrent that it does not hold any more, and ends its connections for it.
func (r *Relays) Forget(device control.DeviceID, torrent [20]byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.counts, share{device, torrent})
	for c := range r.connections {
		if c.torrent == torrent && c.joins(device) {
			c.end(ErrForgotten)
		}
	}
}

// Stop ends the connection of two devices for a torrent, in either order, with ErrReplaced. It does not wait, and does nothing if
// there is none.
func (r *Relays) Stop(x, y control.DeviceID, torrent [20]byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for c := range r.connections {
		if c.torrent == torrent && c.joins(x) && c.joins(y) {
			c.end(ErrReplaced)
		}
	}
}

// Close ends all connections and waits until their ends were told. Nothing is relayed any more.
func (r *Relays) Close() {
	r.mu.Lock()
	r.closed = true
	for c := range r.connections {
		c.end(ErrClosed)
	}
	r.mu.Unlock()
	r.running.Wait()
}
