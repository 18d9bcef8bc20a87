package rendezvous

import (
	"cmp"
	"context"
	"errors"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"simplebit/nat"
	"simplebit/rendezvous/account"
	"simplebit/rendezvous/api"
	"simplebit/rendezvous/apiclient"
	"simplebit/rendezvous/job"
	"simplebit/rendezvous/session"
	"simplebit/wire/control"
)

// devices is the enrolled devices as sessions, jobs and the API see them. The
// records are kept in memory: jobs look devices up for every view.
type devices struct {
	accounts *account.Accounts
	hub      *session.Hub
	jobs     *job.Manager
	known    atomic.Pointer[map[string]account.Device]
	loading  sync.Mutex // the last to read the records is the last to publish them
}

func loadDevices(ctx context.Context, a *account.Accounts) (*devices, error) {
	d := &devices{accounts: a}
	return d, d.reload(ctx)
}

// reload reads the records again after one has changed.
func (d *devices) reload(ctx context.Context) error {
	d.loading.Lock()
	defer d.loading.Unlock()
	all, err := d.accounts.Devices(ctx)
	if err != nil {
		return err
	}
	known := map[string]account.Device{}
	for _, r := range all {
		known[r.ID] = r
	}
	d.known.Store(&known)
	return nil
}

// refusals are the codes of the reasons to refuse a device.
var refusals = map[error]control.RefusedCode{
	account.ErrNotEnrolled:    control.RefusedUnknown,
	account.ErrInviteUnknown:  control.RefusedInvite,
	account.ErrInviteExpired:  control.RefusedInvite,
	account.ErrInviteUsed:     control.RefusedInvite,
	account.ErrRevoked:        control.RefusedRevoked,
	account.ErrTooManyDevices: control.RefusedBusy,
}

// Admit decides about a device that says Hello (session.Admitter).
func (d *devices) Admit(ctx context.Context, device control.DeviceID, hello control.Hello) (string, error) {
	r, err := d.accounts.Admit(ctx, time.Now(), string(device), hello.Token, hello.Name)
	for reason, code := range refusals {
		if errors.Is(err, reason) {
			return "", control.Refused{Code: code, Reason: reason.Error()}
		}
	}
	if err != nil {
		return "", err
	}
	if _, ok := (*d.known.Load())[r.ID]; !ok {
		if err := d.reload(ctx); err != nil {
			return "", err
		}
	}
	return r.Name, nil
}

// Enrolled tells whether the device has joined and is not revoked (session.Admitter).
func (d *devices) Enrolled(device control.DeviceID) bool {
	r, ok := (*d.known.Load())[string(device)]
	return ok && !r.Revoked
}

// Resolve finds a device by name or id (job.Devices).
func (d *devices) Resolve(ctx context.Context, nameOrID string) (job.Device, error) {
	r, err := d.accounts.Device(ctx, nameOrID)
	if err != nil {
		return job.Device{}, deviceError(err)
	}
	return d.describe(r), nil
}

// Lookup tells what jobs need of a device (job.Devices).
func (d *devices) Lookup(id string) job.Device {
	r, ok := (*d.known.Load())[id]
	if !ok {
		return job.Device{ID: id, Name: id, Revoked: true}
	}
	return d.describe(r)
}

func (d *devices) describe(r account.Device) job.Device {
	online, _, _ := d.hub.Status(control.DeviceID(r.ID))
	return job.Device{ID: r.ID, Name: r.Name, Online: online, Revoked: r.Revoked}
}

// Changed wakes the device's session (job.Devices).
func (d *devices) Changed(id string) { d.hub.Changed(control.DeviceID(id)) }

// Candidates sends addresses to the device (job.Devices).
func (d *devices) Candidates(id string, c control.Candidates) {
	d.hub.Candidates(control.DeviceID(id), c)
}

// Endpoint is where the device accepts peers, if it is connected (job.Devices).
func (d *devices) Endpoint(id string) netip.AddrPort { return d.hub.Endpoint(control.DeviceID(id)) }

