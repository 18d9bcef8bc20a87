package job

import (
	"context"
	"fmt"
	"math"
	"path"
	"slices"
	"strings"

	"simplebit/rendezvous/metainfo"
	"simplebit/wire/control"
)

// Bounds of the choices that one wish makes, and that a record keeps.
const (
	maxPatterns     = 100 // together
	maxPatternBytes = 512 // each
)

// File is a file of a job's torrent.
type File struct {
	Index    int    // from 0, in the torrent's order, padding files left out
	Path     string // below the download folder, slash separated, with the torrent's folder
	Size     int64  // bytes
	Priority control.FilePriority
}

// Choice gives some files a priority. Of choices in a list the later ones count.
type Choice struct {
	Priority control.FilePriority
	// Patterns mean files by their name or by a folder that they are in; see matches.
	// Each must mean one.
	Patterns []string `json:",omitempty"`
	// Indexes are those of File; they are not possible before the files are known.
	Indexes []int `json:"-"`
}

// Files lists the files of a job without padding. ErrConflict before the info
// dictionary is there.
func (m *Manager) Files(ctx context.Context, id string) ([]File, error) {
	v, err := m.Get(id)
	if err != nil {
		return nil, err
	}
	if !v.hasInfo {
		return nil, errNoFiles
	}
	t, err := m.Torrent(ctx, v.InfoHash)
	if err != nil {
		return nil, err
	}
	priorities := expand(v.Options.Files, len(t.Files))
	var list []File
	for i, f := range t.Files {
		if !f.Pad {
			list = append(list, File{len(list), f.Path, f.Length, priorities[i]})
		}
	}
	return list, nil
}

var errNoFiles = errorf(ErrConflict, "the torrent's files are not known yet: its description is still being fetched")

// Choose sets priorities of a job's files. Before these are known the choices are
// kept, after those that were made before.
func (m *Manager) Choose(ctx context.Context, id string, choices []Choice) (View, error) {
	return m.alter(ctx, id, func(j *job, ctx context.Context) error { return j.choose(ctx, choices) })
}

func (j *job) choose(ctx context.Context, choices []Choice) error {
	if err := checkChoices(choices); err != nil {
		return err
	}
	if j.info == nil {
		if byIndex(choices) {
			return errNoFiles
		}
		all := slices.Concat(j.rec.Choices, choices)
		if err := checkChoices(all); err != nil {
			return err
		}
		return j.change(ctx, func(r *Record) { r.Choices = all })
	}
	info, err := j.cfg.info(ctx, j.rec.InfoHash)
	if err != nil {
		return err
	}
	t, err := metainfo.ParseInfo(info, j.rec.InfoHash)
	if err != nil {
		return err
	}
	runs, err := chosen(t, j.rec.Options.Files, choices)
	if err != nil || slices.Equal(runs, j.rec.Options.Files) {
		return err
	}
	return j.change(ctx, func(r *Record) { r.Options.Files = runs })
}

func byIndex(choices []Choice) bool {
	return slices.ContainsFunc(choices, func(c Choice) bool { return len(c.Indexes) > 0 })
}

// checkChoices finds choices that no torrent can obey.
func checkChoices(choices []Choice) error {
	n := 0
	for _, c := range choices {
		for _, p := range c.Patterns {
			if _, err := path.Match(p, ""); err != nil || strings.Trim(p, "/") == "" {
				return errorf(ErrInvalid, fmt.Sprintf("the pattern %q is malformed: want a name, in which * and ? stand for others", p))
			}
			if len(p) > maxPatternBytes {
				return errorf(ErrInvalid, fmt.Sprintf("a pattern has %d bytes, the limit is %d", len(p), maxPatternBytes))
			}
		}
		n += len(c.Patterns)
	}
	if n > maxPatterns {
		return errorf(ErrInvalid, fmt.Sprintf("%d patterns, the limit is %d: name folders instead", n, maxPatterns))
	}
	return nil
}

