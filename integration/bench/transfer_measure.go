//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"simplebit/integration/natlab"
	"simplebit/integration/programs"
)

const (
	firstBytes = 32 << 10 // on the cable: the handshake is over and content flows
	meterEvery = 2 * time.Millisecond
)

// transfer is what one leecher did once.
type transfer struct {
	size      int64
	wall      time.Duration // from the first bytes on the cable until all was verified
	whole     time.Duration // from the moment that the leecher got the torrent
	cpu       time.Duration // of the leecher, from its start
	seederCPU time.Duration // meanwhile
	memory    int64
	err       error // why there are no figures
}

func (t transfer) String() string {
	if t.err != nil {
		return t.err.Error()
	}
	return fmt.Sprintf("%.2f s (with start %.2f s), %.2f s CPU, seeder %.2f s, %d MiB", t.wall.Seconds(), t.whole.Seconds(),
		t.cpu.Seconds(), t.seederCPU.Seconds(), t.memory/mebibyte)
}

// user is a running program whose use of the machine can be read.
type user interface {
	Usage() (programs.Usage, error)
}

// meter looks at what has come by a host's cable.
type meter struct {
	file  *os.File
	came  atomic.Int64
	first atomic.Pointer[time.Time]
	stop  context.CancelFunc
	ended chan struct{}
}

func newMeter(host *natlab.Host) (*meter, error) {
	f, err := host.OpenCounters()
	if err != nil {
		return nil, err
	}
	m := &meter{file: f, ended: make(chan struct{})}
	before, err := m.read()
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	ctx, stop := context.WithCancel(context.Background())
	m.stop = stop
	go func() {
		defer close(m.ended)
		ticker := time.NewTicker(meterEvery)
		defer ticker.Stop()
		for ctx.Err() == nil {
			now := <-ticker.C
			n, err := m.read()
			if err != nil {
				return
			}
			m.came.Store(n - before)
			if n-before >= firstBytes && m.first.Load() == nil {
				m.first.Store(&now)
			}
		}
	}()
	return m, nil
}

func (m *meter) close() {
	m.stop()
	<-m.ended
	m.file.Close()
}

// read returns how many bytes the cable has brought.
func (m *meter) read() (int64, error) {
	var table [4096]byte
	n, err := m.file.ReadAt(table[:], 0)
	_, line, found := bytes.Cut(table[:n], []byte("eth0:"))
	if !found {
		return 0, errors.Join(errors.New("no eth0"), err)
	}
	var came int64
	_, err = fmt.Sscan(string(bytes.TrimSpace(line)), &came)
	return came, err
}

// measure times a leecher: start gives it the torrent, and complete waits until it has all, and tells since when.
func (st *stage) measure(
	ctx context.Context, seeder user, content string,
	start func(context.Context) (user, error), complete func(context.Context, user, *meter) (time.Time, error),
) (t transfer, err error) {
	m, err := newMeter(st.leecher)
	if err != nil {
		return t, err
	}
	defer m.close()
	before, err := seeder.Usage()
	if err != nil {
		return t, err
	}
	began := time.Now()
	leecher, err := start(ctx)
	if err != nil {
		return t, err
	}
	end, err := complete(ctx, leecher, m)
	if err != nil {
		return t, err
	}
	use, errUse := leecher.Usage()
	after, errSeeder := seeder.Usage()
	if err := errors.Join(errUse, errSeeder); err != nil {
		return t, err
	}
	if came := m.came.Load(); came < st.size {
		return t, fmt.Errorf("only %d bytes came by the cable", came)
	}
	return transfer{
		wall: end.Sub(*m.first.Load()), whole: end.Sub(began), cpu: use.CPU, memory: use.PeakRSS, seederCPU: after.CPU - before.CPU,
	}, st.same(content)
}

// transport fails unless the content came by the transport that the row is about: every datagram, however many the kernel joined, is
// at most 64 KiB, and who uses TCP gets none but those of the DHT.
func (st *stage) transport(udp bool) error {
	var table []byte
	err := st.leecher.Do(func() (err error) {
		table, err = os.ReadFile("/proc/thread-self/net/snmp")
		return err
	})
	if err != nil {
		return err
	}
	_, numbers, _ := bytes.Cut(table, []byte("\nUdp: InDatagrams"))
	_, numbers, _ = bytes.Cut(numbers, []byte("\nUdp: "))
	var datagrams int64
	if _, err := fmt.Sscan(string(numbers), &datagrams); err != nil {
		return fmt.Errorf("the kernel's count of datagrams: %w", err)
	}
	if came := datagrams >= st.size>>16; came != udp {
		return fmt.Errorf("the content came by another transport: %d datagrams for %d bytes", datagrams, st.size)
	}
	return nil
}

// driven waits for a program that says itself when it is complete.
func driven(ctx context.Context, u user, _ *meter) (time.Time, error) {
	return u.(*programs.Driver).Await(ctx, programs.Complete)
}

// asked waits for one of our agents, which has to be asked: seldom while it has to work, then often.
func (st *stage) asked(ctx context.Context, u user, m *meter) (time.Time, error) {
	a := u.(*agent)
	if end, ok := ctx.Deadline(); ok { // everything ends with ctx, also those who know why it took so long
		early, cancel := context.WithDeadlineCause(ctx, end.Add(-2*time.Second), errors.New("time is up"))
		defer cancel()
		ctx = early
	}
	for {
		wait := 200 * time.Millisecond
		if m.came.Load() >= st.size {
			wait = 5 * time.Millisecond
			s, err := a.Agent.Status()
			if err != nil {
				return time.Time{}, a.explain(err)
			}
			for _, t := range s.Torrents {
				if t.InfoHash == a.hash && t.Have == st.size {
					return time.Now(), nil
				}
			}
		}
		select {
		case <-ctx.Done():
			return time.Time{}, a.explain(fmt.Errorf("%d bytes came: %w", m.came.Load(), context.Cause(ctx)))
		case <-a.Done():
			return time.Time{}, a.explain(errors.New("the agent has ended"))
		case <-time.After(wait):
		}
	}
}

// explain adds the job's own words.
func (a *agent) explain(err error) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if j, failed := a.home.API().Job(ctx, a.job); failed == nil {
		return fmt.Errorf("%w; its job is %s, %d of %d bytes, %d peers: %s", err, j.State, j.Have, j.Size, len(j.Peers), j.Message)
	}
	return err
}
