package job

import (
	"context"
	"crypto/sha1"
	"fmt"
	"maps"
	"net/netip"
	"sync"
	"testing"
	"time"

	"simplebit/wire/control"
)

const patience = time.Minute // for what must happen

// world is everything around the jobs, in memory; it outlives a Manager.
type world struct {
	t        *testing.T
	mu       sync.Mutex
	records  map[string]Record
	infos    map[string][]byte
	devices  map[string]Device
	sent     []control.Candidates
	changed  int
	endpoint netip.AddrPort // of every device
	members  []*fakeMember
	puts     int       // of records
	deletes  int       // that were tried, of records and descriptions
	full     error     // what the store says to a Put
	stuck    error     // and to a Delete
	hold     chan bool // what a Put waits for, unless nil
	held     int       // Puts that have begun to wait
}

const attic = "attic-id"

func newWorld(t *testing.T) *world {
	return &world{
		t: t, records: map[string]Record{}, infos: map[string][]byte{},
		devices: map[string]Device{attic: {ID: attic, Name: "attic", Online: true}},
	}
}

func (w *world) open() *Manager {
	w.t.Helper()
	m, err := Open(context.Background(), Config{
		Store: recordStore{w}, Infos: infoStore{w}, Swarms: w, Devices: w,
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(m.Close)
	return m
}

type recordStore struct{ *world }

func (s recordStore) Put(ctx context.Context, id string, r Record) error {
	s.mu.Lock()
	hold := s.hold
	if hold != nil {
		s.held++
	}
	s.mu.Unlock()
	if hold != nil {
		<-hold
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.puts++
	if err := ctx.Err(); err != nil {
		return err
	}
	if s.full != nil {
		return s.full
	}
	s.records[id] = r
	return nil
}

// stored is a job's record.
func (w *world) stored(id string) Record {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.records[id]
}

// wear is what the store and others were asked to do so far.
func (w *world) wear() (puts, deletes, changed, joined int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.puts, w.deletes, w.changed, len(w.members)
}

func (s recordStore) Delete(_ context.Context, id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.deletes++
	if s.stuck != nil {
		return s.stuck
	}
	delete(s.records, id)
	return nil
}

func (s recordStore) All(context.Context) (map[string]Record, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.records), nil
}

type infoStore struct{ *world }

func (s infoStore) Put(_ context.Context, key string, b []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.infos[key] = b
	return nil
}

func (s infoStore) Get(_ context.Context, key string) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if b, ok := s.infos[key]; ok {
		return b, nil
	}
	return nil, ErrNotFound
}

func (s infoStore) Delete(_ context.Context, key string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.deletes++
	delete(s.infos, key)
	return nil
}

// fakeMember is a job's part in a swarm.
type fakeMember struct {
	Participation
	w    *world
	told told // under the world's lock
}

// told is what a swarm was told by a job.
type told struct {
	pokes, offers, completed int // calls: Hungry(true), Offer, Completed
	hungry, left             bool
	endpoint                 netip.AddrPort
	infoSize                 int // by Known
	unusable                 []control.UnusablePeer
}

// now is what the job has told so far.
func (f *fakeMember) now() told {
	f.w.mu.Lock()
	defer f.w.mu.Unlock()
	return f.told
}

func (f *fakeMember) Known(size int, _ bool) { f.w.locked(func() { f.told.infoSize = size }) }

func (f *fakeMember) Hungry(hungry bool) {
	f.w.locked(func() {
		if f.told.hungry = hungry; hungry {
			f.told.pokes++
		}
	})
}

func (f *fakeMember) Offer()                     { f.w.locked(func() { f.told.offers++ }) }
func (f *fakeMember) Endpoint(at netip.AddrPort) { f.w.locked(func() { f.told.endpoint = at }) }
func (f *fakeMember) Completed()                 { f.w.locked(func() { f.told.completed++ }) }
func (f *fakeMember) Leave()                     { f.w.locked(func() { f.told.left = true }) }
func (f *fakeMember) Unusable(l []control.UnusablePeer) {
	f.w.locked(func() { f.told.unusable = append(f.told.unusable, l...) })
}

func (f *fakeMember) Status() SwarmStatus { return SwarmStatus{Known: 7, Reachable: 2} }

// find gives the job what a swarm finds.
func (f *fakeMember) find(addrs ...string) {
	var list []control.Candidate
	for _, a := range addrs {
		list = append(list, control.Candidate{Addr: netip.MustParseAddrPort(a), Kind: control.CandidateReachable})
	}
	f.Candidates(list)
}

// Join has the member begin as a swarm does, which asks for figures at once.
func (w *world) Join(p Participation) Member {
	f := &fakeMember{Participation: p, w: w}
	p.Stats()
	w.locked(func() { w.members = append(w.members, f) })
	return f
}

// member is the newest one.
func (w *world) member() *fakeMember {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.members) == 0 {
		w.t.Fatal("no job has joined a swarm")
	}
	return w.members[len(w.members)-1]
}

func (w *world) Resolve(_ context.Context, name string) (Device, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, d := range w.devices {
		if d.Name == name {
			return d, nil
		}
	}
	return Device{}, errorf(ErrNotFound, "there is no device "+name)
}

func (w *world) Lookup(id string) Device {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.devices[id]
}

func (w *world) Endpoint(string) netip.AddrPort {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.endpoint
}

func (w *world) Changed(string) { w.locked(func() { w.changed++ }) }

func (w *world) Candidates(_ string, c control.Candidates) {
	w.locked(func() { w.sent = append(w.sent, c) })
}

func (w *world) locked(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f()
}

// eventually waits for a condition that other goroutines bring about.
func (w *world) eventually(what string, ok func() bool) {
	w.t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			w.t.Fatalf("never: %s", what)
		}
	}
}

// torrentInfo is an info dictionary of one file of 16 bytes.
var torrentInfo = func() []byte {
	h := sha1.Sum([]byte("sixteen bytes !!"))
	return []byte(fmt.Sprintf("d6:lengthi16e4:name5:a.txt12:piece lengthi16384e6:pieces20:%se", h[:]))
}()

var infoHash = InfoHash(sha1.Sum(torrentInfo))

var magnet = "magnet:?xt=urn:btih:" + infoHash.String() + "&dn=wish&tr=http://tracker.example/announce"

func (w *world) add(m *Manager) View {
	w.t.Helper()
	v, err := m.Add(context.Background(), New{Magnet: magnet, Target: "device:attic"})
	if err != nil {
		w.t.Fatal(err)
	}
	return v
}

// get is the job's view once it satisfies ok.
func (w *world) get(m *Manager, id, what string, ok func(View) bool) View {
	w.t.Helper()
	var v View
	w.eventually(what, func() bool {
		var err error
		v, err = m.Get(id)
		return err == nil && ok(v)
	})
	return v
}

// withInfo adds a job whose info dictionary has come.
func (w *world) withInfo(m *Manager) View {
	w.t.Helper()
	v := w.add(m)
	w.member().Learned(torrentInfo)
	return w.get(m, v.ID, "metadata is there", func(v View) bool { return v.Size == 16 })
}

func (w *world) report(m *Manager, v View, state control.State, change func(*control.Progress)) {
	p := control.Progress{ID: v.InfoHash, Generation: v.Generation, State: state, Size: 16}
	if change != nil {
		change(&p)
	}
	m.Observed(attic, p)
}

// taken is the number of messages with addresses that devices were sent.
func (w *world) taken() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.sent)
}