// settleChoices resolves what was chosen before the files were known.
func (r *Record) settleChoices(t *metainfo.Torrent) error {
	choices := r.Choices
	r.Choices = nil
	if len(choices) == 0 {
		return nil
	}
	runs, err := chosen(t, r.Options.Files, choices)
	if err == nil {
		r.Options.Files = runs
	}
	return err
}

// chosen returns the runs after the choices. Its errors wrap ErrInvalid.
func chosen(t *metainfo.Torrent, runs []control.FileRun, choices []Choice) ([]control.FileRun, error) {
	var shown []int // positions of the files that are not padding
	for i, f := range t.Files {
		if !f.Pad {
			shown = append(shown, i)
		}
	}
	priorities := expand(runs, len(t.Files))
	for _, c := range choices {
		for _, index := range c.Indexes {
			if index < 0 || index >= len(shown) {
				return nil, errorf(ErrInvalid, fmt.Sprintf("there is no file %d: the torrent has files 0 to %d", index, len(shown)-1))
			}
			priorities[shown[index]] = c.Priority
		}
		for _, pattern := range c.Patterns {
			found := false
			for _, i := range shown {
				if matches(pattern, t.Files[i].Path) {
					found, priorities[i] = true, c.Priority
				}
			}
			if !found {
				return nil, errorf(ErrInvalid, fmt.Sprintf("no file of the torrent matches %q", pattern))
			}
		}
	}
	if !slices.ContainsFunc(shown, func(i int) bool { return priorities[i] != control.FileSkip && t.Files[i].Length > 0 }) {
		return nil, errorf(ErrInvalid, "this skips every file that has content: pause or remove the job instead")
	}
	// Padding belongs to the file before it, whose last piece it fills.
	for i, f := range t.Files {
		if f.Pad && i > 0 {
			priorities[i] = priorities[i-1]
		}
	}
	runs = compress(priorities)
	if len(runs) > control.MaxFileRuns {
		return nil, errorf(ErrInvalid, fmt.Sprintf("the priorities change %d times along the files, the limit is %d: choose whole folders", len(runs), control.MaxFileRuns))
	}
	return runs, nil
}

// matches reports whether a pattern means a file: by its name, or by a folder that
// it is in. One without a slash is compared with each element of the path, one with
// a slash with the path's beginning, where the torrent's own folder may be left
// out. In an element * stands for any characters, ? for one, [a-z] for one of those.
func matches(pattern, file string) bool {
	want, have := strings.Split(strings.Trim(pattern, "/"), "/"), strings.Split(file, "/")
	anywhere := !strings.Contains(strings.TrimRight(pattern, "/"), "/")
	for start := range have {
		if !anywhere && start > 1 || len(have)-start < len(want) {
			return false
		}
		if matchesFrom(want, have[start:]) {
			return true
		}
	}
	return false
}

func matchesFrom(want, have []string) bool {
	for i, pattern := range want {
		if ok, err := path.Match(pattern, have[i]); !ok || err != nil {
			return false
		}
	}
	return true
}

// expand returns the priorities of n files.
func expand(runs []control.FileRun, n int) []control.FilePriority {
	all := make([]control.FilePriority, n)
	rest := all
	for _, r := range runs {
		count := min(int(min(r.Count, math.MaxInt32)), len(rest))
		for i := range rest[:count] {
			rest[i] = r.Priority
		}
		rest = rest[count:]
	}
	return all
}

// compress is the opposite: the fewest runs, nil when all files are normal.
func compress(priorities []control.FilePriority) []control.FileRun {
	var runs []control.FileRun
	for _, p := range priorities {
		if last := len(runs) - 1; last >= 0 && runs[last].Priority == p {
			runs[last].Count++
		} else {
			runs = append(runs, control.FileRun{Count: 1, Priority: p})
		}
	}
	if last := len(runs) - 1; last >= 0 && runs[last].Priority == control.FileNormal {
		runs = slices.Clip(runs[:last])
	}
	if len(runs) == 0 {
		return nil
	}
	return runs
}
