package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"simplebit/rendezvous/apiclient"
)

// watchScript watches a job that is what script says at each time since the
// beginning, in virtual time, and returns the stamped output and how it ended.
func watchScript(t *testing.T, script func(at time.Duration) (apiclient.Job, error), show func(*stampedWriter) display) (out string, took time.Duration, err error) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		w := &stampedWriter{start: start}
		watched := watcher{id: "k3jx7m2q", poll: pollEvery, show: show(w),
			fetch: func(context.Context) (apiclient.Job, error) { return script(time.Since(start)) }}
		_, err = watched.run(t.Context())
		out, took = w.String(), time.Since(start)
	})
	return out, took, err
}

// stampedWriter puts the time of writing before what is written.
type stampedWriter struct {
	start time.Time
	strings.Builder
}

func (w *stampedWriter) Write(b []byte) (int, error) {
	fmt.Fprintf(&w.Builder, "%v %s", time.Since(w.start), b)
	return len(b), nil
}

func lines(w *stampedWriter) display { return &lineDisplay{w: w} }

// growing is a job of 10 MiB that gets 1 MiB/s and is complete after ten seconds.
func growing(at time.Duration) (apiclient.Job, error) {
	job := apiclient.Job{ID: "k3jx7m2q", Size: 10 << 20, Have: int64(at) * (1 << 20) / int64(time.Second), DownRate: 1 << 20,
		State: apiclient.StateDownloading, Peers: make([]apiclient.Peer, 1)}
	if job.Have >= job.Size {
		job.Have, job.State = job.Size, apiclient.StateSeeding
	}
	return job, nil
}

func TestPipedProgressIsAtMostALineASecond(t *testing.T) {
	out, _, err := watchScript(t, func(at time.Duration) (apiclient.Job, error) { return growing(at * 4) }, lines)
	want := `0s 0 B of 10.0 MiB  0.0%  1.0 MiB/s  ETA 10s  1 peer  downloading
1s 4.0 MiB of 10.0 MiB  40.0%  1.0 MiB/s  ETA 6s  1 peer  downloading
2s 8.0 MiB of 10.0 MiB  80.0%  1.0 MiB/s  ETA 2s  1 peer  downloading
2.5s 10.0 MiB of 10.0 MiB  100%  1 peer  seeding
`
	if err != nil || out != want {
		t.Errorf("%v\n%swant\n%s", err, out, want)
	}
}

func TestUnchangedProgressIsNotRepeated(t *testing.T) {
	out, took, err := watchScript(t, func(at time.Duration) (apiclient.Job, error) {
		if at < time.Hour {
			return apiclient.Job{State: apiclient.StateWaiting, Message: "the device attic is offline"}, nil
		}
		return growing(time.Hour)
	}, lines)
	want := "0s waiting: the device attic is offline\n1h0m0s 10.0 MiB of 10.0 MiB  100%  1 peer  seeding\n"
	if err != nil || out != want || took != time.Hour {
		t.Errorf("%v after %v\n%swant\n%s", err, took, out, want)
	}
}

func TestBarIsRewrittenTwiceASecond(t *testing.T) {
	out, _, err := watchScript(t, func(at time.Duration) (apiclient.Job, error) { return growing(at * 10) },
		func(w *stampedWriter) display { return &barDisplay{w: w, width: func() int { return 80 }} })
	want := "0s \r[>                   ]  0.0%  1.0 MiB/s  ETA 10s  1 peer  downloading\x1b[K" +
		"500ms \r[==========>         ]  50.0%  1.0 MiB/s  ETA 5s  1 peer  downloading\x1b[K" +
		"1s \r[====================]  100%  1 peer  seeding\x1b[K1s \n"
	if err != nil || out != want {
		t.Errorf("%v\n%q\nwant\n%q", err, out, want)
	}
}

func TestWatchingOutlivesARestartOfTheSurrogate(t *testing.T) {
	for _, away := range []error{
		fmt.Errorf("%w at http://box: connection refused", apiclient.ErrUnreachable),
		&apiclient.Error{Status: http.StatusServiceUnavailable, Message: "starting"},
	} {
		out, _, err := watchScript(t, func(at time.Duration) (apiclient.Job, error) {
			if at > time.Second && at < 4*time.Second {
				return apiclient.Job{}, away
			}
			return growing(at * 2)
		}, lines)
		want := `0s 0 B of 10.0 MiB  0.0%  1.0 MiB/s  ETA 10s  1 peer  downloading
1s 2.0 MiB of 10.0 MiB  20.0%  1.0 MiB/s  ETA 8s  1 peer  downloading
2s no answer from the surrogate for 1s; trying again
3s no answer from the surrogate for 2s; trying again
4s 8.0 MiB of 10.0 MiB  80.0%  1.0 MiB/s  ETA 2s  1 peer  downloading
5s 10.0 MiB of 10.0 MiB  100%  1 peer  seeding
`
		if err != nil || out != want {
			t.Errorf("%v\n%swant\n%s", err, out, want)
		}
	}
}

