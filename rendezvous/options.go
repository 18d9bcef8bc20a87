package rendezvous

import (
	"context"
	"time"

	"simplebit/rendezvous/apiclient"
	"simplebit/rendezvous/job"
	"simplebit/wire/control"
)

// SetOptions changes options of a job.
func (j jobs) SetOptions(ctx context.Context, id string, c apiclient.OptionsChange) (apiclient.Job, error) {
	return j.reply(j.m.SetOptions(ctx, id, jobOptions(c)))
}

// Files lists a job's files.
func (j jobs) Files(ctx context.Context, id string) ([]apiclient.File, error) {
	files, err := j.m.Files(ctx, id)
	if err != nil {
		return nil, apiError(err)
	}
	list := make([]apiclient.File, len(files))
	for i, f := range files {
		list[i] = apiclient.File{Index: f.Index, Path: f.Path, Size: f.Size, Priority: apiPriority(f.Priority)}
	}
	return list, nil
}

// ChooseFiles sets priorities of a job's files.
func (j jobs) ChooseFiles(ctx context.Context, id string, c []apiclient.Choice) (apiclient.Job, error) {
	return j.reply(j.m.Choose(ctx, id, jobChoices(c)))
}

// newJob is a wish as the jobs take it.
func newJob(n apiclient.NewJob) job.New {
	wish := job.New{Magnet: n.Magnet, Torrent: n.Torrent, Target: n.Target, Choices: jobChoices(n.Choices)}
	if n.Options != nil {
		wish.Options = jobOptions(*n.Options)
	}
	return wish
}

func jobOptions(c apiclient.OptionsChange) job.OptionsChange {
	o := job.OptionsChange{Down: c.Down, Up: c.Up, MaxPeers: c.MaxPeers, Sequential: c.Sequential, Ratio: c.Ratio}
	if c.SeedTime != nil {
		const most = int64(job.MaxSeedTime / time.Second)
		d := time.Duration(min(*c.SeedTime, most+1)) * time.Second // more is refused, and would overflow
		o.SeedTime = &d
	}
	return o
}

func apiOptions(o job.Options) apiclient.Options {
	return apiclient.Options{
		Down: o.Down, Up: o.Up, MaxPeers: o.MaxPeers, Sequential: o.Sequential, Ratio: o.Ratio, SeedTime: int64(o.SeedTime / time.Second),
	}
}

func jobChoices(list []apiclient.Choice) []job.Choice {
	var choices []job.Choice
	for _, c := range list {
		choices = append(choices, job.Choice{Priority: priorities[c.Priority], Patterns: c.Patterns, Indexes: c.Files})
	}
	return choices
}

func apiChoices(list []job.Choice) []apiclient.Choice {
	var choices []apiclient.Choice
	for _, c := range list {
		choices = append(choices, apiclient.Choice{Priority: apiPriority(c.Priority), Patterns: c.Patterns})
	}
	return choices
}

// priorities are the API's words. It lets no others through.
var priorities = map[apiclient.Priority]control.FilePriority{
	apiclient.PrioritySkip: control.FileSkip, apiclient.PriorityLow: control.FileLow,
	apiclient.PriorityNormal: control.FileNormal, apiclient.PriorityHigh: control.FileHigh,
}

func apiPriority(p control.FilePriority) apiclient.Priority {
	for word, number := range priorities {
		if number == p {
			return word
		}
	}
	return apiclient.PriorityNormal
}