// List returns all devices (api.Devices).
func (d *devices) List(ctx context.Context) ([]apiclient.Device, error) {
	all, err := d.accounts.Devices(ctx)
	if err != nil {
		return nil, apiError(err)
	}
	list := []apiclient.Device{}
	for _, r := range all {
		list = append(list, d.show(r))
	}
	return list, nil
}

// Get returns one device (api.Devices).
func (d *devices) Get(ctx context.Context, nameOrID string) (apiclient.Device, error) {
	r, err := d.accounts.Device(ctx, nameOrID)
	if err != nil {
		return apiclient.Device{}, deviceError(err)
	}
	return d.show(r), nil
}

func (d *devices) show(r account.Device) apiclient.Device {
	v := apiclient.Device{ID: r.ID, Name: r.Name, Created: r.Created, Revoked: r.Revoked}
	online, addr, software := d.hub.Status(control.DeviceID(r.ID))
	if online {
		v.Online, v.Addr, v.Software = true, addr.String(), software
		if line, online := d.hub.Line(control.DeviceID(r.ID)); online {
			v.Control = line.Transport.String()
		}
	}
	v.Network = showNetwork(d.hub.Network(control.DeviceID(r.ID)))
	return v
}

// showNetwork returns nil for a device that has not told of its network.
func showNetwork(n session.Network) *apiclient.Network {
	if n.Told.IsZero() {
		return nil
	}
	b := n.Behaviour
	if b.Blocked {
		b = nat.Behaviour{Blocked: true}
	}
	v := &apiclient.Network{
		Summary: b.Sentence(), Checked: n.Told.UTC().Truncate(time.Second), Blocked: b.Blocked,
		Public:  apiclient.Answer(b.Public.String()),
		Mapping: apiclient.Dependence(b.Mapping.String()), Filtering: apiclient.Dependence(b.Filtering.String()),
		PortPreserved: apiclient.Answer(b.Preserved.String()), PortStep: b.Step, Hairpin: apiclient.Answer(b.Hairpin.String()),
		Lifetime: int64(b.Lifetime / time.Second), Double: apiclient.Answer(b.Double.String()),
		Reachable: apiclient.Answer(b.Reachable.String()),
	}
	byKind := func(a, b nat.Candidate) int { return cmp.Compare(a.Kind, b.Kind) }
	for _, c := range slices.SortedStableFunc(slices.Values(n.Candidates), byKind) {
		switch c.Kind { // those of later agents mean nothing here
		case nat.HostCandidate, nat.MappedCandidate, nat.ReflexiveCandidate:
			v.Candidates = append(v.Candidates, apiclient.Candidate{Kind: c.Kind.String(), Addr: c.Addr.String(), TCP: c.TCP})
		}
	}
	return v
}

// Rename gives a device another name (api.Devices).
func (d *devices) Rename(ctx context.Context, nameOrID, newName string) (apiclient.Device, error) {
	r, err := d.accounts.Rename(ctx, nameOrID, newName)
	if err != nil {
		return apiclient.Device{}, deviceError(err)
	}
	return d.show(r), apiError(d.reload(ctx))
}

// Revoke refuses the device's key from now on and cuts it off (api.Devices).
func (d *devices) Revoke(ctx context.Context, nameOrID string) error {
	r, err := d.accounts.Revoke(ctx, nameOrID)
	if err != nil {
		return deviceError(err)
	}
	d.hub.Revoke(control.DeviceID(r.ID))
	if err := d.reload(ctx); err != nil {
		return apiError(err)
	}
	d.jobs.Revoked(ctx, r.ID)
	return nil
}

// deviceError gives an error of the accounts or of the store the API's kind; its sentence stays.
func deviceError(err error) error {
	switch {
	case errors.Is(err, account.ErrNotFound):
		return statusError{err, api.ErrNotFound}
	case errors.Is(err, account.ErrNameTaken), errors.Is(err, account.ErrAmbiguous):
		return statusError{err, api.ErrConflict}
	case errors.Is(err, account.ErrInvalid):
		return statusError{err, api.ErrInvalid}
	}
	return apiError(err)
}
