package api

import (
	"context"
	"errors"

	"simplebit/rendezvous/apiclient"
)

// What an implementation of Jobs, Devices or Invites wraps with %w to be
// understood: the wrapping text, one line that says what to do, reaches the user
// with the named status. Any other error is logged, and the user is told no more
// than that the surrogate failed (500).
var (
	ErrNotFound    = errors.New("not found")   // 404: no such job or device
	ErrConflict    = errors.New("conflict")    // 409: not in this state, or a name that is taken
	ErrUnavailable = errors.New("unavailable") // 503: the store is away or full; also logged
	ErrInvalid     = errors.New("not allowed") // 422: a torrent, magnet, target or name that cannot be used
)

// Jobs is what the API needs of the jobs. Its methods are called concurrently
// and return only when what they did is stored. An id is a job's whole id.
type Jobs interface {
	// Add stores a new job. Exactly one of Magnet and Torrent is set.
	Add(ctx context.Context, job apiclient.NewJob) (apiclient.Job, error)
	// List returns all jobs, oldest first.
	List(ctx context.Context) ([]apiclient.Job, error)
	Get(ctx context.Context, id string) (apiclient.Job, error)
	Pause(ctx context.Context, id string) (apiclient.Job, error)
	Resume(ctx context.Context, id string) (apiclient.Job, error)
	Verify(ctx context.Context, id string) (apiclient.Job, error)
	Remove(ctx context.Context, id string, deleteData bool) error
	// SetOptions changes the options that are given.
	SetOptions(ctx context.Context, id string, change apiclient.OptionsChange) (apiclient.Job, error)
	// Files lists the torrent's files, padding left out.
	Files(ctx context.Context, id string) ([]apiclient.File, error)
	// ChooseFiles sets priorities of files, by choices one after the other.
	ChooseFiles(ctx context.Context, id string, choices []apiclient.Choice) (apiclient.Job, error)
}

// Devices is what the API needs of the enrolled devices. Its methods are called
// concurrently. A device is named by its name or its id.
type Devices interface {
	// List returns all devices with the revoked ones, by name.
	List(ctx context.Context) ([]apiclient.Device, error)
	Get(ctx context.Context, nameOrID string) (apiclient.Device, error)
	Rename(ctx context.Context, nameOrID, newName string) (apiclient.Device, error)
	// Revoke refuses the device's key from now on and ends its session.
	Revoke(ctx context.Context, nameOrID string) error
}

// Invites is what the API needs to let devices join.
type Invites interface {
	// Invite makes an invite for one device.
	Invite(ctx context.Context) (apiclient.Invite, error)
}
