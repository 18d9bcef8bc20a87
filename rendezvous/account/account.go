// Package account knows who may talk to this surrogate: the deployment's keys, the invites, the enrolled devices and the
// administrator's token.
//
// A device is known by its id, which is the hash of its key; what else it is called is one entry in a single record of names,
// so that a name cannot have two owners, nor a device two names. Enrolling takes three steps, each atomic and each harmless to
// repeat, so it can be cut off anywhere and is completed when the device asks again:
//
//	invite:  unused ──(right token, in time)──▶ bound to one device id
//	device:  none ──(bound invite)──▶ enrolled ──(Revoke)──▶ revoked, for good
//	names:   name ─▶ device id
//
// A revoked device stays as a tombstone, so its key is refused with any invite; whoever holds the machine can make a new key
// and needs a new invite for it.
package account

import (
	"context"
	"errors"
	"fmt"
	"time"

	"simplebit/rendezvous/store"
)

// MaxDevices is how many devices have a name at a time. Enrolling more fails with ErrTooManyDevices.
const MaxDevices = 10_000

// The errors a caller decides by. Those of Admit are meant to be shown to the person at the device.
var (
	// ErrNotEnrolled means that a device came without a token and is not known.
	ErrNotEnrolled = errors.New("this device is not enrolled: join with an invite")
	// ErrInviteUnknown means a token that was never made, was purged, is mistyped, or whose invite is void.
	ErrInviteUnknown = errors.New("the invite is not known here, or void after too many wrong tries: make a new one")
	// ErrInviteExpired means that the invite was right and came too late.
	ErrInviteExpired = errors.New("the invite has expired: make a new one")
	// ErrInviteUsed means that the invite belongs to another device's key.
	ErrInviteUsed = errors.New("the invite was used by another device: make a new one")
	// ErrRevoked means that the device was revoked.
	ErrRevoked = errors.New("this device was revoked: it can return with a new key and a new invite only")
	// ErrTooManyDevices means that MaxDevices are enrolled.
	ErrTooManyDevices = errors.New("too many devices: revoke some")
	// ErrNotFound means that no device has the name or id.
	ErrNotFound = errors.New("no such device")
	// ErrAmbiguous means that several ids begin so.
	ErrAmbiguous = errors.New("several devices")
	// ErrNameTaken means that another device has the name.
	ErrNameTaken = errors.New("the name is taken: choose another")
	// ErrInvalid means a name or id that no device can have.
	ErrInvalid = errors.New("not acceptable")
	// ErrKeyLost means that there are devices, and the deployment key that they trust is gone.
	ErrKeyLost = errors.New("the deployment key is gone")
)

// Accounts is the accounts in a store. Any goroutine may call its methods; what they change is durable when they return.
// Besides those named, they return the errors of package store and of their context.
type Accounts struct {
	keys    *store.Table[keyRecord]
	invites *store.Table[inviteRecord]
	devices *store.Table[deviceRecord]
	names   *store.Table[map[string]string] // one record: device id by name
}

// theNames is the key of the one record in the table of names.
const theNames = "devices"

// Open opens the accounts in s, which must outlive them.
func Open(ctx context.Context, s *store.Store) (*Accounts, error) {
	a := &Accounts{}
	var errs [4]error
	a.keys, errs[0] = store.OpenTable[keyRecord](ctx, s, "keys")
	a.invites, errs[1] = store.OpenTable[inviteRecord](ctx, s, "invites")
	a.devices, errs[2] = store.OpenTable[deviceRecord](ctx, s, "devices")
	a.names, errs[3] = store.OpenTable[map[string]string](ctx, s, "names")
	if err := errors.Join(errs[:]...); err != nil {
		return nil, fmt.Errorf("opening the accounts: %w", err)
	}
	if err := a.names.Create(ctx, theNames, map[string]string{}); err != nil && !errors.Is(err, store.ErrExists) {
		return nil, fmt.Errorf("opening the accounts: %w", err)
	}
	if err := a.freeNamesOfRevoked(ctx); err != nil {
		return nil, fmt.Errorf("opening the accounts: %w", err)
	}
	return a, nil
}

// Admit decides about a device that has proved to have the key behind the id: it returns the device when it is enrolled, or
// enrols it by the token. Without one (token "") it must be enrolled already, and the token of one that is enrolled is not
// looked at, so that a device may repeat its join. name is what it wishes to be called when it is new; what it gets is made
// to fit and unique ("Attic Pi!" becomes attic-pi, or attic-pi-2). Errors: ErrNotEnrolled, ErrInviteUnknown,
// ErrInviteExpired, ErrInviteUsed, ErrRevoked, ErrTooManyDevices, ErrInvalid for an id that is none.
func (a *Accounts) Admit(ctx context.Context, now time.Time, device string, token, name string) (Device, error) {
	if !isDeviceID(device) {
		return Device{}, fmt.Errorf("device id %.64q is %w: want %d characters of base32", device, ErrInvalid, deviceIDLength)
	}
	r, err := a.devices.Get(ctx, device)
	if errors.Is(err, store.ErrNotFound) {
		r, err = a.enrol(ctx, now, device, token)
	}
	if err != nil {
		return Device{}, err
	}
	if r.Revoked {
		return Device{}, ErrRevoked
	}
	called, err := a.claimName(ctx, device, name)
	if err != nil {
		return Device{}, err
	}
	return r.device(device, called), nil
}

// enrol binds the invite to the device and creates the device's record.
func (a *Accounts) enrol(ctx context.Context, now time.Time, device, token string) (deviceRecord, error) {
	if token == "" {
		return deviceRecord{}, ErrNotEnrolled
	}
	if err := a.redeem(ctx, now, device, token); err != nil {
		return deviceRecord{}, err
	}
	r := deviceRecord{Created: now.UTC().Round(0)}
	err := a.devices.Create(ctx, device, r)
	if errors.Is(err, store.ErrExists) { // it is joining twice at once
		return a.devices.Get(ctx, device)
	}
	return r, err
}
