package discovery

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"net"
	"net/netip"
	"time"

	message "github.com/pion/stun/v2"

	"simplebit/nat/stun"
	"simplebit/nat/udpmux"
)

// carry carries out an action. The error is the system's: a server's or a router's refusal is an outcome.
func (r *run) carry(ctx context.Context, a action) (outcome, error) {
	if a.test == hop {
		return climbTo(ctx, a)
	}
	from, err := r.socket(ctx, a.from)
	if err != nil {
		return outcome{}, err
	}
	hears, err := r.socket(ctx, a.hears)
	if err != nil {
		return outcome{}, err
	}
	if a.test == hairpin {
		return r.hairpin(ctx, a, from, hears)
	}
	return r.ask(ctx, a, from, hears)
}

// ask asks a server.
func (r *run) ask(ctx context.Context, a action, from, hears *udpmux.Socket) (outcome, error) {
	client := stun.NewClient(from, a.profile)
	deafen := r.d.listen(hears, func(now time.Time, from netip.AddrPort, b []byte) { client.Receive(now, from, b) })
	defer deafen()
	if a.options.ResponsePort != 0 {
		a.options.Via = from
	}
	got, err := client.Binding(ctx, a.to, a.options)
	local := from.LocalAddr().(*net.UDPAddr).AddrPort().Port()
	switch {
	case err == nil:
		return outcome{reply: answered, mapped: got.Mapped, other: got.Other, local: local, sent: got.Sent}, nil
	case errors.Is(err, stun.ErrNoAnswer):
		return outcome{reply: silence, sent: a.profile.Tries}, nil
	case errors.As(err, new(*stun.ErrorResponse)) || ctx.Err() != nil:
		err = nil
	}
	return outcome{sent: a.profile.Tries}, err // at most
}

// hairpin sends to the external end of the socket that hears, from inside.
func (r *run) hairpin(ctx context.Context, a action, from, hears *udpmux.Socket) (outcome, error) {
	name := rand.Text()
	probe, err := message.Build(message.TransactionID, message.BindingRequest, message.NewUsername(name), message.Fingerprint)
	if err != nil {
		return outcome{}, err
	}
	// It comes from an address that nobody could foretell, so the username is what it is known by.
	routes := r.d.set.Main().Routes()
	if err := routes.AddPunch(name); err != nil {
		return outcome{}, err
	}
	defer routes.RemovePunch(name)
	back := make(chan struct{}, 1)
	deafen := r.d.listen(hears, func(_ time.Time, _ netip.AddrPort, b []byte) {
		if bytes.Equal(b, probe.Raw) {
			select {
			case back <- struct{}{}:
			default:
			}
		}
	})
	defer deafen()
	return repeat(ctx, a.profile, back, func() error { return from.Send(a.to, probe.Raw, 0) })
}

// repeat sends as the profile says, until something came back.
func repeat(ctx context.Context, p stun.Profile, back <-chan struct{}, send func() error) (o outcome, err error) {
	for o.sent < p.Tries {
		if err := send(); err != nil {
			return o, err
		}
		wait := p.First
		if o.sent++; o.sent == p.Tries {
			wait = p.Last
		}
		timer := time.NewTimer(wait)
		select {
		case <-back:
			timer.Stop()
			o.reply = answered
			return o, nil
		case <-ctx.Done():
			timer.Stop()
			return o, nil
		case <-timer.C:
		}
	}
	o.reply = silence
	return o, nil
}
