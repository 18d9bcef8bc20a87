package rendezvous

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"time"

	"simplebit/nat"
	"simplebit/rendezvous/api"
	"simplebit/rendezvous/apiclient"
	"simplebit/rendezvous/broker"
	"simplebit/rendezvous/job"
	"simplebit/rendezvous/relay"
	"simplebit/rendezvous/session"
	"simplebit/rendezvous/store"
	"simplebit/wire/control"
)

func publicKey(k ed25519.PrivateKey) ed25519.PublicKey { return k.Public().(ed25519.PublicKey) }

// Invite makes an invite for one device (api.Invites).
func (s *surrogate) Invite(ctx context.Context) (apiclient.Invite, error) {
	i, err := s.accounts.Invite(ctx, time.Now())
	if err != nil {
		return apiclient.Invite{}, apiError(err)
	}
	url := control.Invite{Addr: s.inviteAddr, Pin: s.pin, Token: i.Token, TCP: s.controlTCP}.String()
	return apiclient.Invite{URL: url, Expires: i.Expires}, nil
}

// wishes lets sessions see the jobs (session.Jobs).
type wishes struct{ *surrogate }

// Desired returns what the device should hold.
func (w wishes) Desired(device control.DeviceID) map[[20]byte]session.Desired {
	desired := map[[20]byte]session.Desired{}
	for id, wish := range w.jobs.Desired(device) {
		desired[id] = session.Desired(wish)
	}
	return desired
}

// Layout returns a torrent as devices get it.
func (w wishes) Layout(ctx context.Context, id [20]byte) (session.Layout, error) {
	t, err := w.jobs.Torrent(ctx, id)
	if err != nil {
		return session.Layout{}, err
	}
	l := session.Layout{Hashes: t.Hashes, Header: control.LayoutHeader{
		ID: id, Name: t.Name, PieceLength: uint32(t.PieceLength), Length: t.Length,
		Files: uint32(len(t.Files)), Pieces: uint32(len(t.Hashes) / 20),
	}}
	for _, f := range t.Files {
		l.Files = append(l.Files, control.LayoutFile(f))
	}
	return l, nil
}

// Observed passes on a device's report. Devices are brought together over what they were asked to hold only: over a
// torrent that a device makes up it would learn where others are.
func (w wishes) Observed(d control.DeviceID, p control.Progress) {
	w.jobs.Observed(d, p)
	if !w.jobs.Wants(d, p.ID) {
		return
	}
	w.broker.Observed(d, p)
	if !w.jobs.Wants(d, p.ID) {
		w.gone(d, p.ID) // removed meanwhile, and the broker told before
	}
}

// Unusable passes on which addresses a device found to be of no use.
func (w wishes) Unusable(d control.DeviceID, u control.Unusable) { w.jobs.Unusable(d, u) }

// Gone passes on that a device does not hold a torrent.
func (w wishes) Gone(d control.DeviceID, id [20]byte) {
	w.jobs.Gone(d, id)
	w.gone(d, id)
}

// gone has a device brought together with no other one over a torrent, and ends what is relayed. The broker orders nothing more
// once it has been told.
func (s *surrogate) gone(d control.DeviceID, id [20]byte) {
	s.broker.Gone(d, id)
	s.relays.Forget(d, id)
}

// Connected passes on that a session began or ended.
func (w wishes) Connected(d control.DeviceID, online bool) {
	w.jobs.Connected(d)
	w.broker.Connected(d, online)
}

// Moved passes on that a device is seen at another address.
func (w wishes) Moved(d control.DeviceID) { w.jobs.Moved(d) }

// Network passes on what a device says of its network.
func (w wishes) Network(d control.DeviceID, n nat.Network) { w.broker.Network(d, n) }

// Punched passes on what a device says of an attempt.
func (w wishes) Punched(d control.DeviceID, m control.Punched) {
	w.punched.count(m.Outcome)
	w.broker.Punched(d, m)
}

// infos lets jobs keep info dictionaries in the store (job.Infos).
type infos struct{ *store.Blobs }

// Get returns an info dictionary.
func (i infos) Get(ctx context.Context, infoHash string) ([]byte, error) {
	info, err := i.Blobs.Get(ctx, infoHash)
	if errors.Is(err, store.ErrNotFound) {
		return nil, fmt.Errorf("%w: %w", job.ErrNotFound, err)
	}
	return info, err
}

// jobs is the job manager as the API sees it (api.Jobs).
type jobs struct {
	m       *job.Manager
	broker  *broker.Broker
	relays  *relay.Relays
	devices *devices
	gone    func(control.DeviceID, [20]byte) // a device has no job with the torrent
}

