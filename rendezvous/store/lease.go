package store

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sys/unix"
)

// The lease keeps two processes from using one external store at once. It is one record, which the holder writes anew every
// leaseBeat by compare-and-swap. No clock is compared with another: who wants it watches the record, and takes it when that
// has not changed for leaseTime; a holder counts itself out before, leaseTime-leaseMargin after it began its last write that
// was acknowledged. At that moment it cuts its connection, which ends the operations under way and discards what has not left
// the machine. After an outage of the server the first write tells the holder whether somebody took the lease meanwhile.
//
// leaseMargin is for what cannot be recalled: what is on its way to the server, or waits there for a disk. A write that is
// under way for longer than that may land after a takeover, as may one of a process or machine that is suspended between its
// look at the clock and the sending: NATS has no write on the condition that a record of another bucket is unchanged.
const (
	leaseTime   = 14 * time.Second // and leaseWatch: after that another has the lease of a process that crashed
	leaseMargin = 4 * time.Second
	leaseBeat   = 3 * time.Second
	leaseWatch  = 500 * time.Millisecond // between looks at a lease that another holds
	leaseBucket = "lease"
	leaseKey    = "holder"
)

// leaseRecord is the lease as it is stored.
type leaseRecord struct {
	Folder   string `json:"folder"`   // id of the holder's folder, or random
	Place    string `json:"place"`    // of the holder's folder; empty: unknown
	Instance string `json:"instance"` // random for each process
	Holder   string `json:"holder"`   // for people
	Beat     uint64 `json:"beat"`
	Released bool   `json:"released,omitempty"` // nobody holds it
}

// lease is held from acquire to release, or until it is lost.
type lease struct {
	store *Store
	kv    jetstream.KeyValue
	lost  chan struct{} // closed when another process took the lease
	stop  context.CancelFunc
	done  chan struct{} // closed when nothing beats any more

	record   leaseRecord // of the beating goroutine, later of release
	revision uint64

	mu    sync.Mutex
	until time.Time   // no other process can have it before
	fence *time.Timer // cuts the connection at until; nil before the lease is taken
	why   error       // it was lost
}

// acquire gets the lease and keeps it alive. It fails with ErrInUse, naming the holder, while that is alive.
func (s *Store) acquire(ctx context.Context) (*lease, error) {
	const what = "opening the store"
	kv, err := s.openKV(ctx, leaseBucket)
	if err != nil {
		return nil, s.explain(ctx, what, err)
	}
	folder, err := folderID(s.dir)
	if err != nil {
		return nil, err
	}
	l := &lease{
		store: s, kv: kv, lost: make(chan struct{}), done: make(chan struct{}),
		record: leaseRecord{Folder: folder, Place: place(s.lock, machineFiles), Instance: rand.Text(), Holder: holderName(s.dir)},
	}
	if err := l.take(ctx); err != nil {
		if errors.Is(err, ErrInUse) {
			return nil, err
		}
		return nil, s.explain(ctx, what, err)
	}
	// Not ctx: the lease is held until release.
	beating, stop := context.WithCancel(context.Background())
	l.stop = stop
	go l.beat(beating)
	return l, nil
}

// take waits for the lease to be free, and for a cluster that is electing a leader.
func (l *lease) take(ctx context.Context) error {
	patience := time.Now().Add(settleTime)
	for {
		err := l.tryTake(ctx)
		if err == nil || ctx.Err() != nil || !isSilence(err) || time.Now().After(patience) {
			return err
		}
	}
}

func (l *lease) tryTake(ctx context.Context) error {
	var seen uint64 // revision of the holder that is watched
	var free time.Time
	for {
		began := time.Now()
		op, end := context.WithTimeout(ctx, leaseBeat)
		e, err := l.kv.Get(op, leaseKey)
		var other leaseRecord
		if err == nil {
			err = json.Unmarshal(e.Value(), &other)
		}
		switch {
		case errors.Is(err, jetstream.ErrKeyNotFound):
			l.revision, err = l.kv.Create(op, leaseKey, l.value())
		case err != nil:
		case other.Released || other.isDead(l.record) || e.Revision() == seen && began.After(free):
			l.revision, err = l.kv.Update(op, leaseKey, l.value(), e.Revision())
		case seen != 0 && e.Revision() != seen:
			err = fmt.Errorf("%w: the store %s is used by another surrogate (%s): stop it first, or back up through it with --data", ErrInUse, l.store.where, other.Holder)
		default:
			if seen == 0 {
				l.store.log.Info("another surrogate used the store last: waiting to see whether it is alive", "holder", other.Holder, "seconds", int(leaseTime/time.Second))
				seen, free = e.Revision(), began.Add(leaseTime)
			}
			if err = sleep(op, leaseWatch); err == nil {
				end()
				continue
			}
		}
		end()
		if err == nil {
			l.extend(began)
			return nil
		}
		if !isRace(err) {
			return err
		}
	}
}

