package apiclient

import (
	"context"
	"net/http"
)

// Options are how a job's device goes about its torrent. The zero value is the
// defaults.
type Options struct {
	Down       int64   `json:"down" doc:"payload bytes per second from all peers of the torrent; 0: no limit"`
	Up         int64   `json:"up" doc:"payload bytes per second to all peers of the torrent; 0: no limit"`
	MaxPeers   int     `json:"max_peers" doc:"connections of the torrent; 0: the device decides"`
	Sequential bool    `json:"sequential" doc:"fetch pieces in the order of the content"`
	Ratio      float64 `json:"ratio" doc:"seed until this many times the size of what is wanted was sent; 0: no such end"`
	SeedTime   int64   `json:"seed_time" doc:"seed for so many seconds; 0: no such end. With a ratio too, what comes first ends it"`
}

// OptionsChange is new values for some options; those left out stay as they are.
type OptionsChange struct {
	Down       *int64   `json:"down,omitempty" minimum:"0" doc:"bytes per second, at least 1024; 0 removes the limit"`
	Up         *int64   `json:"up,omitempty" minimum:"0" doc:"bytes per second, at least 1024; 0 removes the limit"`
	MaxPeers   *int     `json:"max_peers,omitempty" minimum:"0" maximum:"1000" doc:"0: the device decides"`
	Sequential *bool    `json:"sequential,omitempty"`
	Ratio      *float64 `json:"ratio,omitempty" minimum:"0" doc:"to a thousandth, at most a million; 0 removes it"`
	SeedTime   *int64   `json:"seed_time,omitempty" minimum:"0" doc:"seconds, at most ten years; 0 removes it"`
}

// Priority says when a file is fetched, if at all. A piece of several files has the
// highest of theirs.
type Priority string

// The priorities of files.
const (
	PrioritySkip   Priority = "skip" // not wanted
	PriorityLow    Priority = "low"
	PriorityNormal Priority = "normal"
	PriorityHigh   Priority = "high"
)

// File is a file of a job's torrent.
type File struct {
	Index    int      `json:"index" doc:"from 0, in the torrent's order"`
	Path     string   `json:"path" doc:"below the download folder, slash separated, with the torrent's own folder" example:"album/01.flac"`
	Size     int64    `json:"size" doc:"bytes"`
	Priority Priority `json:"priority" enum:"skip,low,normal,high"`
}

// Choice gives some files a priority. Of choices in a list the later ones count.
type Choice struct {
	Priority Priority `json:"priority" enum:"skip,low,normal,high"`
	Patterns []string `json:"patterns,omitempty" maxItems:"100" doc:"each means the files of that name, or in a folder of that name; with a slash it is compared with the path from its beginning or from below the torrent's folder. In a name * stands for any characters, ? for one, [a-z] for one of those. Each must mean a file" example:"[\"*.flac\"]"`
	Files    []int    `json:"files,omitempty" maxItems:"200000" doc:"indexes of files; not before the files are known"`
}

// Choices is a list of choices of files.
type Choices struct {
	Choices []Choice `json:"choices" minItems:"1" maxItems:"100" nullable:"false"`
}

// SetOptions changes options of a job.
func (c *Client) SetOptions(ctx context.Context, id string, change OptionsChange) (Job, error) {
	return fetch[Job](ctx, c, http.MethodPatch, jobPath(id), change)
}

// Files returns the files of a job. The refusal's status is 409 while they are not known.
func (c *Client) Files(ctx context.Context, id string) ([]File, error) {
	return fetch[[]File](ctx, c, http.MethodGet, jobPath(id)+"/files", nil)
}

// ChooseFiles sets priorities of a job's files. Patterns may be given before the
// files are known: they are kept until then.
func (c *Client) ChooseFiles(ctx context.Context, id string, choices []Choice) (Job, error) {
	return fetch[Job](ctx, c, http.MethodPatch, jobPath(id)+"/files", Choices{choices})
}