// Add stores a new job.
func (j jobs) Add(ctx context.Context, n apiclient.NewJob) (apiclient.Job, error) {
	return j.reply(j.m.Add(ctx, newJob(n)))
}

// List returns all jobs.
func (j jobs) List(context.Context) ([]apiclient.Job, error) {
	all := []apiclient.Job{}
	for _, v := range j.m.List() {
		all = append(all, j.show(v))
	}
	return all, nil
}

// Get returns one job, with the paths of its device.
func (j jobs) Get(_ context.Context, id string) (apiclient.Job, error) {
	v, err := j.m.Get(id)
	if err != nil {
		return j.reply(v, err)
	}
	shown := j.show(v)
	shown.Paths = j.apiPaths(v.DeviceID, v.InfoHash)
	return shown, nil
}

// Pause stops a job.
func (j jobs) Pause(ctx context.Context, id string) (apiclient.Job, error) {
	return j.reply(j.m.Pause(ctx, id))
}

// Resume lets a job go on.
func (j jobs) Resume(ctx context.Context, id string) (apiclient.Job, error) {
	return j.reply(j.m.Resume(ctx, id))
}

// Verify has the device hash everything.
func (j jobs) Verify(ctx context.Context, id string) (apiclient.Job, error) {
	return j.reply(j.m.Verify(ctx, id))
}

// Remove drops a job. Whether or when the device drops the torrent, nobody is brought together with it over that any more.
func (j jobs) Remove(ctx context.Context, id string, deleteData bool) error {
	v, err := j.m.Get(id)
	if err != nil {
		return apiError(err)
	}
	if err := j.m.Remove(ctx, id, deleteData); err != nil {
		return apiError(err)
	}
	j.gone(control.DeviceID(v.DeviceID), v.InfoHash)
	return nil
}

func (j jobs) reply(v job.View, err error) (apiclient.Job, error) {
	if err != nil {
		return apiclient.Job{}, apiError(err)
	}
	return j.show(v), nil
}

// show is a job as the API shows it, but for the paths.
func (j jobs) show(v job.View) apiclient.Job {
	shown := apiJob(v)
	shown.Relayed.Down, shown.Relayed.Up = j.relays.Counts(control.DeviceID(v.DeviceID), v.InfoHash)
	return shown
}

// kinds are the API's kinds of the errors of the jobs and of the store.
var kinds = map[error]error{
	job.ErrNotFound: api.ErrNotFound, job.ErrConflict: api.ErrConflict, job.ErrInvalid: api.ErrInvalid,
	store.ErrUnreachable: api.ErrUnavailable, store.ErrFull: api.ErrUnavailable,
}

// apiError gives an error of the jobs or of the store the API's kind; its sentence stays.
func apiError(err error) error {
	for from, to := range kinds {
		if errors.Is(err, from) {
			return statusError{err, to}
		}
	}
	return err
}

// statusError is an error with the status that the API gives it.
type statusError struct {
	error
	status error
}

// Unwrap returns the API's kind of the error.
func (e statusError) Unwrap() error { return e.status }

// apiJob is what the jobs know of one.
func apiJob(v job.View) apiclient.Job {
	p := v.Progress
	j := apiclient.Job{
		ID: v.ID, InfoHash: v.InfoHash.String(), Name: v.Name, Target: "device:" + v.On.Name, TargetOnline: v.On.Online,
		State: apiclient.State(v.State), Message: v.Message, Size: v.Size, Have: p.Have, Checked: p.Checked,
		Downloaded: p.Downloaded, Uploaded: p.Uploaded, DownRate: p.DownRate, UpRate: p.UpRate,
		Error: v.Fault, Added: v.Added, Private: v.Private,
		Selected: p.Selected, SelectedHave: p.SelectedHave, Options: apiOptions(v.Options), Choices: apiChoices(v.Choices),
		Known: v.Known, Reachable: v.Reachable, DHT: apiclient.DHT(v.DHT),
		Peers: []apiclient.Peer{}, Trackers: []apiclient.Tracker{},
	}
	if v.State == job.StateFailed && j.Error == "" {
		j.Error = v.Message
	}
	for _, q := range p.Peers {
		j.Peers = append(j.Peers, apiclient.Peer{
			Addr: q.Addr.String(), Client: q.Client, Transport: q.Transport, Path: q.Path, Down: q.Down, Up: q.Up,
		})
	}
	for _, t := range v.Trackers {
		j.Trackers = append(j.Trackers, apiclient.Tracker{
			URL: t.URL, Error: t.Error, Warning: t.Warning, Seeders: t.Seeders, Leechers: t.Leechers,
			Downloads: t.Downloads, Next: t.Next,
		})
	}
	return j
}
