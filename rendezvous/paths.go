package rendezvous

import (
	"slices"
	"strings"
	"time"

	"simplebit/rendezvous/apiclient"
	"simplebit/rendezvous/broker"
	"simplebit/rendezvous/relay"
	"simplebit/wire/control"
)

// reach is how the broker reaches devices (broker.Sessions).
type reach struct{ *surrogate }

// Line tells how the device is connected.
func (r reach) Line(d control.DeviceID) (broker.Line, bool) {
	l, online := r.hub.Line(d)
	return broker.Line{Observed: l.Observed, RTT: l.RTT, UDP: l.UDP}, online
}

// Punch asks the device for an attempt.
func (r reach) Punch(d control.DeviceID, m control.Punch) { r.hub.Punch(d, m) }

// Relay joins two devices, of which the first dials.
func (r reach) Relay(dialer, answerer control.DeviceID, torrent [20]byte) {
	r.relays.Start(r.side(dialer), r.side(answerer), torrent)
}

// Unrelay ends that.
func (r reach) Unrelay(dialer, answerer control.DeviceID, torrent [20]byte) {
	r.relays.Stop(dialer, answerer, torrent)
}

func (r reach) side(d control.DeviceID) relay.Side {
	line, _ := r.hub.Line(d)
	return relay.Side{Device: d, Name: r.Name(d), Addr: line.Observed}
}

// Name is what people call the device.
func (r reach) Name(d control.DeviceID) string { return r.devices.Lookup(string(d)).Name }

// Joined is when the device was enrolled; zero: that is not known.
func (r reach) Joined(d control.DeviceID) time.Time {
	return (*r.devices.known.Load())[string(d)].Created
}

// apiPaths is how a job's device stands to the others that hold the torrent, as the API shows it.
func (j jobs) apiPaths(device string, infoHash [20]byte) []apiclient.Path {
	paths := []apiclient.Path{}
	for _, r := range j.broker.Routes(control.DeviceID(device), infoHash) {
		p := apiclient.Path{Device: j.devices.Lookup(string(r.Peer)).Name, State: r.State.String(), Why: r.Why, Attempts: []apiclient.Attempt{}}
		if !r.Next.IsZero() {
			p.Next = r.Next.UTC().Truncate(time.Second)
		}
		for _, a := range r.Attempts {
			p.Attempts = append(p.Attempts, apiAttempt(a))
		}
		paths = append(paths, p)
	}
	slices.SortFunc(paths, func(a, b apiclient.Path) int { return strings.Compare(a.Device, b.Device) })
	return paths
}

func apiAttempt(a broker.Attempt) apiclient.Attempt {
	v := apiclient.Attempt{
		Began: a.Began.UTC().Truncate(time.Millisecond), Outcome: a.Outcome.String(), Controlling: a.Controlling, Try: a.Try,
		Tries: []apiclient.Try{},
	}
	if a.Told == nil {
		return v
	}
	t := a.Told
	v.Method, v.LAN, v.Why, v.Took, v.RTT, v.Others = t.Method, t.LAN, t.Why, t.Took.Milliseconds(), t.RTT.Microseconds(), int(t.Others)
	v.Told = true
	switch {
	case t.Outcome == control.PunchLost:
		v.Why, v.Ended, v.Kept = t.Chosen, t.Why, int64(t.Kept.Seconds())
	case a.Outcome == broker.Lost:
		v.Ended = "the other device lost it, or nobody has vouched for it"
	}
	if t.Remote.IsValid() {
		v.Remote = t.Remote.String()
	}
	for _, x := range t.Tries {
		kind := x.Kind.String()
		if x.Kind == 0 {
			kind = "learned"
		}
		v.Tries = append(v.Tries, apiclient.Try{
			Addr: x.Addr.String(), Kind: kind, Began: moment(x.Began), Heard: moment(x.Heard), Answered: moment(x.Answered), Datagrams: int(x.Datagrams),
		})
	}
	return v
}

// moment is a time since an attempt began in ms, -1 for never.
func moment(d time.Duration) int64 {
	if d < 0 {
		return -1
	}
	return d.Milliseconds()
}