func TestWatchingEndsWhenTheSurrogateStaysAway(t *testing.T) {
	_, took, err := watchScript(t, func(at time.Duration) (apiclient.Job, error) {
		if at > 0 {
			return apiclient.Job{}, apiclient.ErrUnreachable
		}
		return growing(0)
	}, lines)
	if !errors.Is(err, apiclient.ErrUnreachable) || took < patience || took > patience+2*time.Second {
		t.Errorf("%v after %v", err, took)
	}
}

func TestWatchingEndsAtOnceWhenThereIsNothingToWaitFor(t *testing.T) {
	for _, row := range []struct {
		job  apiclient.Job
		err  error
		want string
	}{
		{apiclient.Job{}, apiclient.ErrUnreachable, "cannot reach the surrogate"},
		{apiclient.Job{}, &apiclient.Error{Status: 404, Message: "there is no job"}, "job k3jx7m2q was removed"},
		{apiclient.Job{}, &apiclient.Error{Status: 401, Message: "wrong token"}, "wrong token"},
		{apiclient.Job{ID: "x", State: apiclient.StateRemoving}, nil, "job x was removed"},
		{apiclient.Job{ID: "x", State: apiclient.StateFailed, Error: "no pieces"}, nil, "job x failed: no pieces"},
		{apiclient.Job{ID: "x", State: apiclient.StatePaused, Error: "disk full"}, nil, "job x is paused: disk full"},
		{apiclient.Job{ID: "x", State: apiclient.StatePaused, Size: 5, Have: 5}, nil, ""},
		{apiclient.Job{ID: "x", State: apiclient.StatePaused, Size: 5, Have: 4}, nil, ""},
		{apiclient.Job{ID: "x", State: apiclient.StateSeeding}, nil, ""},
		{apiclient.Job{ID: "x", State: apiclient.StateFinished}, nil, ""},
	} {
		_, took, err := watchScript(t, func(time.Duration) (apiclient.Job, error) { return row.job, row.err }, lines)
		got := ""
		if err != nil {
			got = err.Error()
		}
		if got != row.want || took != 0 {
			t.Errorf("%q after %v, want %q", got, took, row.want)
		}
	}
}

func TestWatchingEndsWhenAPersonPausesTheJob(t *testing.T) {
	out, took, err := watchScript(t, func(at time.Duration) (apiclient.Job, error) {
		job, err := growing(at)
		if at >= 3*time.Second {
			job.State, job.Message, job.Peers = apiclient.StatePaused, "paused", nil
		}
		return job, err
	}, lines)
	if err != nil || took != 3*time.Second || !strings.HasSuffix(out, "3s 3.0 MiB of 10.0 MiB  30.0%  paused\n") {
		t.Errorf("%v after %v\n%s", err, took, out)
	}
}

func TestTheEndOfWatchingIsASentence(t *testing.T) {
	for _, row := range []struct {
		job  apiclient.Job
		want string
	}{
		{apiclient.Job{State: "seeding", Size: 100, Have: 100}, "iso is complete on device:attic: 100 B"},
		{apiclient.Job{State: "seeding", Size: 100, Have: 45, Selected: 40, SelectedHave: 40}, "all that is wanted of iso is on device:attic: 40 B"},
		{apiclient.Job{State: "finished", Size: 100, Have: 100, Message: "finished: seeded to ratio 2.0"},
			"iso is complete on device:attic: 100 B; finished: seeded to ratio 2.0"},
		{apiclient.Job{State: "paused", Size: 100, Have: 40}, "iso is paused; `simplebit resume k3jx7m2q` lets it go on"},
		{apiclient.Job{State: "paused"}, "iso is paused; `simplebit resume k3jx7m2q` lets it go on"},
		{apiclient.Job{State: "paused", Size: 100, Have: 45, Selected: 40, SelectedHave: 39}, "iso is paused; `simplebit resume k3jx7m2q` lets it go on"},
		{apiclient.Job{State: "paused", Size: 100, Have: 100}, "iso is complete on device:attic: 100 B"},
	} {
		row.job.ID, row.job.Name, row.job.Target = "k3jx7m2q", "iso", "device:attic"
		if got := formatEnd(row.job); got != row.want {
			t.Errorf("%q, want %q", got, row.want)
		}
	}
}

func TestInterruptedWatchingIsNoEndOfTheJob(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 1200*time.Millisecond)
		defer cancel()
		start := time.Now()
		w := watcher{id: "k3jx7m2q", poll: pollEvery, show: &lineDisplay{w: &strings.Builder{}},
			fetch: func(ctx context.Context) (apiclient.Job, error) {
				if ctx.Err() != nil {
					return apiclient.Job{}, ctx.Err()
				}
				return growing(time.Since(start))
			}}
		_, err := w.run(ctx)
		want := "stopped watching; the job goes on, and `simplebit watch k3jx7m2q` shows it again"
		if err == nil || err.Error() != want || time.Since(start) != 1200*time.Millisecond {
			t.Errorf("%v after %v", err, time.Since(start))
		}
	})
}
