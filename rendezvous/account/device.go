package account

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"simplebit/rendezvous/store"
)

const (
	deviceIDLength = 52 // base32 of a SHA-256
	// minIDPrefix keeps a slip of the finger from naming a device to revoke.
	minIDPrefix = 4
)

// Device is an agent that was enrolled.
type Device struct {
	// ID is the hash of its key: 52 characters of lower-case base32.
	ID string
	// Name is unique among devices that are not revoked; a revoked one shows the name it had. It is empty only for a device
	// whose enrolment was cut off and that has not been back since.
	Name string
	// Created is when it was enrolled, in UTC.
	Created time.Time
	// Revoked says that it is refused for good.
	Revoked bool
}

// deviceRecord is kept under the device's id.
type deviceRecord struct {
	Created time.Time `json:"created"`
	Revoked bool      `json:"revoked,omitempty"`
	Was     string    `json:"was,omitempty"` // its name when it was revoked
}

func (r deviceRecord) device(id, name string) Device {
	if r.Revoked {
		name = r.Was
	}
	return Device{ID: id, Name: name, Created: r.Created, Revoked: r.Revoked}
}

// Devices returns all devices, revoked ones too, in the order of their enrolment.
func (a *Accounts) Devices(ctx context.Context) ([]Device, error) {
	records, err := a.devices.All(ctx)
	if err != nil {
		return nil, err
	}
	names, err := a.names.Get(ctx, theNames)
	if err != nil {
		return nil, err
	}
	byID := make(map[string]string, len(names))
	for name, id := range names {
		byID[id] = name
	}
	devices := make([]Device, 0, len(records))
	for id, r := range records {
		devices = append(devices, r.device(id, byID[id]))
	}
	slices.SortFunc(devices, func(a, b Device) int {
		return cmp.Or(a.Created.Compare(b.Created), strings.Compare(a.ID, b.ID))
	})
	return devices, nil
}

// Device finds a device by its name, its id, or the first four or more characters of its id, in this order. Case does not
// matter. A revoked device is found by its id only. Errors: ErrNotFound, ErrAmbiguous.
func (a *Accounts) Device(ctx context.Context, nameOrID string) (Device, error) {
	wanted := strings.ToLower(nameOrID)
	names, err := a.names.Get(ctx, theNames)
	if err != nil {
		return Device{}, err
	}
	if id, ok := names[wanted]; ok {
		r, err := a.devices.Get(ctx, id)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return Device{}, err
		}
		if err == nil && !r.Revoked {
			return r.device(id, wanted), nil
		}
	}
	if len(wanted) < minIDPrefix || !isBase32(wanted) {
		return Device{}, notFound(nameOrID)
	}
	devices, err := a.Devices(ctx)
	if err != nil {
		return Device{}, err
	}
	devices = slices.DeleteFunc(devices, func(d Device) bool { return !strings.HasPrefix(d.ID, wanted) })
	switch len(devices) {
	case 0:
		return Device{}, notFound(nameOrID)
	case 1:
		return devices[0], nil
	default:
		return Device{}, fmt.Errorf("%w have an id that begins with %q: give more of it", ErrAmbiguous, wanted)
	}
}

func notFound(nameOrID string) error {
	return fmt.Errorf("%w: %.64q (a revoked one has no name; `simplebit devices` lists all)", ErrNotFound, nameOrID)
}

// Rename gives the device found as Device does another name: 1 to 32 of a-z, 0-9 and "-", the first no "-". Errors: those of
// Device, ErrInvalid, ErrNameTaken, ErrRevoked.
func (a *Accounts) Rename(ctx context.Context, nameOrID, newName string) (Device, error) {
	if !isName(newName) {
		return Device{}, fmt.Errorf("the name %.64q is %w: 1 to %d of a-z, 0-9 and \"-\", not beginning with \"-\"", newName, ErrInvalid, maxName)
	}
	d, err := a.Device(ctx, nameOrID)
	if err != nil {
		return Device{}, err
	}
	if d.Revoked {
		return Device{}, ErrRevoked
	}
	if err := a.takeName(ctx, d.ID, newName); err != nil {
		return Device{}, err
	}
	d.Name = newName
	return d, nil
}

// Revoke refuses the device found as Device does from now on, and frees its name. Its live session, and one
// that Admit has just let in, are for the caller to end. Revoking it again changes nothing. Errors: those of Device.
func (a *Accounts) Revoke(ctx context.Context, nameOrID string) (Device, error) {
	d, err := a.Device(ctx, nameOrID)
	if err != nil {
		return Device{}, err
	}
	r, err := a.devices.Update(ctx, d.ID, func(r *deviceRecord) error {
		if !r.Revoked {
			r.Revoked, r.Was = true, d.Name
		}
		return nil
	})
	if err != nil {
		return Device{}, err
	}
	return r.device(d.ID, ""), a.freeName(ctx, d.ID)
}

func isDeviceID(s string) bool { return len(s) == deviceIDLength && isBase32(s) }
