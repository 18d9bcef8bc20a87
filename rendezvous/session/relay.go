package session

import (
	"context"
	"errors"

	"simplebit/wire/control"
	"simplebit/wire/link"
)

// ErrOffline is a device that is not connected.
var ErrOffline = errors.New("the device is not connected")

// Open opens a stream to the device for a relayed peer, and sends what that is about. It waits, within ctx, while the device
// has as many streams as it allows, and then for the link to take that frame, within ctx and some seconds. The stream is the
// caller's to end; it ends with the session at the latest.
func (h *Hub) Open(ctx context.Context, device control.DeviceID, about control.Relay) (link.Stream, error) {
	s := h.session(device)
	if s == nil {
		return nil, ErrOffline
	}
	stream, err := s.conn.Open(ctx)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, s.cfg.writeTime)
	defer cancel()
	written := make(chan error, 1)
	go func() { written <- control.WriteMessage(stream, about) }() // which over TCP outlasts the stream where the link is stuck
	select {
	case err = <-written:
	case <-ctx.Done():
		err = ctx.Err()
	}
	if err != nil {
		stream.Cancel()
		return nil, err
	}
	return stream, nil
}
