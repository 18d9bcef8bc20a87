package edgeagent

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"sync"
	"time"

	"simplebit/wire/control"
	"simplebit/wire/link"
)

const (
	// maxStreams is how many streams the surrogate may have open, and how many are begun at a time.
	maxStreams = 8
	// layoutTime is how long one layout may take to arrive.
	layoutTime = 10 * time.Minute
)

// takeStreams serves the streams that the surrogate opens, until the connection ends.
func (s *session) takeStreams(ctx context.Context, c *connection) error {
	var serving sync.WaitGroup
	defer serving.Wait()
	free := make(chan struct{}, maxStreams)
	for {
		stream, err := c.conn.Accept(ctx)
		if err != nil {
			return err
		}
		select {
		case free <- struct{}{}:
		default:
			stream.Cancel()
			continue
		}
		serving.Go(func() {
			if err := s.takeStream(ctx, c, stream); err != nil {
				stream.Cancel()
				s.cfg.Log.Warn("stream of the surrogate refused", "err", err)
			}
			<-free
		})
	}
}

// takeStream does what a stream is for. None waits for another: what it has would take room in the connection's window.
func (s *session) takeStream(ctx context.Context, c *connection, stream link.Stream) error {
	stream.SetDeadline(time.Now().Add(frameTime))
	header, frame, err := control.ReadHeader(stream)
	if err != nil {
		return err
	}
	stream.SetDeadline(time.Time{})
	switch m := header.(type) {
	case control.LayoutHeader:
		if err := stream.CloseWrite(); err != nil {
			return err
		}
		stream.SetReadDeadline(time.Now().Add(layoutTime))
		if err := s.set.layout(io.MultiReader(bytes.NewReader(frame), stream)); err != nil {
			return fmt.Errorf("layout not stored: %w", err)
		}
		return nil
	case control.Relay:
		s.relaying.take(ctx, m, c.conn, stream)
		return nil
	}
	return fmt.Errorf("it begins with a %T", header)
}
