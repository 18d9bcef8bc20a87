package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/urfave/cli/v2"

	"simplebit/rendezvous/apiclient"
)

const (
	pollEvery = 500 * time.Millisecond
	// patience is how long a surrogate may be away, for example to restart, before
	// watching ends with an error.
	patience = time.Minute
)

func (p *program) watchCommand() *cli.Command {
	return &cli.Command{
		Name: "watch", Usage: "show a job's progress until it is done", ArgsUsage: "JOB",
		Description: "On a terminal the progress is one line with a bar, otherwise a line whenever it\n" +
			"changed, at most one a second; with --json each line is a job. The exit status\n" +
			"is 0 when all that is wanted is there, and when the job is paused by a person.\n" +
			"Ctrl-C ends the watching and not the job.",
		Action: func(c *cli.Context) error {
			client, job, err := p.namedJob(c)
			if err != nil {
				return err
			}
			return p.watchJob(c, client, job.ID)
		},
	}
}

func (p *program) watchJob(c *cli.Context, client *apiclient.Client, id string) error {
	w := watcher{
		id:    id,
		fetch: func(ctx context.Context) (apiclient.Job, error) { return client.Job(ctx, id) },
		poll:  p.poll,
		show:  &lineDisplay{w: p.stdout},
	}
	switch {
	case wantsJSON(c):
		w.show = &jsonDisplay{lineDisplay{w: p.stdout}}
	case p.width != nil:
		w.show = &barDisplay{w: p.stdout, width: p.width}
	}
	last, err := w.run(c.Context)
	if err == nil && !wantsJSON(c) {
		fmt.Fprintln(p.stdout, formatEnd(last))
	}
	return err
}

// formatEnd says in a sentence why there is nothing left to watch.
func formatEnd(job apiclient.Job) string {
	name, target := formatName(job), clean(job.Target)
	have, size := wantedBytes(job)
	if job.State == apiclient.StatePaused && (size <= 0 || have < size) {
		return fmt.Sprintf("%s is paused; `simplebit resume %s` lets it go on", name, clean(job.ID))
	}
	text := fmt.Sprintf("%s is complete on %s: %s", name, target, formatSize(size))
	if job.Selected > 0 {
		text = fmt.Sprintf("all that is wanted of %s is on %s: %s", name, target, formatSize(size))
	}
	if job.State == apiclient.StateFinished {
		text += "; " + clean(job.Message)
	}
	return text
}

// display shows what a watched job does. Its methods are called by one goroutine.
type display interface {
	// job shows a job; last is set when no other follows.
	job(now time.Time, job apiclient.Job, last bool)
	// note shows a line in place of a job.
	note(now time.Time, line string)
	// end leaves the output at the beginning of a line.
	end()
}

// watcher looks at one job until it is complete, cannot become so, or is paused.
type watcher struct {
	id    string
	fetch func(context.Context) (apiclient.Job, error)
	poll  time.Duration
	show  display
}

// run returns the job when it is complete or paused by a person, or why it will not
// become complete. The end of ctx ends the watching with an error that says so.
func (w *watcher) run(ctx context.Context) (apiclient.Job, error) {
	defer w.show.end()
	ticker := time.NewTicker(w.poll)
	defer ticker.Stop()
	var seen bool
	var away time.Time // since when there has been no answer
	for {
		job, err := w.fetch(ctx)
		now := time.Now()
		switch {
		case ctx.Err() != nil:
			return job, fmt.Errorf("stopped watching; the job goes on, and `simplebit watch %s` shows it again", w.id)
		case err == nil:
			seen, away = true, time.Time{}
			done, err := outcome(job)
			w.show.job(now, job, done || err != nil)
			if done || err != nil {
				return job, err
			}
		case seen && transient(err):
			if away.IsZero() {
				away = now
			}
			if now.Sub(away) > patience {
				return job, err
			}
			w.show.note(now, "no answer from the surrogate for "+formatDuration(now.Sub(away))+"; trying again")
		default:
			return job, removal(w.id, err)
		}
		select {
		case <-ctx.Done():
		case <-ticker.C:
		}
	}
}

// outcome reports whether there is nothing left to watch, and the error that it is.
func outcome(job apiclient.Job) (done bool, err error) {
	switch job.State {
	case apiclient.StateSeeding, apiclient.StateFinished:
		return true, nil
	case apiclient.StateFailed:
		return false, fmt.Errorf("job %s failed: %s", job.ID, job.Error)
	case apiclient.StateRemoving:
		return false, fmt.Errorf("job %s was removed", job.ID)
	case apiclient.StatePaused:
		if job.Error != "" {
			return false, fmt.Errorf("job %s is paused: %s", job.ID, job.Error)
		}
		return true, nil
	}
	return false, nil
}

// transient reports whether the error may pass without the user doing anything.
func transient(err error) bool {
	var refusal *apiclient.Error
	return errors.Is(err, apiclient.ErrUnreachable) ||
		errors.As(err, &refusal) && refusal.Status >= http.StatusInternalServerError
}

// removal says of a job that is not found any more what that means.
func removal(id string, err error) error {
	var refusal *apiclient.Error
	if errors.As(err, &refusal) && refusal.Status == http.StatusNotFound {
		return fmt.Errorf("job %s was removed", id)
	}
	return err
}