// isDead tells whether the process that held the lease cannot be alive: it held it for the folder that ours has locked now. The
// id alone does not tell, since a copy of the folder, or of the whole machine, has the same.
func (r leaseRecord) isDead(ours leaseRecord) bool {
	return r.Folder == ours.Folder && r.Place != "" && r.Place == ours.Place
}

// isRace tells whether another process wrote the record first.
func isRace(err error) bool {
	return errors.Is(err, jetstream.ErrKeyExists) || errors.Is(err, jetstream.ErrKeyRevisionMismatch)
}

// beat keeps the lease alive until ctx ends or it is lost.
func (l *lease) beat(ctx context.Context) {
	defer close(l.done)
	for sleep(ctx, leaseBeat) == nil {
		if why := l.renew(ctx); why != nil {
			l.mu.Lock()
			l.why = why
			l.mu.Unlock()
			close(l.lost)
			l.store.link.cut()
			return
		}
	}
}

// renew writes the record anew. It returns why the lease is lost, and nil also while the server cannot be asked.
func (l *lease) renew(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, leaseBeat)
	defer cancel()
	began := time.Now()
	l.record.Beat++
	revision, err := l.kv.Update(ctx, leaseKey, l.value(), l.revision)
	if err == nil {
		l.revision = revision
		l.extend(began)
		return nil
	}
	if !isRace(err) {
		return nil
	}
	// Somebody wrote it: another process, or we ourselves and the acknowledgement was lost.
	e, err := l.kv.Get(ctx, leaseKey)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return fmt.Errorf("%w: somebody deleted the lease in bucket %s%s of the NATS server %s: start again when no other surrogate uses it", ErrLost, l.store.prefix, leaseBucket, l.store.where)
	}
	if err != nil {
		return nil
	}
	var other leaseRecord
	if json.Unmarshal(e.Value(), &other) == nil && other.Instance == l.record.Instance {
		l.revision = e.Revision()
		return nil // the next beat extends it
	}
	return fmt.Errorf("%w: another surrogate (%s) uses the store %s now, since this one could not reach it for %v", ErrLost, other.Holder, l.store.where, leaseTime)
}

// release gives the lease back, so that the next process need not wait. It may be called again.
func (l *lease) release() {
	l.stop()
	<-l.done
	l.mu.Lock()
	l.fence.Stop()
	l.mu.Unlock()
	if l.isLost() || l.store.conn.IsClosed() {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), leaseBeat)
	defer cancel()
	l.record.Released = true
	if _, err := l.kv.Update(ctx, leaseKey, l.value(), l.revision); err != nil {
		l.store.log.Info("cannot give the store back: the next surrogate waits some seconds", "error", err)
	}
}

func (l *lease) value() []byte {
	b, _ := json.Marshal(l.record) // strings and a number
	return b
}

func (l *lease) extend(began time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.until = began.Add(leaseTime - leaseMargin)
	if l.fence == nil {
		l.fence = time.AfterFunc(time.Until(l.until), l.store.link.cut)
		return
	}
	l.fence.Reset(time.Until(l.until))
}

// valid tells whether nobody else can have the lease. Both clocks count: the monotonic one stands still while the machine sleeps.
func (l *lease) valid(now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return now.Before(l.until) && now.Round(0).Before(l.until.Round(0))
}

func (l *lease) isLost() bool { return l.err() != nil }

// err returns why the lease was lost.
func (l *lease) err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.why
}

// folderID returns the id of a folder that is locked, and makes one for a new folder.
func folderID(dir string) (string, error) {
	if dir == "" {
		return rand.Text(), nil
	}
	file := filepath.Join(dir, "id")
	b, err := os.ReadFile(file)
	if id := strings.TrimSpace(string(b)); err == nil && id != "" {
		return id, nil
	}
	id := rand.Text()
	if err := os.WriteFile(file, []byte(id+"\n"), 0o600); err != nil {
		return "", folderError(dir, err)
	}
	return id, nil
}

// machineFiles name this installation and its present run. Clones of a machine may have the first in common.
var machineFiles = []string{"/etc/machine-id", "/proc/sys/kernel/random/boot_id"}

// place names the folder of the lock among those of all machines, until the machine is started again. It is empty when that
// cannot be told. machine-id(5) is not to be shown to others, hence the hash.
func place(lock *os.File, files []string) string {
	if lock == nil {
		return ""
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(lock.Fd()), &st); err != nil {
		return ""
	}
	h := sha256.New()
	fmt.Fprintf(h, "simplebit %d %d", st.Dev, st.Ino)
	for _, file := range files {
		b, err := os.ReadFile(file)
		if id := strings.TrimSpace(string(b)); err == nil && id != "" {
			fmt.Fprintf(h, " %s", id)
			continue
		}
		return ""
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// holderName is what other surrogates are told of us.
func holderName(dir string) string {
	host, err := os.Hostname()
	if err != nil {
		host = "a machine without a name"
	}
	name := fmt.Sprintf("%s, process %d", host, os.Getpid())
	if dir != "" {
		name += ", " + dir
	}
	return name
}

// sleep waits, or returns the error of ctx.
func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
