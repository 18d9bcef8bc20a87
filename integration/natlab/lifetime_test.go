//go:build linux

package natlab_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"simplebit/integration/natlab"
)

// twoHomes builds a lab of two homes with a device each.
func twoHomes(kind natlab.Kind) (lab *natlab.Lab, devices [2]*natlab.Host, err error) {
	if lab, err = natlab.New(natlab.Config{}); err != nil {
		return nil, devices, err
	}
	for i := range devices {
		home, err := lab.Router(fmt.Sprintf("home%d", i), natlab.RouterConfig{Kind: kind})
		if err == nil {
			devices[i], err = home.Host(fmt.Sprintf("device%d", i))
		}
		if err != nil {
			return nil, devices, errors.Join(err, lab.Close())
		}
	}
	return lab, devices, nil
}

func TestTwoHomesAreUpAndDownInTime(t *testing.T) {
	natlab.Require(t)
	// Others may be using the machine: one of a few goes has to be fast.
	const up, down = 1500 * time.Millisecond, 500 * time.Millisecond
	var said []string
	for first := time.Now(); len(said) == 0 || time.Since(first) < patience; {
		began := time.Now()
		lab, _, err := twoHomes(natlab.PortRestricted)
		if err != nil {
			t.Fatal(err)
		}
		isUp := time.Now()
		if err := lab.Close(); err != nil {
			t.Fatal(err)
		}
		tookUp, tookDown := isUp.Sub(began), time.Since(isUp)
		said = append(said, fmt.Sprintf("up %v, down %v", tookUp.Round(time.Millisecond), tookDown.Round(100*time.Microsecond)))
		if tookUp < up && tookDown < down {
			t.Log(said)
			return
		}
	}
	t.Errorf("two homes: %v; want up in %v, down in %v", said, up, down)
}

// remains are what labs leave if they leave anything.
type remains struct {
	names                           []string // of files and processes
	mounts, descriptors, goroutines int
}

// none reports whether there is nothing that was not there before. Something of that may have ended since.
func (r remains) none(before remains) bool {
	isNew := func(name string) bool { return !slices.Contains(before.names, name) }
	return !slices.ContainsFunc(r.names, isNew) && r.mounts <= before.mounts && r.descriptors <= before.descriptors &&
		r.goroutines <= before.goroutines
}

// traces finds what labs may have left.
func traces(t *testing.T) (left remains) {
	t.Helper()
	for _, pattern := range []string{"/run/*", "/run/netns/*", "/proc/[0-9]*/cmdline"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		left.names = append(left.names, files...)
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	left.mounts, left.descriptors, left.goroutines = strings.Count(string(mounts), "\n"), len(fds), runtime.NumGoroutine()
	return left
}

func TestFortyLabsInARowLeaveNothing(t *testing.T) {
	natlab.Require(t)
	// Pipes to what is run may be pollable, and the poller has descriptors of its own.
	if lab, _, err := twoHomes(natlab.Mapping); err != nil || lab.Close() != nil {
		t.Fatal(err)
	}
	waitFor(t, "no process of other tests", func() bool { return zombies() == 0 })
	before := traces(t)
	// As root the same is done again by an ordinary user.
	labs := 40
	if !ownUsers(t) {
		labs = 10
	}
	var ids []string
	for i := range labs {
		kind := natlab.FullCone
		if i%10 == 9 {
			kind = natlab.Mapping
		}
		lab, devices, err := twoHomes(kind)
		if err != nil {
			t.Fatal(err)
		}
		cmd := devices[0].Command(t.Context(), "sh", "-c", "setsid sleep 1000 & exec sleep 1000")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		err = devices[1].Do(func() error {
			id, err := os.Readlink("/proc/thread-self/ns/net")
			ids = append(ids, id)
			return err
		})
		if err := errors.Join(err, lab.Close()); err != nil {
			t.Fatal(err)
		}
		cmd.Wait()
	}
	waitFor(t, "nothing left", func() bool { return traces(t).none(before) || t.Failed() })
	for _, id := range ids {
		if threads := inNamespace(id); len(threads) > 0 {
			t.Errorf("threads %v are still in %s", threads, id)
		}
	}
	limitNamespaces(t)
}

// ownUsers reports whether this process is in a user namespace of its own, as those of ordinary users are.
func ownUsers(t *testing.T) bool {
	t.Helper()
	m, err := os.ReadFile("/proc/self/uid_map")
	if err != nil {
		t.Fatal(err)
	}
	return !slices.Equal(strings.Fields(string(m)), []string{"0", "0", "4294967295"})
}

// limitNamespaces proves that the kernel freed the namespaces: a few are enough for another lab. It can be told so in a
// user namespace of our own only.
func limitNamespaces(t *testing.T) {
	t.Helper()
	if !ownUsers(t) {
		return
	}
	const file = "/proc/sys/user/max_net_namespaces"
	limit, err := os.ReadFile(file)
	if err == nil {
		err = os.WriteFile(file, []byte("8"), 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer os.WriteFile(file, limit, 0)
	waitFor(t, "a lab of five namespaces where eight are allowed", func() bool {
		lab, _, err := twoHomes(natlab.PortRestricted)
		return err == nil && lab.Close() == nil
	})
}

func TestTenLabsSideBySide(t *testing.T) {
	natlab.Require(t)
	t.Parallel()
	const n = 10
	var labs [n]*natlab.Lab
	var devices [n][2]*natlab.Host
	var errs [n]error
	var done sync.WaitGroup
	for i := range n {
		done.Go(func() { labs[i], devices[i], errs[i] = twoHomes(natlab.FullCone) })
	}
	done.Wait()
	for i, lab := range labs {
		if errs[i] != nil {
			t.Error(errs[i])
			continue
		}
		defer lab.Close()
		s := &street{t: t, lab: lab}
		server, err := lab.Host("server")
		if err != nil {
			t.Fatal(err)
		}
		for j := range s.servers {
			s.servers[j] = s.socket(server)
		}
		a, b := s.socketAt(devices[i][0], 6881), s.socketAt(devices[i][1], 6881)
		s.seen(a, 0)
		to := s.seen(b, 0)
		s.send(a, to, fmt.Sprint("lab ", i))
		if _, before := s.expect(b, fmt.Sprint("lab ", i)); len(before) > 0 {
			t.Errorf("lab %d got %q", i, before)
		}
	}
}
